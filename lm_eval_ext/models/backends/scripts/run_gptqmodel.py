"""Quantize a checkpoint with GPTQModel; called as `python run_gptqmodel.py REQUEST RESULT`.

Needs GPTQModel and what that brings, and nothing of the package that it lies in. What can't be done as asked is
answered as {"refused": reason}; anything else that goes wrong ends the process.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from script_parts import COEFFICIENTS, RefusedError, check_groups, excluded, serve

# On one or two cores GPTQModel asks more workers of a pool than the pool has.
os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Load, quantize, save, and tell."""
    (step,) = request["steps"]
    start = time.perf_counter()
    names, left, tied = matrices(request, step)
    rows = [] if request["tokens"] is None else json.loads(Path(request["tokens"]).read_text())["tokens"]
    quantize(request, step, rows, left)
    folder = Path(request["folder"])
    found = packed_in(folder)
    missing = [name for name in names if name not in found]
    foreign = [name for name in found if name not in names]
    if missing or foreign:
        what = f"left {', '.join(missing[:3])} as they are" if missing else f"quantized {', '.join(foreign[:3])} too"
        raise RefusedError(f"GPTQModel {what} ({len(missing or foreign)} matrices) and said nothing")
    seconds = time.perf_counter() - start
    if step["checkpoint"] == "dequantized":
        dense(request, step, folder, found)
    return {
        "skipped": {},
        "left": left,
        "tied": tied,
        "matrices": len(found),
        "seconds": seconds,
        "library": version("gptqmodel"),
        "python": sys.executable,
        "checkpoint": step["checkpoint"],
    }


def matrices(request: dict[str, Any], step: dict[str, Any]) -> tuple[set[str], list[str], bool]:
    """Names of the blocks' linear maps that are meant, those to leave alone, and whether the ends are tied."""
    import torch
    from torch import nn
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    trust = {"trust_remote_code": request["trust_remote_code"]}
    config = AutoConfig.from_pretrained(request["source"], **trust)
    if getattr(config, "quantization_config", None) is not None:
        raise RefusedError(f"{request['source']} is quantized already; give the original checkpoint")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, **trust)
    text = config.get_text_config()
    lists = [n for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == text.num_hidden_layers]
    if not lists:
        raise RefusedError(f"no list of {text.num_hidden_layers} decoder blocks was found in {type(model).__name__}")
    inside = {n: m for n, m in model.named_modules() if n.startswith(f"{lists[0]}.")}
    conv = next((n for n, m in inside.items() if isinstance(m, Conv1D)), None)
    if conv is not None:
        raise RefusedError(
            f"{conv} is a Conv1D: transformers can't load what GPTQModel makes of it; use rtn or mlx_affine"
        )
    fused = next((n for n, m in inside.items() for p in m.parameters(recurse=False) if p.ndim == 3), None)
    if fused is not None:
        raise RefusedError(
            f"{fused} holds the experts of a mixture in one tensor, which is not tried with GPTQModel here"
        )
    maps = {n: m for n, m in inside.items() if isinstance(m, nn.Linear)}
    out = excluded(list(maps), step["exclude"])
    left = [n for n, m in maps.items() if min(m.weight.shape) < COEFFICIENTS or n in out]
    meant = {n: m for n, m in maps.items() if n not in left}
    check_groups(meant, list(meant), {"group_size": max(step["group_size"], 0), "pattern": None})
    odd = [n for n, m in meant.items() if m.in_features % 32 or m.out_features % 32]
    if odd:
        raise RefusedError(
            f"GPTQModel packs sizes that 32 divides; {', '.join(odd[:3])} has not; leave it out with exclude"
        )
    odd = [n for n, m in meant.items() if step.get("name") == "awq" and m.out_features % 64]
    if odd:
        raise RefusedError(f"GPTQModel's AWQ takes outputs that 64 divides; {', '.join(odd[:3])} has not; use exclude")
    return set(meant), left, bool(text.tie_word_embeddings)


def quantize(request: dict[str, Any], step: dict[str, Any], rows: list[list[int]], left: list[str]) -> None:
    """By GPTQModel, into the folder."""
    import torch
    from gptqmodel import BACKEND, GPTQModel
    from gptqmodel.quantization import config as configs
    from transformers import AutoTokenizer

    kind = {"gptq": configs.GPTQConfig, "awq": configs.AWQConfig, "gptqmodel_rtn": configs.RTNConfig}[step["name"]]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    arguments: dict[str, Any] = {"bits": step["bits"], "group_size": step["group_size"], "sym": step["symmetric"]}
    if left:
        arguments["dynamic"] = {f"-:^{re.escape(name)}$": {} for name in left}
    try:
        config = kind(**arguments, **step["options"])
    except Exception as error:
        raise RefusedError(f"GPTQModel takes no such options: {' '.join(str(error).split())}") from error
    with tempfile.TemporaryDirectory(prefix="lm-eval-ext-") as beside:
        source = with_tokenizer(request, Path(beside))
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=request["trust_remote_code"])
        model = GPTQModel.load(
            source,
            config,
            device=device,
            dtype=getattr(torch, request["dtype"]) if request["dtype"] in ("float16", "bfloat16") else "auto",
            trust_remote_code=request["trust_remote_code"],
        )
        more = {"backend": BACKEND.AWQ_TORCH} if step["name"] == "awq" and device == "cpu" else {}
        data = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in rows] or None
        model.quantize(data, batch_size=1, tokenizer=tokenizer, **more)
        model.save(request["folder"])
        tokenizer.save_pretrained(request["folder"])


def with_tokenizer(request: dict[str, Any], folder: Path) -> str:
    """The source; with another tokenizer beside links to its files, where the run names one."""
    if request["tokenizer"] is None:
        return str(request["source"])
    for file in Path(request["source"]).iterdir():
        if not file.name.startswith(("tokenizer", "vocab", "merges")):
            (folder / file.name).symlink_to(file.resolve())
    for file in Path(request["tokenizer"]).glob("*token*"):
        shutil.copy(file, folder)
    return str(folder)


def packed_in(folder: Path) -> dict[str, Path]:
    """Modules that hold packed weights in a checkpoint, each with its file."""
    from safetensors import safe_open

    found: dict[str, Path] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as tensors:
            found |= {name[: -len(".qweight")]: file for name in tensors.keys() if name.endswith(".qweight")}  # noqa: SIM118  (a reader, not a dict)
    if not found:
        raise RefusedError("GPTQModel quantized no matrix and said nothing")
    return found


def dense(request: dict[str, Any], step: dict[str, Any], folder: Path, found: dict[str, Path]) -> None:
    """Replace a packed checkpoint by one of plain weights with the same values; the rest stays as it was."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tensors: dict[str, Any] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(str(file))
    model = AutoModelForCausalLM.from_pretrained(
        request["source"], dtype=request["dtype"], trust_remote_code=request["trust_remote_code"]
    )
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    maps, plain = dict(model.named_modules()), dict(model.named_parameters(remove_duplicate=False))
    for name, value in tensors.items():
        # GPTQModel rounds to half precision on a CPU; only what it changed otherwise is taken: AWQ's norms and biases.
        if name in plain and not torch.equal(plain[name].data.to(value.dtype), value):
            if plain[name].ndim > 1:
                raise RefusedError(f"GPTQModel changed {name}, which nobody asked for")
            plain[name].data = value.to(plain[name].dtype)
    for name in found:
        parts = {key: tensors[f"{name}.{key}"] for key in ("qweight", "qzeros", "scales")}
        unpack = awq_values if step["name"] == "awq" else gptq_values
        value = unpack(parts, tensors.get(f"{name}.g_idx"), step, config)
        weight = maps[name].weight
        weight.data = value.to(weight.dtype)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=request["trust_remote_code"])
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def unpacked(words: Any, bits: int, dim: int) -> Any:
    """Whole numbers out of 32-bit words, `bits` each, lowest first, running on over the words along a dimension."""
    import torch

    along = words.to(torch.int64).bitwise_and(0xFFFFFFFF).movedim(dim, -1)
    places = torch.arange(32, device=words.device)
    stream = along.unsqueeze(-1).bitwise_right_shift(places).bitwise_and(1).flatten(-2)
    codes = stream.unflatten(-1, (-1, bits)) * (1 << torch.arange(bits, device=words.device))
    return codes.sum(-1).movedim(-1, dim)


def gptq_values(parts: dict[str, Any], order: Any, step: dict[str, Any], config: dict[str, Any]) -> Any:
    """[outputs, inputs] float32 out of GPTQ's layout: codes run down the inputs, zero points along the outputs."""
    import torch

    codes = unpacked(parts["qweight"], step["bits"], 0)
    zeros = unpacked(parts["qzeros"], step["bits"], 1)
    if config.get("checkpoint_format", config.get("format", "gptq")) == "gptq":
        zeros = zeros + 1  # the first format keeps them one less
        zeros = zeros.bitwise_and(2 ** step["bits"] - 1)
    size = step["group_size"] if step["group_size"] > 0 else codes.shape[0]
    groups = order.long() if order is not None else torch.arange(codes.shape[0]) // size
    return ((codes - zeros[groups]).float() * parts["scales"].float()[groups]).t().contiguous()


def awq_values(parts: dict[str, Any], order: Any, step: dict[str, Any], config: dict[str, Any]) -> Any:
    """[outputs, inputs] float32 out of AWQ's layout: eight codes a word along the outputs, ordered 0 2 4 6 1 3 5 7."""
    import torch

    place = torch.tensor([0, 4, 1, 5, 2, 6, 3, 7])
    codes, zeros = (
        unpacked(parts[key], step["bits"], 1).unflatten(1, (-1, 8))[..., place].flatten(1)
        for key in ("qweight", "qzeros")
    )
    size = step["group_size"] if step["group_size"] > 0 else codes.shape[0]
    groups = torch.arange(codes.shape[0]) // size
    return ((codes - zeros[groups]).float() * parts["scales"].float()[groups]).t().contiguous()


if __name__ == "__main__":
    serve(work)
