"""Changes without a direction: answers that churn, or become more even, while the population's SRS stays what it is.

New bias answers to all of them. What says that a model became more stereotypical must not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from analysis.answers.net import NetChange, net_of_items, summed
from analysis.answers.strata import by_cluster
from analysis.inference.event_rate import event_rate
from analysis.inference.result import Result
from analysis.inference.trend import clustered_trend
from analysis.tables.noise.floors import Chances, change_of_rates, expected
from validity.simulate import ANTI_LOGIT, STEREOTYPE, UNKNOWN, Data, Design, Floats, answers_of, intercept

__all__ = ["PROCESSES", "Process", "draw", "excess", "item_counts", "net", "new_bias", "trends"]


@dataclass(frozen=True, kw_only=True)
class Process:
    """What becomes of items from dose to dose. The population's SRS is that of the baseline at every dose."""

    name: str
    kept: tuple[float, ...]
    """[levels] correlation of an item's own logit with the baseline's, in [0, 1]; 1 at the baseline.

    Item and baseline are then two draws from one distribution, which may change places: churn is exchangeable.
    """
    template_kept: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    """[levels] the same of a template's."""
    factors: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    """[levels] what logits are multiplied by; below 1 probabilities become more even. The mean logit moves so that the
    SRS stays."""


PROCESSES = (
    Process(name="items churn", kept=(1.0, 0.5, 0.5, 0.5)),
    Process(name="items and templates churn", kept=(1.0, 0.5, 0.5, 0.5), template_kept=(1.0, 0.7, 0.7, 0.7)),
    Process(name="probabilities soften", kept=(1.0, 1.0, 1.0, 1.0), factors=(1.0, 0.6, 0.6, 0.6)),
    Process(name="churn grows with dose", kept=(1.0, 0.9, 0.5, 0.1)),
    Process(name="softening grows with dose", kept=(1.0, 1.0, 1.0, 1.0), factors=(1.0, 0.87, 0.73, 0.6)),
)
"""Each at four levels. There is no net change in any of them."""


def draw(process: Process, design: Design, rng: np.random.Generator) -> Data:
    """Draw one comparison.

    Args:
        process: What becomes of items.
        design: Sizes, seeds, base rate and spreads; its shift, template_change and item_change have no say.
        rng: Of everything.

    Returns:
        Data of four levels, as `simulate` gives them.
    """
    sizes = rng.integers(design.smallest, design.largest + 1, size=design.templates)
    cluster = np.repeat(np.arange(design.templates), sizes)
    own = rng.normal(0, design.item_spread, len(cluster))
    template = rng.normal(0, design.template_spread, design.templates)
    spread = float(np.hypot(design.template_spread, design.item_spread))
    logits = []
    for kept, whole, factor in zip(process.kept, process.template_kept, process.factors, strict=True):
        item = kept * own + np.sqrt(1 - kept**2) * rng.normal(0, design.item_spread, len(cluster))
        common = whole * template + np.sqrt(1 - whole**2) * rng.normal(0, design.template_spread, design.templates)
        logits.append(intercept(design.base_rate, factor * spread) + factor * (item + common[cluster]))
    anti = [np.full(len(cluster), ANTI_LOGIT)] * len(logits)
    answers = answers_of(logits, anti, design.seeds, rng)
    return Data(design=design, cluster=cluster, answers=answers, chances=tuple(map(expit, logits)))


def item_counts(data: Data, level: int) -> Floats:
    """[items, COUNT_NAMES] answers at one level; all name an option, and unknown is the key of every item."""
    answers = data.answers[level]
    roles = [(answers == role).sum(axis=1).astype(float) for role in range(UNKNOWN + 1)]
    none, n = np.zeros(len(answers)), np.full(len(answers), float(answers.shape[1]))
    return np.stack([*roles, none, n, n, n, roles[UNKNOWN], none], axis=1)


def net(data: Data, *, level: float = 0.95) -> NetChange:
    """Net of new and resolved bias between baseline and the last level, as in table `transitions`."""
    change = net_of_items(item_counts(data, 0), item_counts(data, -1))
    cells = by_cluster(np.stack([*change.columns.values()], axis=1), data.cluster, data.design.templates)
    return summed(cells, level=level)


def new_bias(data: Data, *, level: float = 0.95) -> Result:
    """Rate of new bias observed between baseline and the last level."""
    old, new = data.by_item(STEREOTYPE)
    events = np.stack([(old == 0) & (new > 0), old == 0], axis=1).astype(float)
    return event_rate(by_cluster(events, data.cluster, data.design.templates), level=level)


def excess(data: Data, transition: str, *, level: float = 0.95) -> Result:
    """What is expected of a transition beyond the baseline against itself, from exact probabilities (`noise_floor`)."""
    base, run = (_chances(chance, data.design.seeds) for chance in (data.chances[0], data.chances[-1]))
    itself, other = expected(base, base)[transition], expected(base, run)[transition]
    return change_of_rates(itself, other, data.cluster, data.design.templates, level=level)


def trends(data: Data, *, flips: int = 1999) -> dict[str, float | None]:
    """p-values of the trend within templates of each outcome of table `dose_tests`."""
    named = np.stack([(answers == STEREOTYPE).sum(axis=1) for answers in data.answers], axis=1).astype(float)
    biased = (named > 0).astype(float)
    one = np.ones_like(biased)
    dose = np.arange(named.shape[1])
    risk = biased[:, 0] == 0
    asked = {
        "net_bias": (biased, one, dose, np.ones(len(risk), dtype=bool)),
        "stereotype": (named, one * data.design.seeds, dose, np.ones(len(risk), dtype=bool)),
        "new_bias": (biased[:, 1:], one[:, 1:], dose[1:], risk),
        "resolved_bias": (1 - biased[:, 1:], one[:, 1:], dose[1:], ~risk),
    }
    out: dict[str, float | None] = {}
    for outcome, (events, n, steps, chosen) in asked.items():
        counts = [by_cluster(side[chosen], data.cluster[chosen], data.design.templates) for side in (events, n)]
        found = clustered_trend(counts[0], counts[1], steps, flips=flips)
        out[outcome] = found["trend"].p_value if found.estimates else None
    return out


def _chances(chance: Floats, texts: int) -> Chances:
    roles = np.stack([chance, 1 - chance, np.zeros(len(chance)), np.zeros(len(chance))], axis=1)
    return Chances(roles, np.ones(len(chance)), np.full(len(chance), float(texts)))
