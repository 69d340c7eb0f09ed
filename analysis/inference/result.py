"""What every test and model of this package returns: one class, and one frame that all its renderings show."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

import pandas as pd

from ._show import shown

__all__ = ["Estimate", "Result"]


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
class Result:
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

    def as_text(self, decimals: int = 3) -> str:
        """Plain text: what holds for all in a head, then the terms as a table."""
        head, table = self._parts(decimals)
        lines = [f"{name}: {value}" for name, value in head.items()]
        return "\n".join([*lines, "", table.to_string(index=False)] if len(table) else lines)

    def as_html(self, decimals: int = 3) -> str:
        """The same as HTML."""
        return self._marked(decimals, lambda frame: str(frame.to_html(index=False, border=0)))

    def as_latex(self, decimals: int = 3) -> str:
        """The same as LaTeX."""
        return self._marked(decimals, lambda frame: str(frame.style.hide(axis="index").to_latex(hrules=True)))

    def _repr_html_(self) -> str:
        return self.as_html()

    def __str__(self) -> str:
        """The text form."""
        return self.as_text()

    def _marked(self, decimals: int, render: Callable[[pd.DataFrame], str]) -> str:
        head, table = self._parts(decimals)
        facts = render(pd.DataFrame({"": list(head), "value": list(head.values())}))
        return facts + render(table) if len(table) else facts

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
