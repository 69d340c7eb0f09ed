"""What the tests of compression share: the matrices of each tiny family by hand, and looks at a model from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.helpers.tiny import TEXT

# Family -> name of the block list, number of blocks, and the linear maps of one block as (outputs, inputs). Written
# down from the configs in tiny.py: 64 channels, 4 heads of 16, 2 key-value heads, 128 channels in the MLP (GPT-2: 256),
# 4 experts.
_SEPARATE = {
    "self_attn.q_proj.weight": (64, 64),
    "self_attn.k_proj.weight": (32, 64),
    "self_attn.v_proj.weight": (32, 64),
    "self_attn.o_proj.weight": (64, 64),
}
_GATED = {"mlp.gate_proj.weight": (128, 64), "mlp.up_proj.weight": (128, 64), "mlp.down_proj.weight": (64, 128)}
STRUCTURE: dict[str, tuple[str, int, dict[str, tuple[int, int]]]] = {
    "llama": ("model.layers", 2, _SEPARATE | _GATED),
    "qwen2": ("model.layers", 2, _SEPARATE | _GATED),
    "mistral": ("model.layers", 2, _SEPARATE | _GATED),
    "gemma2": ("model.layers", 4, _SEPARATE | _GATED),
    "phi3": (
        "model.layers",
        2,
        {
            "self_attn.qkv_proj.weight": (128, 64),
            "self_attn.o_proj.weight": (64, 64),
            "mlp.gate_up_proj.weight": (256, 64),
            "mlp.down_proj.weight": (64, 128),
        },
    ),
    "opt": (
        "model.decoder.layers",
        2,
        {
            "self_attn.q_proj.weight": (64, 64),
            "self_attn.k_proj.weight": (64, 64),
            "self_attn.v_proj.weight": (64, 64),
            "self_attn.out_proj.weight": (64, 64),
            "fc1.weight": (128, 64),
            "fc2.weight": (64, 128),
        },
    ),
    "gpt2": (
        "transformer.h",
        2,
        {
            "attn.c_attn.weight": (192, 64),
            "attn.c_proj.weight": (64, 64),
            "mlp.c_fc.weight": (256, 64),
            "mlp.c_proj.weight": (64, 256),
        },
    ),
    "mixtral": (
        "model.layers",
        2,
        _SEPARATE
        | {f"mlp.experts.gate_up_proj[{e}]": (256, 64) for e in range(4)}
        | {f"mlp.experts.down_proj[{e}]": (64, 128) for e in range(4)},
    ),
}
COUNTS = {"llama": 14, "qwen2": 14, "mistral": 14, "gemma2": 28, "phi3": 8, "opt": 12, "gpt2": 8, "mixtral": 24}
EMBEDDING = {"gpt2": "transformer.wte.weight", "opt": "model.decoder.embed_tokens.weight"}
TIED = ("gemma2", "opt", "gpt2")


def expected(family: str) -> dict[str, tuple[int, int]]:
    """Name -> (outputs, inputs) of every matrix that is to be found in a family's blocks."""
    blocks, count, inside = STRUCTURE[family]
    return {f"{blocks}.{index}.{name}": shape for index in range(count) for name, shape in inside.items()}


def snapshot(model: Any) -> dict[str, Tensor]:
    """A copy of every parameter under each of its names."""
    return {name: p.detach().clone() for name, p in model.named_parameters(remove_duplicate=False)}


def changed(before: dict[str, Tensor], model: Any) -> set[str]:
    """Names of the parameters that are not bit for bit what they were; an expert of a fused tensor by its index."""
    names = set()
    for name, now in model.named_parameters(remove_duplicate=False):
        if now.ndim == 3:
            names |= {f"{name}[{e}]" for e in range(now.shape[0]) if not torch.equal(now[e], before[name][e])}
        elif not torch.equal(now, before[name]):
            names.add(name)
    return names


def matrix(weights: dict[str, Tensor], name: str, family: str) -> Tensor:
    """One matrix of a snapshot as [outputs, inputs]."""
    tensor, _, rest = name.partition("[")
    value = weights[tensor]
    if rest:
        return value[int(rest.rstrip("]"))]
    return value.t() if family == "gpt2" else value


def write_text(path: Path, repeat: int = 12) -> Path:
    """A calibration text of a few thousand tokens, no two paragraphs alike."""
    path.write_text("\n\n".join(f"{index}. {TEXT[index:]}" for index in range(repeat)), encoding="utf-8")
    return path
