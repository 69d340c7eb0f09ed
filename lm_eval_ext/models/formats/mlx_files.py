"""The files that mlx_lm writes: every weight dequantized, under Hugging Face's names, with what each matrix held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.formats.form import Came, Form, unused
from lm_eval_ext.models.formats.mlx import decode, is_mlx, packing_of
from lm_eval_ext.models.formats.mlx_names import hf_names

__all__ = ["MlxWeights", "made_by_mlx", "read_mlx"]


@dataclass(kw_only=True)
class MlxWeights:
    """A checkpoint of mlx_lm, read whole."""

    weights: dict[str, Tensor]
    """Plain floats by Hugging Face's names."""
    came: Came | None
    """What the packed matrices held; None where all weights were plain floats."""


def made_by_mlx(folder: Path) -> bool:
    """Whether the weights in a folder say that MLX wrote them."""
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        return False
    with safe_open(str(files[0]), framework="pt") as tensors:
        return (tensors.metadata() or {}).get("format") == "mlx"


def read_mlx(folder: Path, config: Mapping[str, Any]) -> MlxWeights:
    """Read every weight of a folder that mlx_lm wrote.

    Args:
        folder: Holds model*.safetensors.
        config: Its config.json.

    Raises:
        UserError: If there are no weights, a matrix lacks its biases, is packed in a way that is not read here, or
            holds numbers that are not finite.
    """
    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        old = (
            " (weights.npz is the form of MLX before 2024: convert it again)"
            if (folder / "weights.npz").exists()
            else ""
        )
        raise UserError(f"{folder}: no model*.safetensors with MLX's weights{old}")
    stored: dict[str, Tensor] = {}
    for file in files:
        with safe_open(str(file), framework="pt") as tensors:
            stored |= {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118  (a reader, not a dict)
    said = config["quantization"] if is_mlx(config) else {}
    plain: dict[str, Tensor] = {}
    forms: list[Form] = []
    for name in sorted(stored):
        module, _, last = name.rpartition(".")
        if f"{module}.scales" not in stored or last not in ("weight", "scales", "biases"):
            plain[name] = stored[name]
        elif last == "weight":
            plain[name], form = _matrix(module, stored, said)
            forms.append(form)
    broken = [form.name for form in forms if not form.finite]
    if broken:
        raise UserError(f"{len(broken)} matrices hold numbers that are not finite: {', '.join(broken[:3])}")
    weights = hf_names(plain)
    if not forms:
        return MlxWeights(weights=weights, came=None)
    facts = {"read": "codes of the packed weights in the files", "config": _brief(said)}
    return MlxWeights(weights=weights, came=Came(method="mlx", forms=forms, facts=facts, doubts=unused(forms)))


def _matrix(module: str, stored: Mapping[str, Tensor], said: Mapping[str, Any]) -> tuple[Tensor, Form]:
    words, scales = stored[f"{module}.weight"], stored[f"{module}.scales"]
    if not said:
        raise UserError(f"{module} has scales, and config.json says nothing of a quantization")
    if words.dtype not in (torch.uint32, torch.int32):
        raise UserError(f"{module}.weight holds {words.dtype} beside MLX's scales, expected uint32")
    packing = packing_of(module, said, words, scales)
    if f"{module}.biases" not in stored:
        raise UserError(f"{module} has scales and no biases: not MLX's affine form")
    flat = [t.reshape(-1, t.shape[-1]) for t in (words, scales, stored[f"{module}.biases"])]
    values, form = decode(f"{module}.weight", flat[0], flat[1], flat[2], packing)
    return values.reshape(*words.shape[:-1], -1), form


def _brief(said: Mapping[str, Any]) -> dict[str, Any]:
    """What stands for all modules in `quantization`, and how many have an entry of their own."""
    own = [key for key, value in said.items() if isinstance(value, (Mapping, bool))]
    return {key: said[key] for key in said if key not in own} | ({"own_entries": len(own)} if own else {})
