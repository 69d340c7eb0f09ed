"""Plain floats that somebody compressed before they were saved: zeros far beyond chance, or few values a group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from lm_eval_ext.models.formats.form import Came, Form

__all__ = ["PRUNED", "look", "values_a_group"]

PRUNED = 0.01
"""Share of exact zeros from which weights count as pruned. Trained weights have none, or a few in 100,000."""
_ROWS = 8
# Whole rows have too few values for 8 bits to show below this.
_LONG = 1024
_SIZES = (128, 64, 32)


@dataclass(frozen=True)
class Grid:
    """The smallest number of bits whose values explain a matrix, and the largest groups for which they do."""

    bits: int
    group_size: int | None


def look(matrices: Iterable[tuple[str, Tensor]]) -> Came | None:
    """What plain weights show of an earlier compression.

    Zeros are counted in every matrix. Values are counted in 8 rows of each, in groups of 32, 64, 128 and whole rows.
    8 bits can't be told in groups: 128 weights have at most 128 values whatever was done to them.

    Args:
        matrices: Names and weights [rows, cols] of the decoder's matrices.

    Returns:
        None where the weights look as training left them.
    """
    forms, grids, names = [], [], []
    pattern = True
    for name, weight in matrices:
        zeros = int((weight == 0).sum())
        pattern = pattern and 2 * zeros >= weight.numel() and _two_of_four(weight)
        grid = values_a_group(weight)
        grids.append(grid)
        names.append(name)
        width = 8 * weight.element_size()
        forms.append(
            Form(
                name=name,
                shape=(weight.shape[0], weight.shape[1]),
                method="sparse",
                kind=str(weight.dtype).removeprefix("torch."),
                bits=width if grid is None else grid.bits,
                levels=None,
                group_size=None if grid is None else grid.group_size,
                symmetric=None,
                bits_per_weight=width,
                zeros=zeros,
                # What is not finite ends in logits that are not: the canary prompt finds it.
                finite=True,
            )
        )
    numel = sum(form.shape[0] * form.shape[1] for form in forms)
    if not numel:
        return None
    share = sum(form.zeros for form in forms) / numel
    facts: dict[str, object] = {"read": f"plain weights: all zeros, and the values in {_ROWS} rows of each matrix"}
    if all(grid is not None for grid in grids):
        return Came(method="few_levels", forms=[_renamed(form, "few_levels") for form in forms], facts=facts)
    if share < PRUNED:
        return None
    facts |= {"pattern": "2:4"} if pattern else {}
    return Came(method="sparse", forms=forms, facts=facts)


def values_a_group(weight: Tensor) -> Grid | None:
    """How few values a matrix' groups have.

    Args:
        weight: [rows, cols], floats.

    Returns:
        None where no number of bits up to 6 (8 for rows of 1,024 and more) explains the values: where some group has
        more than 2^bits, or so few weights that are not zero that this says nothing.
    """
    rows, cols = weight.shape
    places = torch.linspace(0, rows - 1, min(_ROWS, rows)).long()
    sample = weight[places.to(weight.device)].detach().float().cpu()
    found: list[tuple[int, int]] = []
    for size in (cols, *_SIZES):
        if size > cols or cols % size or size < 32:
            continue
        groups = sample.reshape(-1, size)
        ordered = groups.sort(dim=1).values
        values = 1 + (ordered.diff(dim=1) != 0).sum(dim=1)
        used = (groups != 0).sum(dim=1)
        if int(used.sum()) == 0:
            return None
        bits = max(1, (int(values.max()) - 1).bit_length())
        most = 8 if size == cols and cols >= _LONG else 6
        # Each value must come back: with as many values as weights nothing is explained.
        if bits <= most and 2**bits <= size // 2 and float(values.sum()) <= 0.6 * float(used.sum()):
            found.append((bits, size))
    if not found:
        return None
    bits = min(bits for bits, _ in found)
    size = max(size for own, size in found if own == bits)
    return Grid(bits, None if size == cols else size)


def _two_of_four(weight: Tensor) -> bool:
    """Whether at least two of any four weights that follow each other in a row are zeros."""
    if weight.shape[1] % 4:
        return False
    return bool(((weight.reshape(-1, 4) == 0).sum(dim=1) >= 2).all())


def _renamed(form: Form, method: str) -> Form:
    return Form(**{**form.__dict__, "method": method})
