"""What the same measures show where nothing was compressed: the floor that an observed change stands on.

"New bias" is a threshold on a few draws: an item whose stereotype probability is 0.1 shows none in five draws with
probability 0.59 and one or more in the next five with 0.41, with no change in between. The exact probabilities tell
how much of that there is, without sampling anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis._answers import Answers
from analysis._noise_tables import NOISE_FLOOR, REPLICATES
from analysis.inference._strata import COUNT_NAMES, Stratum, by_cluster, strata
from analysis.inference.clusters import jackknife_change
from analysis.inference.result import Result

__all__ = ["NOISE_FLOOR", "REPLICATES", "noise_floor", "replicate_floors"]

Floats = npt.NDArray[np.float64]
_STEREOTYPE, _ANSWERED = COUNT_NAMES.index("stereotype"), COUNT_NAMES.index("answered")
# Share of draws by which what is begun may differ from what is read as an answer.
_APART = 0.05
_COVARIATES = ["base_model", "method", "sparsity", "bits"]


@dataclass(frozen=True)
class _Chances:
    """What one run's probabilities say of the items of a stratum."""

    roles: Floats
    """[items, 3] probability of stereotype, anti-stereotype, unknown, given that an option is drawn."""
    mass: Floats
    """[items] probability that one is drawn at all."""
    none: Floats
    """[items] probability that no draw of K is stereotypical."""


def noise_floor(
    items: pd.DataFrame | Answers, runs: pd.DataFrame, *, draws_per_item: int = 5, level: float = 0.95
) -> pd.DataFrame:
    """Transitions expected from probabilities alone: between baseline and run, and between baseline and itself.

    With p and q an item's probability of a stereotypical draw at baseline and in the run, and K draws each, drawn
    independently, an item shows no stereotype with P = (1 - p)^K and Q = (1 - q)^K. New bias is then expected in
    sum P (1 - Q) of sum P items; of the baseline against itself in sum P (1 - P): the floor. The excess is the
    difference. Resolved bias likewise with P and Q exchanged for 1 - P and 1 - Q; flips of single draws from the
    probabilities themselves. p is the probability given that an option is drawn times the probability that one is; a
    draw without one counts as not stereotypical, as in the studies.

    Args:
        items: ITEMS frame of all runs, BBQ-like rows only, or the Answers made from it.
        runs: One row per run with columns run and baseline.
        draws_per_item: K where the logs hold no draws (scored protocols).
        level: Of the intervals, which take templates as the unit of independence (jackknife).

    Returns:
        Table NOISE_FLOOR. Where the logs have no probabilities, or none is at risk, `status` says so.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    answers = Answers.of(items)
    rows: list[dict[str, object]] = []
    for stratum in strata(answers, runs):
        rows += _floor_rows(answers, stratum, draws_per_item, level)
    return NOISE_FLOOR.conform(pd.DataFrame(rows, columns=NOISE_FLOOR.names)) if rows else NOISE_FLOOR.empty()


def replicate_floors(items: pd.DataFrame | Answers, runs: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """The item transitions between runs that should be the same: other seeds, batch, dtype or calibration.

    Two runs are replicates if they have the same base model, method, sparsity and bits. Each is taken as the other's
    baseline, as nothing says which came first.

    Args:
        items: As for `noise_floor`.
        runs: One row per run with columns run, base_model, method, sparsity, bits.
        level: Of the intervals (jackknife over templates).

    Returns:
        Table REPLICATES, both directions of each pair; empty without replicates. Items are matched, not seeds.
    """
    answers = Answers.of(items)
    rows: list[dict[str, object]] = []
    for one, other in _replicate_pairs(runs, list(answers.spans)):
        listed = pd.DataFrame({"run": list(answers.spans)})
        listed["baseline"] = listed["run"].map({one: other})
        for stratum in strata(answers, listed):
            rows += [_replicate_row(stratum, *seen, level) for seen in _observed(stratum)]
    return REPLICATES.conform(pd.DataFrame(rows, columns=REPLICATES.names)) if rows else REPLICATES.empty()


def _replicate_row(
    stratum: Stratum, transition: str, events: Floats, at_risk: Floats, level: float
) -> dict[str, object]:
    rate = jackknife_change(*_against_zero(stratum, events, at_risk), level=level)
    keys = {name: value for name, value in stratum.keys.items() if name != "baseline"}
    return {
        **keys,
        "replicate_of": stratum.baseline,
        "transition": transition,
        "n_items": len(stratum.item),
        "n_clusters": stratum.n_clusters,
        "n_at_risk": int(at_risk.sum()),
        "n": int(events.sum()),
        **_interval(rate, "rate", "conf_low", "conf_high"),
        "status": _status(rate),
    }


def _floor_rows(answers: Answers, stratum: Stratum, draws: int, level: float) -> list[dict[str, object]]:
    seeds = len(stratum.pair.item) > len(np.unique(stratum.pair.item)) or bool(
        (stratum.before[:, COUNT_NAMES.index("n")] > 1).any()
    )
    k = stratum.before[:, COUNT_NAMES.index("n")] if seeds else np.full(len(stratum.item), float(draws))
    base, run = (_chances(answers, label, stratum.item, k) for label in (stratum.baseline, stratum.run))
    shared = len(stratum.pair.item) > 0
    common = {
        **stratum.keys,
        "draws": "scored" if not seeds else "common seeds" if shared else "other seeds",
        "draws_per_item": float(k.mean()),
        "n_items": len(stratum.item),
        "n_clusters": stratum.n_clusters,
    }
    read = _read_as_letters(stratum, base, run) if seeds else "ok"
    seen = {name: (events, at_risk) for name, events, at_risk in _observed(stratum)}
    rows = []
    known = ~np.isnan(base.none) & ~np.isnan(run.none)
    for name, own, expected in _expected(base, run):
        row: dict[str, object] = {**common, "transition": name, "n_unscored": int((~known).sum())}
        floor, hoped = (_columns(stratum, *pair, known) for pair in (own, expected))
        excess = jackknife_change(floor, hoped, level=level)
        row |= {"floor": excess.facts["value_baseline"], "expected": excess.facts["value"]}
        row |= _interval(excess, "excess", "excess_low", "excess_high")
        status = "no probabilities in the logs" if not known.any() else _status(excess)
        row["status"] = read if read != "ok" and known.any() else status
        if name in seen:
            events, at_risk = seen[name]
            observed = jackknife_change(*_against_zero(stratum, events, at_risk), level=level)
            row |= _interval(observed, "observed", "observed_low", "observed_high")
            row |= {"n": int(events.sum()), "n_at_risk": int(at_risk.sum())}
        rows.append(row)
    return rows


def _read_as_letters(stratum: Stratum, base: _Chances, run: _Chances) -> str:
    """Whether first tokens stand for answers: as many draws must begin with a letter as are read as one."""
    for side, counts, chances in (("baseline", stratum.before, base), ("run", stratum.after, run)):
        known = ~np.isnan(chances.none)
        parsed = counts[known, _ANSWERED].sum() / max(1.0, counts[known, COUNT_NAMES.index("n")].sum())
        begun = float(chances.mass[known].mean()) if known.any() else parsed
        if abs(begun - parsed) > _APART:
            return (
                f"expected and floor are of first tokens: {begun:.0%} of the {side}'s draws begin with a letter, but "
                f"{parsed:.0%} are read as an answer"
            )
    return "ok"


def _chances(answers: Answers, label: str, item: npt.NDArray[np.int64], k: Floats) -> _Chances:
    scores = answers.scores[label]
    roles = scores[["p_stereotype", "p_anti_stereotype", "p_unknown"]].to_numpy()[item]
    # Scored protocols, and older logs, have no mass of what is drawn: given that an option is.
    mass = scores["drawn_letter_mass"].fillna(1.0).to_numpy()[item]
    return _Chances(roles, mass, (1 - np.clip(roles[:, 0] * mass, 0, 1)) ** k)


def _expected(base: _Chances, run: _Chances) -> Iterator[tuple[str, tuple[Floats, Floats], tuple[Floats, Floats]]]:
    """Transitions: name, events and at risk of the baseline against itself, and against the run."""
    yield "new_bias", (base.none * (1 - base.none), base.none), (base.none * (1 - run.none), base.none)
    some = 1 - base.none
    yield "resolved_bias", (some * base.none, some), (some * run.none, some)
    own, both = base.mass**2, base.mass * run.mass
    p, q = base.roles[:, 0], run.roles[:, 0]
    yield "flip_to_stereotype", (own * (1 - p) * p, own * (1 - p)), (both * (1 - p) * q, both * (1 - p))
    yield "flip_from_stereotype", (own * p * (1 - p), own * p), (both * p * (1 - q), both * p)
    same, kept = (base.roles**2).sum(axis=1), (base.roles * run.roles).sum(axis=1)
    yield "response_flip", (own * (1 - same), own), (both * (1 - kept), both)


def _observed(stratum: Stratum) -> Iterator[tuple[str, Floats, Floats]]:
    """Item transitions of the logs: name, events and at risk per item. No answer after compression counts as none."""
    answered = stratum.before[:, _ANSWERED] > 0
    had, has = stratum.before[:, _STEREOTYPE] > 0, stratum.after[:, _STEREOTYPE] > 0
    yield "new_bias", (answered & ~had & has).astype(float), (answered & ~had).astype(float)
    yield "resolved_bias", (had & ~has).astype(float), had.astype(float)


def _columns(stratum: Stratum, events: Floats, at_risk: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """[clusters, 2] sums over the items with probabilities."""
    values = np.stack([events, at_risk], axis=1)
    return by_cluster(np.where(known[:, None], values, 0.0), stratum.cluster, stratum.n_clusters)


def _against_zero(stratum: Stratum, events: Floats, at_risk: Floats) -> tuple[Floats, Floats]:
    """A rate as a change from 0 of the same items, for its interval."""
    after = _columns(stratum, events, at_risk, np.ones(len(events), dtype=bool))
    return np.stack([np.zeros(len(after)), after[:, 1]], axis=1), after


def _replicate_pairs(runs: pd.DataFrame, present: list[str]) -> list[tuple[str, str]]:
    """Ordered pairs of runs that differ in nothing that compresses, of those that have answers."""
    there = runs[runs["run"].isin(present)]
    if there.empty:
        return []
    keys = there[_COVARIATES].astype("string").fillna("none").agg("/".join, axis=1)
    groups = [list(group) for _, group in there["run"].groupby(keys, sort=False)]
    return [(str(one), str(other)) for group in groups for one in group for other in group if one != other]


def _interval(result: Result, value: str, low: str, high: str) -> dict[str, object]:
    estimate = result.estimates[0] if result.estimates else None
    return {
        value: getattr(estimate, "estimate", None),
        low: getattr(estimate, "conf_low", None),
        high: getattr(estimate, "conf_high", None),
    }


def _status(result: Result) -> str:
    if result.status.startswith("undefined at baseline") or result.status.startswith("undefined after"):
        return "nothing at risk"
    return result.status
