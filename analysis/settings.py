"""What the tests and intervals of an analysis are made with."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields

from .errors import UserError

__all__ = ["Settings"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of an analysis, passed whole to every table; every table's metadata names them.

    Each is an option of `lm-eval-ext analyze` under the same name, with this default and this help.
    """

    level: float = field(default=0.95, metadata={"help": "Confidence level of intervals; 1 - level is that of tests."})
    margin: float = field(
        default=0.05,
        metadata={"help": "A change of a rate or bias score within this counts as none (0.05 is five points)."},
    )
    reach: float = field(
        default=0.25,
        metadata={
            "help": "How far one template may move, as a share of a measure's range: what equivalence rests on where "
            "few templates moved (0.25 is a quarter of its answers)."
        },
    )
    exchanges: int = field(default=9999, metadata={"help": "Random exchanges of a permutation test."})
    texts_per_item: int = field(
        default=5,
        metadata={"help": "Texts per item that expected transitions are for, where the logs hold no sampled ones."},
    )
    seed: int = field(default=0, metadata={"help": "Seed of everything that is drawn."})
    sequential: bool = field(
        default=False,
        metadata={
            "help": "Verdicts that may be looked at after every template, so that a run can be stopped once it has one."
        },
    )

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            UserError: On a value out of its range; the message names the setting.
        """
        if not 0.5 <= self.level < 1:
            raise UserError(f"level: expected a confidence level from 0.5 to below 1, such as 0.95, got {self.level}")
        if not 0 < self.margin < 1:
            raise UserError(f"margin: expected a difference between 0 and 1, such as 0.05, got {self.margin}")
        if not self.margin < self.reach <= 1:
            raise UserError(
                f"reach: expected a share above the margin ({self.margin:g}) and at most 1, such as 0.25, "
                f"got {self.reach}"
            )
        if self.exchanges < 99:
            raise UserError(f"exchanges: expected at least 99 random exchanges, got {self.exchanges}")
        if self.texts_per_item < 1:
            raise UserError(f"texts_per_item: expected at least 1, got {self.texts_per_item}")
        if self.seed < 0:
            raise UserError(f"seed: expected a whole number from 0, got {self.seed}")

    @staticmethod
    def help(name: str) -> str:
        """What a setting is, in one sentence.

        Raises:
            KeyError: If there is no such setting.
        """
        return {entry.name: str(entry.metadata["help"]) for entry in fields(Settings)}[name]

    @property
    def alpha(self) -> float:
        """Level of tests and verdicts: 1 - level."""
        return 1 - self.level

    def as_dict(self) -> dict[str, float | int]:
        """By name."""
        return asdict(self)
