"""The base of every method's config class, and the table that they enter themselves into."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, field_validator

from lm_eval_ext.errors import require_extra

if TYPE_CHECKING:
    from torch import Tensor

    from lm_eval_ext.models.compress.workbench import Workbench

__all__ = [
    "METHODS",
    "MatrixInfo",
    "MatrixMethod",
    "Method",
    "Skip",
    "list_matrices",
    "register",
]


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


class Method(BaseModel, ABC):
    """Config of one compression step. Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[Literal["prune", "quantize"]]
    extra: ClassVar[str | None] = None
    """Extra of this distribution that the method needs, if any."""
    modules: ClassVar[tuple[str, ...]] = ()
    """Import names that must be there; checked before a model is loaded."""
    needs_calibration: ClassVar[bool] = False
    keeps_zeros: ClassVar[bool] = True
    """Whether a weight that is zero stays zero, whatever the dtype. If not, the method can't follow pruning."""

    method: str
    lm_head: bool = False
    """Compress the output layer too. Refused where it shares storage with the embedding, unless both are asked."""
    embeddings: bool = False
    """Compress the input embedding too."""
    exclude: tuple[str, ...] = ()
    """What to leave alone, as shell patterns of names: modules (`*.o_proj`), or what holds them (`*.self_attn`,
    `model.layers.0`). Each pattern must take out at least one matrix that would be compressed without it. One string
    with '+' between the patterns is taken too. Everything left alone is reported as skipped."""
    allow_regrowth: bool = False
    """Let this step undo part of an earlier one (pruned weights that come back, a broken pattern, more values a group
    than the earlier bits allow). The evidence then says how much; otherwise it is an error."""

    @field_validator("exclude", mode="before")
    @classmethod
    def _split_patterns(cls, value: object) -> object:
        return tuple(value.split("+")) if isinstance(value, str) else value

    @abstractmethod
    def run(self, bench: Workbench) -> None:
        """Compress every target of the bench; each goes through `bench.replace`, which keeps the evidence."""

    def check_installed(self) -> None:
        """Raise UserError with the install line if a library of this method is missing."""
        if self.modules:
            require_extra(self.modules, self.extra or self.method, f"method {self.method}")

    def check(self, matrices: Sequence[MatrixInfo]) -> list[Skip]:
        """Look at every targeted matrix before any work.

        Args:
            matrices: Everything that is about to be compressed.

        Returns:
            The matrices that this method will leave alone.

        Raises:
            UserError: If a matrix can't be compressed as asked; the message lists all of them.
        """
        return []

    def breaches(self, weight: Tensor) -> tuple[int, int]:
        """How far a matrix is from what this step made of it, after a later step.

        Args:
            weight: [rows, cols], as it is now.

        Returns:
            Groups of weights that no longer have the form of this step (N:M, values a group), and groups looked at;
            (0, 0) for a method that promises no such form.
        """
        return 0, 0

    @property
    def targets_embeddings(self) -> bool:
        """Whether the input embedding is among the targets."""
        return self.embeddings

    @property
    def targets_lm_head(self) -> bool:
        """Whether the output layer is among the targets."""
        return self.lm_head

    @property
    def asked_sparsity(self) -> float | None:
        """Share of zeros asked for, or None for a method that does not prune."""
        return None

    @property
    def asked_bits(self) -> float | None:
        """Bits a weight asked for, or None for a method that does not quantize."""
        return None

    @property
    def level(self) -> str:
        """How strong the step is, as the end of its name: '-50' for half the weights, '-4' for four bits."""
        if self.asked_sparsity is not None:
            return f"-{100 * self.asked_sparsity:g}"
        return "" if self.asked_bits is None else f"-{self.asked_bits:g}"

    @property
    def level_keys(self) -> set[str]:
        """The keys that `level` tells of."""
        return {"sparsity", "bits"}


class MatrixMethod(Method):
    """A method that needs nothing but the matrix itself."""

    def run(self, bench: Workbench) -> None:
        """Compress the targets one by one."""
        for target in bench.targets:
            before = target.view()
            after = self.apply(before, target.info)
            bench.replace(target, after, detail=self.describe(before, after))

    @abstractmethod
    def apply(self, weight: Tensor, matrix: MatrixInfo) -> Tensor:
        """Compress one matrix.

        Args:
            weight: [rows, cols], any floating dtype and device; not changed.
            matrix: Its name, shape and stream number.

        Returns:
            The compressed matrix in the same shape, dtype and device ("baked": quantized values are
            returned dequantized).
        """

    def describe(self, before: Tensor, after: Tensor) -> dict[str, Any]:
        """Method-specific facts for the evidence of one matrix ([rows, cols] each)."""
        return {}


M = TypeVar("M", bound=Method)
METHODS: dict[str, type[Method]] = {}
"""Registered config classes by name; look them up through `catalogue`."""


def register(cls: type[M]) -> type[M]:
    """Enter a config class under the default of its `method` field (class decorator)."""
    name = cls.model_fields["method"].default
    if name in METHODS and METHODS[name] is not cls:
        raise ValueError(f"method {name!r} is registered twice: {METHODS[name]!r} and {cls!r}")
    METHODS[name] = cls
    return cls
