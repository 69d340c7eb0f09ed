"""Checkpoints that are dequantized on load: what the files hold, held against what was loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.formats.form import Came, form_of, unused
from lm_eval_ext.models.formats.fp8 import block_reading

__all__ = ["Expected", "check_loaded", "read_fp8"]

_CLOSE = 2**-7
"""Relative difference of a sum that rounding to bfloat16 makes at most."""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the files of a checkpoint hold."""

    came: Came
    values: Callable[[], Iterator[tuple[str, Tensor]]] = field(repr=False)
    """The decoded matrices, one at a time, by the names of a plain model."""


def read_fp8(files: Sequence[Path]) -> Expected:
    """float8 weights with `weight_scale_inv` or `weight_scale` beside them."""
    places: dict[str, Path] = {}
    for file in files:
        with safe_open(str(file), framework="pt") as tensors:
            places |= dict.fromkeys(tensors.keys(), file)
    pairs: dict[str, str] = {}
    for name in sorted(places):
        scale = next((f"{name}{end}" for end in ("_scale_inv", "_scale") if f"{name}{end}" in places), None)
        if name.endswith(".weight") and scale is not None:
            pairs[name] = scale

    def one(name: str) -> Tensor:
        with safe_open(str(places[name]), framework="pt") as tensors:
            tensor: Tensor = tensors.get_tensor(name)
        return tensor

    forms = [form_of(name, "fp8", block_reading(one(name), one(scale))) for name, scale in pairs.items()]
    facts: dict[str, Any] = {"read": "codes in the files, and the sums of what was loaded held against them"}
    return Expected(
        came=Came(method="fp8", forms=forms, facts=facts, doubts=unused(forms)),
        values=lambda: ((name, block_reading(one(name), one(scale)).values) for name, scale in pairs.items()),
    )


def check_loaded(model: nn.Module, expected: Expected) -> None:
    """Hold what was loaded against what the files hold: the sums of weights and of their squares.

    A loader may permute the rows of a matrix, which changes neither. Matrices that the model has under no such name
    (experts, put together) end in a doubt.

    Raises:
        UserError: If some matrix was loaded as something else.
    """
    loaded = dict(model.named_parameters(remove_duplicate=False))
    wrong: list[str] = []
    unseen: list[str] = []
    for name, values in expected.values():
        weight = loaded.get(name)
        if weight is None or weight.numel() != values.numel():
            unseen.append(name)
            continue
        ours, theirs = values.double(), weight.detach().double().cpu()
        size = float(torch.linalg.vector_norm(ours))
        off = abs(float(torch.linalg.vector_norm(theirs)) - size)
        # Weights cancel in their sum: rounding moves it by far less than their size, another sign by its like.
        drift = abs(float(theirs.sum() - ours.sum()))
        if not (off <= _CLOSE * size and drift <= _CLOSE * size):
            wrong.append(name)
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(
            f"{len(wrong)} matrices were loaded as something else than the files hold: {', '.join(wrong[:3])}{more}"
        )
    if unseen:
        expected.came.doubts.append(
            f"{len(unseen)} packed matrices of the files have another name or shape in the model, so that they were "
            f"not compared: {', '.join(unseen[:3])}"
        )
