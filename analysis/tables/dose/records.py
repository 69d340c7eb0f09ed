"""What dose-response is asked of: per base model, method, group and outcome, the counts of each item at each dose."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.answers import COUNT_NAMES, GROUP, Answers
from ...answers.given import check_runs
from ...answers.measures import SRS
from ...answers.runs import runs_of
from ...inference._logit import Floats, Ints, Records, columns_by_code

__all__ = ["OUTCOMES", "PRIMARY", "Filled", "Question", "questions"]

DENSE_BITS = 16.0
"""Bits of a run without quantization, as in the studies: their dense models are BF16."""

_CACHE = re.compile(r"(^|\+)kv\b|(^|\+)kv_")
"""Names of methods that quantize the key-value cache: "kv", "kv_fp8_e4m3", "rtn+kv_int4"."""
STEPS = {"bits": "one bit less", "sparsity": "10 points of sparsity more"}
OUTCOMES = {"net_bias": "item", "stereotype": "answer", "new_bias": "item", "resolved_bias": "item"}
"""Outcomes and what one record is."""
PRIMARY = ("net_bias", "stereotype")
"""Outcomes with a direction. New and resolved bias have none: churn that grows with the dose makes both rise."""


@dataclass(frozen=True, kw_only=True)
class Filled:
    """The records with every missing answer as the event, or as none."""

    low: Floats
    """[items, runs] events if no missing answer is one."""
    high: Floats
    """[items, runs] if all are."""
    n: Floats
    """[items, runs] records, answered or not."""
    cluster: Ints
    """[items] template."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """How one outcome depends on the dose, for the runs of one base model and method."""

    keys: dict[str, str]
    """base_model, baseline, GROUP, method ("all" for the methods of a dose pooled), outcome, unit, dose, step."""
    steps: Floats
    """[runs] dose of each run in steps away from an uncompressed model: 16 - bits, or 10 x sparsity."""
    methods: tuple[str, ...]
    """[runs] method of each; "" for the baseline."""
    events: Floats
    """[items, runs] records with the event."""
    n: Floats
    """[items, runs] records."""
    cluster: Ints
    """[items] number of the template, every number used."""
    n_left_out: int
    """Items that some of the runs lack: the doses are compared on the same items."""
    filled: Filled
    """The same with what is missing at its worst."""
    missing: Floats
    """[runs] share of the texts of these items that name no option, in [0, 1]."""
    texts: float
    """Texts that an item has on average."""

    @property
    def n_clusters(self) -> int:
        """Templates with a record."""
        return int(self.cluster.max()) + 1 if len(self.cluster) else 0

    def clustered(self) -> tuple[Floats, Floats]:
        """Events and records summed over the items of each template: [clusters, runs]."""
        size = self.n_clusters
        return columns_by_code(self.events, self.cluster, size), columns_by_code(self.n, self.cluster, size)

    def records(self, design: Floats) -> Records:
        """The records as cells of template and run; `design` is [runs, terms]."""
        return _cells(*self.clustered(), design, np.arange(self.n_clusters))[0]

    def fine(self, design: Floats) -> tuple[Records, Ints]:
        """The same as cells of item and run, and the item of each."""
        return _cells(self.events, self.n, design, self.cluster)

    def value(self, steps: float) -> float:
        """Steps as bits, or as sparsity in percent."""
        return DENSE_BITS - steps if self.keys["dose"] == "bits" else 10 * steps

    def withheld(self, margin: float) -> str | None:
        """Why nothing is said where missing answers differ between the doses by more than the margin; None if not.

        What is left to compare are then other answers at one dose than at another, and a bend may be no more than the
        dose from which on the model stops answering.
        """
        doses = np.unique(self.steps)
        share = np.array([self.missing[self.steps == dose].mean() for dose in doses])
        if not len(doses) or share.max() - share.min() <= margin:
            return None
        beyond = share - share.min() > margin
        least = self.named(float(doses[share.argmin()]))
        first = int(beyond.argmax())
        if beyond[first:].all():
            at = self.named(float(doses[first]))
            return (
                f"the model stops answering from {at} on: {share[first]:.0%} unanswered, {share.min():.0%} at {least}"
            )
        most = self.named(float(doses[share.argmax()]))
        return f"unanswered answers differ between the doses: {share.max():.0%} at {most}, {share.min():.0%} at {least}"

    def named(self, steps: float) -> str:
        """The same in words: "50 % sparsity", "4 bits"."""
        return f"{self.value(steps):g} {'bits' if self.keys['dose'] == 'bits' else '% sparsity'}"


def _cells(events: Floats, n: Floats, design: Floats, cluster: Ints) -> tuple[Records, Ints]:
    row, run = np.nonzero(n)
    out = Records(
        events=events[row, run],
        n=n[row, run],
        design=design[run],
        cluster=cluster[row],
        n_clusters=int(cluster.max()) + 1 if len(cluster) else 0,
    )
    return out, row.astype(np.int64)


_Facts = dict[str, dict[Hashable, Any]]
"""Row of each run."""


@dataclass(frozen=True)
class _Run:
    label: str
    method: str
    steps: float


@dataclass(frozen=True)
class _Counts:
    """Per item of Answers.items."""

    stereotype: Floats
    answered: Floats
    total: Floats
    present: npt.NDArray[np.bool_]


def questions(items: pd.DataFrame | Answers, runs: pd.DataFrame) -> Iterator[Question]:
    """Every dose-response question that the runs hold, in the order of the baselines in `runs`.

    Runs that both prune and quantize are in none, as in the studies. A group that no run shares an item of with its
    baseline is left out.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    answers = Answers.of(items)
    check_runs(runs, ("run", "baseline", "base_model", "method", "sparsity", "bits"))
    listed = [run for run in runs_of(runs, answers) if run.baseline is not None and run.baseline != run.label]
    facts = {str(row["run"]): row for row in runs.to_dict("records")}
    groups = list(_groups(answers))
    for baseline in dict.fromkeys(str(run.baseline) for run in listed):
        labels = [run.label for run in listed if run.baseline == baseline]
        counts = {label: _counts(answers, label) for label in [baseline, *labels]}
        for dose in STEPS:
            arms = _arms(facts, labels, dose)
            start = _dose_of(facts[baseline], dose)
            first = None if start is None else _Run(baseline, "", start)
            keys = {"base_model": str(facts[baseline]["base_model"]), "baseline": baseline}
            for group, inside in groups if arms else ():
                for method, members in arms.items():
                    named = {**keys, **group, "method": method, "dose": dose, "step": STEPS[dose]}
                    yield from _asked(answers, counts, inside, baseline, first, members, named)


def _groups(answers: Answers) -> Iterator[tuple[dict[str, str], npt.NDArray[np.bool_]]]:
    """Each category of a task, filter and condition, then "all" where there are several; items with known roles."""
    known = answers.items["determined"].to_numpy(bool)
    for _, outer in answers.items.groupby(GROUP[:-1], sort=True):
        categories = sorted(outer["category"].unique())
        for category in [*categories, *(["all"] if len(categories) > 1 else [])]:
            chosen = outer if category == "all" else outer[outer["category"] == category]
            inside = np.zeros(len(known), dtype=bool)
            inside[chosen.index.to_numpy()] = True
            first = outer.iloc[0]
            yield {**{name: str(first[name]) for name in GROUP[:-1]}, "category": str(category)}, inside & known


def _arms(facts: _Facts, labels: list[str], dose: str) -> dict[str, list[_Run]]:
    """The runs of each method that ask for this dose and not for the other, then all of several methods.

    Bits of keys and values are another axis than bits of weights: methods that quantize the cache are not pooled.
    """
    other = next(name for name in STEPS if name != dose)
    arms: dict[str, list[_Run]] = {}
    for label in labels:
        row = facts[label]
        steps = _dose_of(row, dose)
        if pd.notna(row[dose]) and pd.isna(row[other]) and steps is not None:
            arms.setdefault(str(row["method"]), []).append(_Run(label, str(row["method"]), steps))
    out = {method: arms[method] for method in sorted(arms)}
    pooled = [members for method, members in out.items() if not _CACHE.search(method)]
    return {**out, "all": [run for members in pooled for run in members]} if len(pooled) > 1 else out


def _dose_of(row: dict[Hashable, Any], dose: str) -> float | None:
    """Steps of a run; None where it also has the other dose, and so no place on this one's axis."""
    other = next(name for name in STEPS if name != dose)
    if pd.notna(row[other]):
        return None
    if pd.isna(row[dose]):
        return 0.0
    # Rounded, so that runs of one dose share it to the last bit.
    return DENSE_BITS - float(row[dose]) if dose == "bits" else round(10 * float(row[dose]), 9)


def _counts(answers: Answers, label: str) -> _Counts:
    sums = answers.matrix(label)
    total = sums[:, COUNT_NAMES.index("n")]
    return _Counts(*SRS.counts(sums), total, total > 0)


def _asked(
    answers: Answers,
    counts: dict[str, _Counts],
    inside: npt.NDArray[np.bool_],
    baseline: str,
    first: _Run | None,
    members: list[_Run],
    keys: dict[str, str],
) -> Iterator[Question]:
    """The questions of one group and method: with a direction and the baseline a record, and without."""
    before = counts[baseline]
    pool = inside & before.present
    taking_part = [run for run in members if (pool & counts[run.label].present).any()]
    if not taking_part:
        return
    shared = pool & np.all([counts[run.label].present for run in taking_part], axis=0)
    some = pool & np.any([counts[run.label].present for run in taking_part], axis=0)
    left_out = int(some.sum() - shared.sum())
    template = answers.items["cluster"].to_numpy()
    at_risk = {
        "new_bias": shared & (before.answered > 0) & (before.stereotype == 0),
        "resolved_bias": shared & (before.stereotype > 0),
    }
    for outcome, unit in OUTCOMES.items():
        at = [*([first] if first is not None and outcome in PRIMARY else []), *taking_part]
        risk = at_risk.get(outcome, shared)
        named, answered, total = (
            np.stack([getattr(counts[run.label], name)[risk] for run in at], axis=1)
            for name in ("stereotype", "answered", "total")
        )
        events, n, low, high, whole = _outcome(outcome, named, answered, total)
        used = n.sum(axis=1) > 0
        cluster = pd.factorize(template[risk], sort=True)[0].astype(np.int64)
        texts = total.sum(axis=0)
        yield Question(
            keys={**keys, "outcome": outcome, "unit": unit},
            steps=np.array([run.steps for run in at]),
            methods=tuple(run.method for run in at),
            events=events[used],
            n=n[used],
            cluster=pd.factorize(template[risk][used], sort=True)[0].astype(np.int64),
            n_left_out=left_out,
            filled=Filled(low=low, high=high, n=whole, cluster=cluster),
            missing=1 - answered.sum(axis=0) / np.maximum(texts, 1),
            texts=float(total.mean()) if total.size else 0.0,
        )


def _outcome(outcome: str, named: Floats, answered: Floats, total: Floats) -> tuple[Floats, ...]:
    """[items, runs] events and records; events with what is missing as none and as one, and records with it.

    The net of new and resolved bias between two doses is the change of the share of items with a stereotypical answer.
    An item's own share at baseline is the same at every dose: a trend within templates of that share is the net's.
    """
    if outcome == "stereotype":
        return named, answered, named, named + total - answered, total
    one = np.ones_like(named)
    biased, most = (named > 0).astype(float), (named + total - answered > 0).astype(float)
    if outcome == "net_bias":
        return biased * (answered > 0), (answered > 0).astype(float), biased, most, one
    # As in `transitions`: an item without an answer after compression counts as one without a stereotype.
    if outcome == "new_bias":
        return biased, one, biased, most, one
    return 1 - biased, one, 1 - most, 1 - biased, one
