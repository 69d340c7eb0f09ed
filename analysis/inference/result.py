"""What every test and model of this package returns: one class, one frame behind its renderings, and several as one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import count
from typing import Any

import pandas as pd

from ._show import Readable, shown

__all__ = ["Estimate", "Result", "Results"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One number with its uncertainty. A value that is not defined is None, never NaN."""

    term: str
    """What is estimated: "risk_difference", "odds_ratio", a coefficient's name ..."""
    estimate: float | None = None
    std_error: float | None = None
    statistic: float | None = None
    df: float | None = None
    p_value: float | None = None
    conf_low: float | None = None
    conf_high: float | None = None

    def __post_init__(self) -> None:
        """Put None in the place of NaN, whatever the arithmetic left."""
        for entry in fields(self)[1:]:
            value = getattr(self, entry.name)
            if value is not None:
                value = float(value)
                object.__setattr__(self, entry.name, None if math.isnan(value) else value)


@dataclass(frozen=True, kw_only=True)
class Result(Readable):
    """Outcome of one test or fitted model.

    `summary` is the full-precision frame; text, HTML and LaTeX are renderings of that frame and round in no other
    place. Columns do not depend on the level, which is in `level`.
    """

    method: str
    """Name of the method, with what it takes as independent."""
    estimates: tuple[Estimate, ...] = ()
    """Empty where nothing could be computed."""
    n: int = 0
    """Units (items, answers, records) that entered."""
    n_clusters: int | None = None
    """Independent clusters that they form; None where the units are taken as independent."""
    n_events: int | None = None
    level: float = 0.95
    """Confidence level of the intervals, in (0, 1)."""
    alternative: str = "two-sided"
    status: str = "ok"
    """"ok", or the reason why there is no result, or a weaker one, in words."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """What else the method tells: convergence, covariance type, log-likelihood, exchanges, seed ..."""

    def __getitem__(self, term: str) -> Estimate:
        """The estimate of a term.

        Raises:
            KeyError: If there is none; the message lists what there is.
        """
        for entry in self.estimates:
            if entry.term == term:
                return entry
        raise KeyError(f"no term {term!r}; there are {[entry.term for entry in self.estimates]}")

    @property
    def summary(self) -> pd.DataFrame:
        """One row per term: its numbers in full precision, then what holds for all; one row without terms."""
        rows = [{entry.name: getattr(item, entry.name) for entry in fields(Estimate)} for item in self.estimates]
        frame = pd.DataFrame(rows or [{}], columns=[entry.name for entry in fields(Estimate)])
        frame = frame.astype({name: "string" if name == "term" else "Float64" for name in frame.columns})
        whole = {
            "method": self.method,
            "n": self.n,
            "n_clusters": self.n_clusters,
            "n_events": self.n_events,
            "level": self.level,
            "alternative": self.alternative,
            "status": self.status,
            **self.facts,
        }
        same = pd.DataFrame({name: [pd.NA if value is None else value] for name, value in whole.items()})
        return frame.join(same, how="cross")

    @staticmethod
    def collect(results: Mapping[str, Result] | Iterable[Result]) -> Results:
        """Several results as one: a frame, and a rendering, with a column that names them.

        Args:
            results: By name, or in a row: then each is named by its place, from 1.

        Raises:
            TypeError: If there is none, or something else is among them.
        """
        return Results.of(results)

    def __add__(self, other: Result | Results) -> Results:
        """Both as one, as `collect` makes it."""
        return Results.of(self) + other

    def __radd__(self, other: object) -> Results:
        """For `sum`, which starts at 0."""
        return Results.of(self) if other == 0 else NotImplemented

    def _parts(self, decimals: int) -> tuple[dict[str, str], pd.DataFrame]:
        """Head and table as strings, out of `summary`."""
        frame = self.summary
        terms = [entry.name for entry in fields(Estimate)]
        first = frame.iloc[0]
        head = {
            str(name): shown(str(name), first[name], decimals)
            for name in frame.columns
            if name not in terms and not pd.isna(first[name])
        }
        table = frame.loc[frame["term"].notna(), terms].dropna(axis="columns", how="all")
        return head, pd.DataFrame(
            {name: [shown(name, value, decimals) for value in table[name]] for name in table.columns}
        )


@dataclass(frozen=True)
class Results(Readable):
    """Several results side by side: `+` adds more, and `summary` is one tidy frame of all."""

    named: tuple[tuple[str, Result], ...]
    """Each with its name; no name twice."""

    @classmethod
    def of(cls, results: Mapping[str, Result] | Iterable[Result] | Result) -> Results:
        """As `Result.collect`; a single result is one, and several stay what they are."""
        if isinstance(results, Results):
            return results
        given = [results] if isinstance(results, Result) else results
        named: list[tuple[str | None, Result]]
        named = [*given.items()] if isinstance(given, Mapping) else [(None, found) for found in given]
        strange = [type(found).__name__ for _, found in named if not isinstance(found, Result)]
        if strange or not named:
            got = f"a {strange[0]} among them" if strange else "none"
            raise TypeError(f"collect: expected results of tests (analysis.Result), got {got}")
        return cls(_numbered(named))

    def __add__(self, other: Result | Results) -> Results:
        """These and then the other, or others. A name that is there already gets a number."""
        if not isinstance(other, (Result, Results)):
            return NotImplemented
        more = other.named if isinstance(other, Results) else [(None, other)]
        return Results(_numbered([*self.named, *more]))

    def __len__(self) -> int:
        return len(self.named)

    def __iter__(self) -> Iterator[Result]:
        return (found for _, found in self.named)

    def __getitem__(self, name: str) -> Result:
        """The result of a name.

        Raises:
            KeyError: If there is none; the message lists what there is.
        """
        for own, found in self.named:
            if own == name:
                return found
        raise KeyError(f"no result {name!r}; there are {[own for own, _ in self.named]}")

    @property
    def summary(self) -> pd.DataFrame:
        """The summaries of all, one below the other, named in the column `result`. A fact that one lacks is missing."""
        parts = []
        for name, found in self.named:
            frame = found.summary
            frame.insert(0, "result", pd.Series(name, index=frame.index, dtype="string"))
            parts.append(frame)
        columns = list(dict.fromkeys(str(column) for frame in parts for column in frame))
        # As objects: a count beside a missing fact stays a count.
        whole: pd.DataFrame = pd.concat([frame.astype("object") for frame in parts], ignore_index=True)
        missing: Any = pd.NA
        whole = whole.where(whole.notna(), missing)[columns]
        numbers = {entry.name: "Float64" for entry in fields(Estimate)[1:]}
        return whole.astype({**numbers, "result": "string", "term": "string"})

    def _parts(self, decimals: int) -> tuple[dict[str, str], pd.DataFrame]:
        """Head: what is the same for all. Table: a row a term, with what differs."""
        frame = self.summary.dropna(axis="columns", how="all")
        inside = ["result", *(entry.name for entry in fields(Estimate))]
        same = [name for name in frame if name not in inside and frame[name].map(str).nunique() == 1]
        head = {str(name): shown(str(name), frame[name].iloc[0], decimals) for name in same}
        rest = frame.drop(columns=same)
        return head, pd.DataFrame({name: [shown(str(name), cell, decimals) for cell in rest[name]] for name in rest})


def _numbered(named: Iterable[tuple[str | None, Result]]) -> tuple[tuple[str, Result], ...]:
    """Each with a name of its own: "srs", "srs (2)"; without a name, its place, from 1."""
    out: dict[str, Result] = {}
    for place, (given, found) in enumerate(named, start=1):
        name = str(place) if given is None else str(given)
        free = (f"{name} ({number})" for number in count(2))
        out[name if name not in out else next(other for other in free if other not in out)] = found
    return tuple(out.items())
