"""Answers of a baseline and of runs at rising doses, whose true change is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit, logit

__all__ = [
    "ANTI",
    "ANTI_LOGIT",
    "NODES",
    "STEREOTYPE",
    "UNKNOWN",
    "WEIGHTS",
    "Data",
    "Design",
    "Floats",
    "answers_of",
    "intercept",
    "marginal",
    "simulate",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STEREOTYPE, ANTI, UNKNOWN = 0, 1, 2
ANTI_LOGIT = -1.0
"""Mean logit of the anti-stereotype among answers that are not the stereotype."""

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


@dataclass(frozen=True, kw_only=True)
class Design:
    """What is asked and how it changes. Spreads are standard deviations on the logit scale."""

    name: str
    templates: int = 25
    smallest: int = 8
    """Items of a template are uniform between smallest and largest, as in BBQ's categories."""
    largest: int = 80
    seeds: int = 1
    """Answers per item, drawn anew in each run."""
    base_rate: float = 0.2
    """Population SRS of the baseline."""
    shift: float = 0.0
    """Population SRS of the run minus that of the baseline."""
    levels: int = 4
    """Runs at doses 0 (the baseline), 1, ... (the run at the highest); the log-odds of the rate grow in proportion."""
    onset: int = 0
    """Dose up to which nothing changes: a threshold, where it is not 0."""
    template_spread: float = 1.0
    """Of templates, common to both runs."""
    item_spread: float = 1.5
    template_change: float = 0.0
    """Of what each template has in one run alone: clustered change without a net effect."""
    item_change: float = 0.0

    @property
    def spread(self) -> float:
        """Standard deviation of an item's logit, in either run."""
        parts = (self.template_spread, self.item_spread, self.template_change, self.item_change)
        return float(np.sqrt(np.sum(np.square(parts))))

    @property
    def rates(self) -> Floats:
        """[levels] population SRS of each run: a straight line in log-odds from the onset on."""
        low, high = logit([self.base_rate, self.base_rate + self.shift])
        dose = np.clip(np.arange(self.levels) - self.onset, 0, None) / (self.levels - 1 - self.onset)
        return np.asarray(expit(low + dose * (high - low)))

    @property
    def ends(self) -> tuple[float, float]:
        """Mean logits of the baseline and of the run."""
        return intercept(float(self.rates[0]), self.spread), intercept(float(self.rates[-1]), self.spread)


@dataclass(frozen=True, kw_only=True)
class Data:
    """One simulated comparison."""

    design: Design
    cluster: Ints
    """[items] template, 0 to design.templates - 1, ascending."""
    answers: tuple[Ints, ...]
    """Per level [items, seeds] STEREOTYPE, ANTI or UNKNOWN."""
    chances: tuple[Floats, ...]
    """Per level [items] probability of a stereotypical answer."""

    @property
    def before(self) -> Ints:
        """The baseline's answers."""
        return self.answers[0]

    @property
    def after(self) -> Ints:
        """Those of the run at the highest dose."""
        return self.answers[-1]

    @cached_property
    def table(self) -> Ints:
        """[3, 3] pairs of answers by role before and after."""
        code = 3 * self.before.ravel() + self.after.ravel()
        return np.asarray(np.bincount(code, minlength=9).reshape(3, 3), dtype=np.int64)

    def by_item(self, role: int) -> tuple[Floats, Floats]:
        """Answers of a role per item, before and after: [items] each."""
        return (self.before == role).sum(axis=1).astype(float), (self.after == role).sum(axis=1).astype(float)

    def counts(self) -> tuple[Floats, Floats]:
        """Before and after, summed per template: [templates, COUNT_NAMES]; unknown is the key of every item."""
        total, _ = self.by_cluster()
        none = np.zeros_like(total)
        roles = [self.by_cluster(role) for role in (STEREOTYPE, ANTI, UNKNOWN)]
        old, new = (
            np.stack([*(role[side] for role in roles), none, total, total, total, roles[-1][side], none], axis=1)
            for side in (0, 1)
        )
        return old, new

    def by_level(self) -> tuple[Floats, Floats]:
        """Stereotypical answers and all answers per template and level: [templates, levels] each."""
        size = self.design.templates
        events = [
            np.bincount(self.cluster, weights=(answers == STEREOTYPE).sum(axis=1), minlength=size)
            for answers in self.answers
        ]
        n = np.bincount(self.cluster, minlength=size) * self.design.seeds
        return np.stack(events, axis=1).astype(float), np.repeat(n[:, None], self.design.levels, axis=1).astype(float)

    def by_cluster(self, role: int | None = None) -> tuple[Floats, Floats]:
        """Answers of a role (None: all) per template, before and after: [templates] each."""
        shape = self.before.shape[0]
        full = np.full(shape, float(self.before.shape[1]))
        pair = (full, full) if role is None else self.by_item(role)
        old, new = (np.bincount(self.cluster, weights=values, minlength=self.design.templates) for values in pair)
        return np.asarray(old, dtype=np.float64), np.asarray(new, dtype=np.float64)


def simulate(design: Design, rng: np.random.Generator) -> Data:
    """Draw one comparison.

    An item's answer is the stereotype with probability expit(mu + template + item + own), else the
    anti-stereotype with probability expit(-1 + ...), else unknown. Template and item effects are shared by all
    runs; `own` effects (template_change, item_change) are drawn for each run from one distribution. At shift
    0 the runs are therefore exchangeable, and every measure has a net change of exactly 0 in the population,
    while single items and whole templates do change.
    """
    sizes = rng.integers(design.smallest, design.largest + 1, size=design.templates)
    cluster = np.repeat(np.arange(design.templates), sizes)
    first = _logits(design, cluster, [intercept(float(rate), design.spread) for rate in design.rates], rng)
    second = _logits(design, cluster, [ANTI_LOGIT] * design.levels, rng)
    answers = answers_of(first, second, design.seeds, rng)
    return Data(design=design, cluster=cluster, answers=answers, chances=tuple(map(expit, first)))


def answers_of(
    stereotype: Sequence[Floats], anti: Sequence[Floats], seeds: int, rng: np.random.Generator
) -> tuple[Ints, ...]:
    """Draw answers from [items] logits of each level: [items, seeds] STEREOTYPE, ANTI or UNKNOWN."""
    runs = []
    for first, second in zip(stereotype, anti, strict=True):
        shape = (len(first), seeds)
        named = rng.random(shape) < expit(first)[:, None]
        other = rng.random(shape) < expit(second)[:, None]
        runs.append(np.where(named, STEREOTYPE, np.where(other, ANTI, UNKNOWN)))
    return tuple(runs)


def marginal(intercept: float, spread: float) -> float:
    """Mean of expit over a normal distribution of logits, by Gauss-Hermite quadrature."""
    return float(WEIGHTS @ expit(intercept + spread * NODES))


@lru_cache
def intercept(rate: float, spread: float) -> float:
    """The intercept at which the population rate is `rate`."""
    return float(brentq(lambda value: marginal(value, spread) - rate, -30, 30))


def _logits(design: Design, cluster: Ints, middle: list[float], rng: np.random.Generator) -> list[Floats]:
    """[items] logits of each run."""
    shared = rng.normal(0, design.template_spread, design.templates)[cluster]
    shared = shared + rng.normal(0, design.item_spread, len(cluster))
    return [
        level
        + shared
        + rng.normal(0, design.template_change, design.templates)[cluster]
        + rng.normal(0, design.item_change, len(cluster))
        for level in middle
    ]
