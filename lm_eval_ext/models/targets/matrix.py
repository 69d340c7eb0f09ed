"""What the methods know of a weight matrix, and how messages name several."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["MatrixInfo", "Skip", "list_matrices"]


@dataclass(frozen=True)
class MatrixInfo:
    """One weight matrix as the methods see it: rows are outputs, columns are inputs."""

    name: str
    """Parameter name in the model; an expert of a fused tensor adds its index in brackets."""
    rows: int
    cols: int


def list_matrices(matrices: Iterable[MatrixInfo]) -> str:
    """Name matrices for a message: all of them, those that differ in their block's or expert's number alone together.

    'model.layers.{0-29}.mlp.up_proj.weight [1536, 576], ...': a large model's list stays readable.
    """
    groups: dict[tuple[str, int, int], list[list[int]]] = {}
    for matrix in matrices:
        parts = re.split(r"(?<=[.\[])(\d+)(?=[.\]])", matrix.name)
        groups.setdefault(("{}".join(parts[::2]), matrix.rows, matrix.cols), []).append([int(n) for n in parts[1::2]])
    shown = []
    for (pattern, rows, cols), numbers in groups.items():
        spans = [_spans(sorted(set(position))) for position in zip(*numbers, strict=True)]
        shown.append(f"{pattern.format(*spans)} [{rows}, {cols}]")
    return ", ".join(shown)


def _spans(numbers: Sequence[int]) -> str:
    """'3' for one number, '{0-4,7}' for several."""
    if len(numbers) == 1:
        return str(numbers[0])
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return "{" + ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs) + "}"


@dataclass(frozen=True)
class Skip:
    """A matrix that a method leaves alone, and why."""

    name: str
    reason: str
