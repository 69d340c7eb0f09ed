"""Compress a checkpoint with nothing but transformers; called as `python toy_script.py REQUEST RESULT`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def pruned(weight: torch.Tensor, sparsity: float) -> torch.Tensor:
    count = int(weight.shape[1] * sparsity)
    smallest = weight.abs().argsort(dim=1)[:, :count]
    return weight.scatter(1, smallest, 0.0)


def rounded(weight: torch.Tensor, bits: int) -> torch.Tensor:
    step = weight.abs().amax(dim=1, keepdim=True) / (2 ** (bits - 1) - 1)
    return (weight / step).round() * step


def work(request: dict[str, Any]) -> dict[str, Any]:
    model = AutoModelForCausalLM.from_pretrained(request["source"], dtype=torch.float32)
    said: dict[str, Any] = {"sparsity": None, "bits": None, "skipped": {}, "pid": os.getpid()}
    for step in request["steps"]:
        options = step["options"]
        if options.get("crash"):
            raise RuntimeError("the toy broke")
        for name, parameter in model.named_parameters():
            if ".layers." not in name or parameter.ndim != 2 or name in options.get("idle", ()):
                continue
            if name == options.get("admit"):
                said["skipped"][name] = "too small to matter"
                continue
            with torch.no_grad():
                if step["method"] == "toy_prune":
                    parameter.copy_(pruned(parameter, step["sparsity"]))
                else:
                    parameter.copy_(rounded(parameter, step["bits"] + options.get("finer", 0)))
        if step["method"] == "toy_prune":
            said["sparsity"] = options.get("say", step["sparsity"])
        else:
            said["bits"] = options.get("say", step["bits"])
    model.save_pretrained(request["folder"])
    AutoTokenizer.from_pretrained(request["source"]).save_pretrained(request["folder"])
    return said


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(work(json.loads(Path(sys.argv[1]).read_text()))))
