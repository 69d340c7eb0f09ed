"""What the tests and intervals of an analysis are made with."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .errors import UserError
from .inference.equivalence import MARGIN

__all__ = ["Settings"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of an analysis; every table's metadata names them."""

    level: float = 0.95
    """Confidence level of intervals; 1 - level is the level of tests and verdicts."""
    margin: float = MARGIN
    """Difference of a rate, or of the bias score, that counts as none (0.05 is five points)."""
    draws: int = 9999
    """Random exchanges of a permutation test."""
    seed: int = 0
    """Seed of everything that is drawn."""
    draws_per_item: int = 5
    """Draws per item that expected transitions are for where the logs hold none."""

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            UserError: On a value out of its range; the message names the setting.
        """
        if not 0.5 <= self.level < 1:
            raise UserError(f"level: expected a confidence level from 0.5 to below 1, such as 0.95, got {self.level}")
        if not 0 < self.margin < 1:
            raise UserError(f"margin: expected a difference between 0 and 1, such as 0.05, got {self.margin}")
        if self.draws < 99:
            raise UserError(f"draws: expected at least 99 random exchanges, got {self.draws}")
        if self.draws_per_item < 1:
            raise UserError(f"draws_per_item: expected at least 1, got {self.draws_per_item}")
        if self.seed < 0:
            raise UserError(f"seed: expected a whole number from 0, got {self.seed}")

    def as_dict(self) -> dict[str, float | int]:
        """By name."""
        return asdict(self)
