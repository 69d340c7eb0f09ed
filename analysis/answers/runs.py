"""Which runs have answers, and what each is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ..errors import UserError
from .answers import Answers
from .given import check_runs

__all__ = ["Run", "runs_of"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of the analysis and where its comparison lies."""

    label: str
    baseline: str | None
    """None for a run without anything to compare with; a baseline is not its own here."""


def runs_of(runs: pd.DataFrame, answers: Answers) -> list[Run]:
    """The runs that have answers, in the order of `runs`.

    Raises:
        UserError: If an answer belongs to a run that `runs` does not list, a run is listed twice, or `runs` holds none.
    """
    check_runs(runs, ("run", "baseline"))
    unlisted = sorted(set(answers.spans) - set(runs["run"]))
    if unlisted:
        raise UserError(f"answers of runs {unlisted}, but no such run is listed: list every run of the items")
    repeated = sorted(set(runs.loc[runs["run"].duplicated(), "run"]))
    if repeated:
        raise UserError(f"runs {repeated} are listed more than once: give each run a label of its own")
    out = []
    for label, named in zip(runs["run"], runs["baseline"], strict=True):
        baseline = str(named) if pd.notna(named) and str(named) in answers.spans else None
        if label in answers.spans:
            out.append(Run(label=str(label), baseline=baseline))
    return out
