"""What was wrong with the lines of one file, gathered line by line and told as issues."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from .issues import Issue
from .options import PROBLEMS, Problem

__all__ = ["Faults", "some"]

_NAMED = 8
"""Names that an issue lists at most."""


@dataclass
class Faults:
    """Lines that were left out, or that are in no table by role, and where the file breaks off."""

    truncated: str | None = None
    lines: dict[str, list[int]] = field(default_factory=dict)
    """Numbers of the lines that were left out, by why."""
    problems: Counter[str] = field(default_factory=Counter)
    """Lines that were kept without their direction, by kind of problem."""
    seen: dict[str, Counter[str]] = field(default_factory=dict)
    """By kind of problem, in how many lines each name was seen."""

    def line(self, why: str, number: int) -> None:
        """A line is left out."""
        self.lines.setdefault(why, []).append(number)

    def problem(self, found: Problem) -> None:
        """A line is in no table by role."""
        self.problems[found.kind] += 1
        self.seen.setdefault(found.kind, Counter()).update(found.seen)

    @property
    def incomplete(self) -> bool:
        """Whether lines are missing, so that what was read can't be held against the results file."""
        return self.truncated is not None or bool(self.lines)

    def issues(self, found: int, expected: int | None) -> list[Issue]:
        """One issue a kind of fault, each with its count and what was seen; the file's name is added later.

        Args:
            found: Documents that were read.
            expected: Documents that the results file counts.
        """
        issues = []
        if self.truncated:
            kept = f"{found} complete documents of {expected if expected is not None else 'an unknown number'}"
            issues.append(Issue("", "truncated", f"{self.truncated}; the file is cut off, {kept} are kept"))
        for kind, lines in self.problems.items():
            message = f"{lines} lines are in no table by role: {PROBLEMS[kind].format(seen=_counted(self.seen[kind]))}"
            issues.append(Issue("", kind, message))
        for fault, numbers in self.lines.items():
            where = some([str(number) for number in numbers])
            issues.append(Issue("", "bad_line", f"{fault}: {len(numbers)} lines left out (line {where})"))
        return issues


def some(names: Sequence[str], most: int = 3) -> str:
    """The first of some names, with dots if there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _counted(seen: Counter[str]) -> str:
    named = ", ".join(f"{name or repr(name)} ({count})" for name, count in seen.most_common(_NAMED))
    return named + (f" and {len(seen) - _NAMED} more" if len(seen) > _NAMED else "")
