"""Cutting a matrix into groups of columns, in bounded memory: what the quantizers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import gcd
from typing import TYPE_CHECKING, Any, Literal

from lm_eval_ext.errors import UserError, seen
from lm_eval_ext.models.parts.finite import all_finite
from lm_eval_ext.models.targets.matrix import MatrixInfo, Skip, list_matrices

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "SMALLEST_GROUP",
    "OnIndivisible",
    "check_divisible",
    "columns_a_group",
    "count_levels",
    "joined",
    "levels_by_group",
    "map_rows",
    "overfull",
    "require_finite",
    "require_float",
    "row_chunks",
    "split",
    "stored_facts",
    "whole_number",
]

OnIndivisible = Literal["error", "pad", "skip"]
"""What to do with a matrix whose columns the group size does not divide: stop, end each row with a
shorter group, or leave the whole matrix alone."""

SMALLEST_GROUP = 8
"""Columns that a group has at least."""

# Entries in work at a time: 4 MB of float32, which stays in a CPU's cache; a few copies are live at once.
CHUNK = 2**20
# Entries looked at when the levels of one matrix are counted: sorting more would cost more than quantizing.
SAMPLE = 2**18


def whole_number(value: object, low: int, high: int | None = None) -> int:
    """Check a config value that must be an integer.

    Args:
        value: What the user gave. True, 4.5 and "4" are refused, 4.0 is taken.
        low: Least value allowed.
        high: Greatest value allowed; None for no bound but that of a tensor's sizes.

    Raises:
        ValueError: If it is not a whole number in the range; the message says what was expected.
    """
    number = int(value) if isinstance(value, (int, float)) and value == value // 1 else None
    if number is None or isinstance(value, bool) or number < low or (high is not None and number > high):
        expected = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise ValueError(f"got {seen(value)}, expected a whole number {expected}")
    if number >= 2**31:
        raise ValueError(f"got {seen(value)}, expected a whole number of at most {2**31 - 1}")
    return number


def columns_a_group(value: object) -> int | None:
    """Check a group size, None for one that was not given.

    Raises:
        ValueError: As `whole_number` does; for -1, which other tools take for a whole row, with what to write instead.
    """
    if value == -1:
        raise ValueError("got -1, expected a whole number of at least 8; one scale a row is granularity=channel")
    return None if value is None else whole_number(value, SMALLEST_GROUP)


def check_divisible(
    matrices: Sequence[MatrixInfo],
    group_size: int,
    policy: OnIndivisible,
    sizes: Sequence[int],
    otherwise: str = "",
) -> list[Skip]:
    """Apply the on_indivisible policy to every targeted matrix, before any work.

    Args:
        matrices: Everything that is about to be quantized.
        group_size: Columns a group.
        policy: error, pad or skip.
        sizes: Group sizes that the method takes; those that fit all matrices are proposed.
        otherwise: One more way out, to be named in the message ("granularity=channel").

    Returns:
        The matrices to leave alone: the indivisible ones under skip, otherwise none.

    Raises:
        UserError: Under error, if there is an indivisible matrix; the message lists all of them with
            their shapes and the values to choose.
    """
    bad = [m for m in matrices if m.cols % group_size]
    if policy == "skip":
        return [Skip(m.name, f"group_size {group_size} does not divide its {m.cols} columns") for m in bad]
    if not bad or policy == "pad":
        return []
    common = gcd(*(m.cols for m in matrices))
    fitting = sorted((size for size in sizes if common % size == 0), key=lambda s: (abs(s - group_size), s))[:3]
    choices = [f"group_size={' or '.join(map(str, fitting))}"] if fitting else []
    choices += [otherwise] if otherwise else []
    choices += ["on_indivisible=pad (a shorter last group)", "on_indivisible=skip (these stay as they are)"]
    raise UserError(
        f"group_size={group_size} does not divide the columns of {len(bad)} of {len(matrices)} matrices: "
        f"{list_matrices(bad)}. Choose {', '.join(choices[:-1])} or {choices[-1]}."
    )


def row_chunks(weight: Tensor) -> Iterator[slice]:
    """Slices of whole rows of [rows, cols], each of at most CHUNK entries (but at least one row)."""
    rows, cols = weight.shape
    step = max(1, CHUNK // max(1, cols))
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def split(weight: Tensor, group_size: int) -> Tensor:
    """Cut [rows, cols] into groups.

    Returns:
        [rows, groups, group_size] in float32. A last group that is too short is filled with its row's
        last value, which never widens the range of the real ones. May share memory with `weight`.
    """
    import torch

    values = weight.detach().to(torch.float32)
    missing = -values.shape[1] % group_size
    if missing:
        values = torch.cat([values, values[:, -1:].expand(-1, missing)], dim=1)
    return values.reshape(values.shape[0], -1, group_size)


def joined(groups: Tensor, cols: int) -> Tensor:
    """Put [rows, groups, group_size] back together as [rows, cols], without the filling."""
    return groups.reshape(groups.shape[0], -1)[:, :cols]


def map_rows(weight: Tensor, matrix: MatrixInfo, quantize: Callable[[Tensor], Tensor]) -> Tensor:
    """Quantize [rows, cols] a chunk of rows at a time.

    Args:
        weight: The whole matrix; not changed.
        matrix: For messages.
        quantize: From a chunk [r, cols] of the weight's dtype to its quantized values [r, cols].

    Returns:
        A new tensor of the weight's shape, dtype and device.

    Raises:
        UserError: If the weight holds a value that is not finite, or its quantized form does.
    """
    import torch

    require_float(weight, matrix)
    out = torch.empty_like(weight, requires_grad=False)
    for rows in row_chunks(weight):
        require_finite(weight[rows], matrix)
        out[rows] = quantize(weight[rows].detach())
        if not all_finite(out[rows]):
            largest = weight[rows].detach().abs().max().item()
            raise UserError(
                f"{matrix.name} [{matrix.rows}, {matrix.cols}] holds values as large as {largest:g}, whose "
                f"quantized form overflows {str(weight.dtype).removeprefix('torch.')}; check the checkpoint, "
                "or load it with a dtype of more range (bfloat16, float32)"
            )
    return out


def require_float(weight: Tensor, matrix: MatrixInfo) -> None:
    """Raise UserError unless the weight is float32, bfloat16 or float16."""
    import torch

    if weight.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise UserError(
            f"{matrix.name} is {str(weight.dtype).removeprefix('torch.')}, expected float32, bfloat16 or "
            "float16; load the model with dtype=bfloat16"
        )


def require_finite(weight: Tensor, matrix: MatrixInfo) -> None:
    """Raise UserError, naming the matrix, if some value is NaN or infinite."""
    if not all_finite(weight):
        raise UserError(
            f"{matrix.name} [{matrix.rows}, {matrix.cols}] holds NaN or infinity, expected finite weights; "
            "check the checkpoint, or load it with dtype=float32 if it overflows float16"
        )


def levels_by_group(weight: Tensor, group_size: int) -> tuple[Tensor, int]:
    """Count the distinct values of each group.

    Args:
        weight: [rows, cols], not empty; -0.0 and 0.0 are one value.
        group_size: Columns a group; a shorter last group is allowed. 0 takes the matrix as one group.

    Returns:
        The counts, int64, and the number of rows looked at: all of them, or evenly spread ones (the first and the last
        among them) where the matrix exceeds SAMPLE entries.
    """
    import numpy as np
    import torch

    rows, cols = weight.shape
    taken = min(rows, max(1, SAMPLE // cols))
    index = torch.linspace(0, rows - 1, taken, device=weight.device, dtype=torch.float64).round().long()
    sample = weight.detach()[index]
    groups = split(sample, group_size) if group_size else split(sample.reshape(1, -1), sample.numel())
    # NumPy sorts many short rows several times as fast as torch does on a CPU.
    on_cpu = groups.device.type == "cpu"
    ordered = torch.from_numpy(np.sort(groups.numpy(), axis=-1)) if on_cpu else groups.sort(dim=-1).values
    return (ordered[..., 1:] != ordered[..., :-1]).sum(dim=-1) + 1, taken


def count_levels(weight: Tensor, group_size: int) -> tuple[int, int]:
    """The greatest number of distinct values in one group, and the rows looked at; see `levels_by_group`.

    (0, 0) for an empty matrix.
    """
    if not weight.numel():
        return 0, 0
    counts, taken = levels_by_group(weight, group_size)
    return int(counts.max()), taken


def overfull(weight: Tensor, bits: int, group_size: int) -> tuple[int, int]:
    """Groups with more than 2^bits distinct values, and groups looked at; arguments as in `stored_facts`."""
    if not weight.numel():
        return 0, 0
    counts, _ = levels_by_group(weight, group_size)
    return int((counts > 2**bits).sum()), counts.numel()


def stored_facts(after: Tensor, bits: int, group_size: int, overhead: int) -> dict[str, Any]:
    """Evidence of one quantized matrix.

    Args:
        after: [rows, cols], quantized and dequantized again.
        bits: Bits a weight, as asked.
        group_size: Columns a group; 0 if the matrix is one group.
        overhead: Bits that a group's scale and offset take.

    Returns:
        levels: the most distinct values found in a group; levels_allowed: 2^bits; levels_rows: how many
        rows were looked at; bits_per_weight: what a packed form would take, overhead and filling
        included; padded_columns: filling at the end of each row.
    """
    rows, cols = after.shape
    levels, looked_at = count_levels(after, group_size)
    padded = -cols % group_size if group_size else 0
    groups = rows * (cols + padded) // group_size if group_size else 1
    total = rows * (cols + padded) * bits + groups * overhead
    return {
        "levels": levels,
        "levels_allowed": 2**bits,
        "levels_rows": looked_at,
        "bits_per_weight": total / (rows * cols) if rows * cols else 0.0,
        "padded_columns": padded,
    }
