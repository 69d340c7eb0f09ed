"""Compress a checkpoint with llm-compressor; called as `python run_llmcompressor.py REQUEST RESULT`.

Needs llm-compressor and what that brings, and nothing of the package that it lies in. What can't be done as asked is
answered as {"refused": reason}; anything else that goes wrong ends the process.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from llmc_looks import check_ends, ends, linear_maps, logits, same_function, schemes
from llmc_modifiers import (
    ignore_list,
    keep_embeddings_where_they_are,
    left_out,
    modifier,
    prepared,
)
from script_parts import RefusedError, check_groups, excluded, serve


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Load, compress, save, and tell."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    start = time.perf_counter()
    if not torch.accelerator.is_available():
        # AWQ pins the memory of its cache, which fails without an accelerator and would be of no use.
        setattr(torch.Tensor, "pin_memory", lambda self, *_: self)  # noqa: B010  (a type checker refuses an assignment)
    torch.manual_seed(request["seed"])
    trust = {"trust_remote_code": request["trust_remote_code"]}
    tokenizer = AutoTokenizer.from_pretrained(request["tokenizer"] or request["source"], **trust)
    model = AutoModelForCausalLM.from_pretrained(request["source"], dtype=request["dtype"], **trust).eval()
    if getattr(model.config, "quantization_config", None) is not None:
        raise RefusedError(f"{request['source']} is quantized already; give the original checkpoint")
    keep_embeddings_where_they_are(model)
    maps, left = linear_maps(model)
    rows = [] if request["tokens"] is None else json.loads(Path(request["tokens"]).read_text())["tokens"]
    before = ends(model)
    skipped: dict[str, str] = {}
    facts: list[dict[str, Any]] = []
    for step in request["steps"]:
        skipped |= one_step(model, tokenizer, step, maps, left, rows, facts)
    check_ends(model, before, request["steps"])
    made = schemes(model)
    if not made and any(step["quantizes"] for step in request["steps"]):
        raise RefusedError("llm-compressor quantized no matrix and said nothing")
    model.save_pretrained(request["folder"], save_compressed=True)
    tokenizer.save_pretrained(request["folder"])
    return {
        "schemes": made,
        "skipped": {f"{name}.weight": reason for name, reason in (left | skipped).items()},
        "steps": facts,
        "seconds": time.perf_counter() - start,
        "library": version("llmcompressor"),
        "python": sys.executable,
    }


def one_step(
    model: Any,
    tokenizer: Any,
    step: dict[str, Any],
    maps: dict[str, Any],
    left: dict[str, str],
    rows: list[list[int]],
    facts: list[dict[str, Any]],
) -> dict[str, str]:
    """Carry out one step; returns the matrices that its own lists leave out, each with the reason."""
    from llmcompressor import oneshot

    out = excluded(list(maps), step["exclude"])
    kept = [name for name in maps if name not in out]
    check_groups(maps, kept, step)
    ignore = ignore_list(model, step, maps, left, out)
    modifiers = [
        modifier(kind, prepared(model, kind, arguments, rows, ignore)) for kind, arguments in step["modifiers"]
    ]
    skipped = left_out(model, modifiers, kept)
    start = time.perf_counter()
    kinds = {kind for kind, _ in step["modifiers"]}
    # Behind AWQ weights are as they were scaled until they are saved, so that the scaling alone can be looked at.
    scales = "AWQModifier" in kinds and kinds <= {"AWQModifier", "QuantizationModifier"}
    before = logits(model, rows) if step["transforms"] or scales else None
    data: dict[str, Any] = {}
    if rows and any(getattr(m, "requires_calibration_data", True) for m in modifiers):
        longest = max(map(len, rows))
        data = {"dataset": dataset(rows), "num_calibration_samples": len(rows), "max_seq_length": longest}
    try:
        oneshot(
            model=model,
            tokenizer=tokenizer,
            recipe=modifiers,
            shuffle_calibration_samples=False,
            **data,
            **step["oneshot"],
        )
    except (ValueError, RuntimeError, NotImplementedError) as error:
        traceback.print_exc()
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RefusedError(f"llm-compressor can't do {step['name']} on {type(model).__name__}: {reason}") from error
    fact: dict[str, Any] = {"method": step["name"], "seconds": time.perf_counter() - start}
    if before is not None:
        after = logits(model, rows, quantized=False)
        fact["logits_changed"] = same_function(before, after, step["name"], model.dtype)
    facts.append(fact)
    assert isinstance(skipped, dict)
    return skipped


def dataset(rows: list[list[int]]) -> Any:
    """The token ids as a data set that llm-compressor takes as it is."""
    from datasets import Dataset

    return Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]})


if __name__ == "__main__":
    serve(work)
