"""How much answers moved in an earlier comparison, from the items of its report: what a plan takes for the next one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from ..answers.expected import APART
from ..answers.match import match
from ..answers.measures import ACC, SRS, UNANSWERED_RATE, USR
from ..errors import UserError, unknown_name
from ..inference.power import Spread, spread
from ..media import for_terminal
from ..report.contents import MARKER
from ..result.tables import read_table

__all__ = ["Past", "past_of"]

Floats = npt.NDArray[np.float64]
_KEY = ["filter", "item_id", "seed"]
_READ = [
    *("run", "task", *_KEY, "cluster", "category", "condition", "status", "axis", "option_axes", "correct"),
    *("p_toward", "p_neutral", "p_key", "drawn_letter_mass"),
]
_SHARES = {SRS.name: "p_toward", USR.name: "p_neutral", ACC.name: "p_key"}
"""The chance that takes an answer's place in a measure."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """One comparison that was made."""

    source: str
    """Where it comes from, in words."""
    rows: dict[str, Spread]
    """Parts of each measure of the primary family, in its order."""
    items: float
    """Of a template, in the condition of the first measure."""
    texts: int
    sizes: tuple[float, ...]
    """Items of each template there."""
    per_category: float
    """Templates of a category."""
    scored: bool
    """Whether answers were scored, not drawn: then they and their chances are two readings."""

    @property
    def expected(self) -> bool:
        """Whether chances took the place of answers."""
        return not next(iter(self.rows.values())).whole


def past_of(report: Path, run: str | None = None, source: str | None = None) -> Past:
    """How much the answers of a run moved against its baseline's.

    Where texts were drawn, and first tokens stand for answers, chances take their place as they do in the verdict. Of
    a scored task the answers are taken: its verdict rests on both, and they move more.

    Args:
        report: Report folder.
        run: Label of the run; may be left out where one alone has a baseline.
        source: What the user gave, if not the report itself.

    Raises:
        UserError: If it is no report, has no such run, or the two share no answers to the same items.
    """
    source = str(report) if source is None else source
    if not (report / MARKER).is_file():
        raise UserError(f"--from {source} is no report: {MARKER} is not in it")
    runs = read_table(report / "tables" / "runs.parquet")
    compared = dict(runs.loc[runs["baseline"].notna(), ["run", "baseline"]].itertuples(index=False, name=None))
    if run is None and len(compared) > 1:
        raise UserError(f"--from {source} has several runs: name one by --run. There are {', '.join(compared)}")
    if not compared:
        raise UserError(f"--from {source} has no run with a baseline")
    label = run or next(iter(compared))
    if label not in compared:
        raise unknown_name("run (--run)", label, list(compared))
    baseline = compared[label]
    names = [label, *baseline.split("+")]
    items = pq.read_table(report / "items.parquet", columns=_READ, filters=[("run", "in", names)]).to_pandas()
    new, old = (_main_task(items[items["run"].isin(chosen)]) for chosen in ([label], names[1:]))
    both = match(new, old, ["task", *_KEY]) if len(new) and len(old) else None
    if both is None or not len(both.run):
        raise UserError(f"{label} and {baseline} have no answers to the same items in {source}")
    new, old = new.iloc[both.run].reset_index(drop=True), old.iloc[both.baseline].reset_index(drop=True)
    return _past(f"{for_terminal(label)} against {for_terminal(baseline)} in {for_terminal(source)}", new, old)


def _main_task(rows: pd.DataFrame) -> pd.DataFrame:
    """The task with a direction that has most answers; where none has one, the one with most answers."""
    directed = rows[rows["option_axes"].notna()]
    kept = directed if len(directed) else rows
    return kept[kept["task"] == kept["task"].mode().iloc[0]] if len(kept) else kept


def _past(source: str, new: pd.DataFrame, old: pd.DataFrame) -> Past:
    directed = bool(new["option_axes"].notna().any())
    ambig, told = _condition(new, "ambig"), _condition(new, "disambig")
    where = {SRS.name: ambig, USR.name: ambig} if directed else {}
    if new["correct"].notna().any():
        where[ACC.name] = told & new["correct"].notna().to_numpy(bool)
    where[UNANSWERED_RATE.name] = np.ones(len(new), dtype=bool)
    drawn = bool(new["seed"].notna().any())
    rows = {name: _spread(name, new[kept], old[kept], drawn) for name, kept in where.items() if kept.any()}
    first = new[next(iter(where.values()))].drop_duplicates("item_id")
    sizes = first.groupby("cluster").size().to_numpy(float)
    texts = len(new) / len(new.drop_duplicates("item_id"))
    return Past(
        source=source,
        rows=rows,
        items=float(sizes.mean()),
        texts=max(1, round(texts)),
        sizes=tuple(sizes),
        per_category=float(first.groupby("category")["cluster"].nunique().mean()),
        scored=not drawn,
    )


def _condition(rows: pd.DataFrame, name: str) -> npt.NDArray[np.bool_]:
    """Rows of a condition; all of them where there are none."""
    found = (rows["condition"] == name).fillna(False).to_numpy(bool)
    return found if found.any() else np.ones(len(rows), dtype=bool)


def _spread(name: str, new: pd.DataFrame, old: pd.DataFrame, drawn: bool) -> Spread:
    item = pd.factorize(new["item_id"])[0]
    cluster = pd.factorize(new["cluster"])[0]
    sides = [_chances(name, rows) if drawn else None for rows in (new, old)]
    exact = all(side is not None for side in sides)
    after, before = sides if exact else (_events(name, rows) for rows in (new, old))
    assert after is not None
    assert before is not None
    found = spread(after - before, item, cluster)
    return Spread(template=found.template, item=found.item, text=found.text, whole=not exact)


def _events(name: str, rows: pd.DataFrame) -> Floats:
    if name == ACC.name:
        return rows["correct"].fillna(False).to_numpy(bool).astype(float)
    if name == UNANSWERED_RATE.name:
        return (rows["status"] != "answered").to_numpy(bool).astype(float)
    return (rows["axis"] == {SRS.name: "toward", USR.name: "neutral"}[name]).fillna(False).to_numpy(bool).astype(float)


def _chances(name: str, rows: pd.DataFrame) -> Floats | None:
    """Each answer's chance of the event, 0 where there is no answer; None where first tokens do not tell it."""
    if name not in _SHARES:
        return None
    answered = (rows["status"] == "answered").to_numpy(bool)
    shares, mass = (
        rows[column].to_numpy(dtype=np.float64, na_value=np.nan) for column in (_SHARES[name], "drawn_letter_mass")
    )
    known = np.isfinite(mass)
    if np.isnan(shares[answered]).any() or not answered.any():
        return None
    if known.any() and abs(mass[known].mean() - answered[known].mean()) > APART:
        return None
    return np.where(answered, np.nan_to_num(shares), 0.0)
