"""What the same measures show where nothing was compressed: the floor that an observed change stands on.

"New bias" is a threshold on a few texts: an item whose stereotype probability is 0.1 shows none in five texts with
probability 0.59 and one or more in the next five with 0.41, with no change in between. The exact probabilities tell
how much of that there is, without sampling anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.answers import Answers
from ...answers.expected import APART, read_as_letters
from ...answers.given import check_runs
from ...answers.measures import SRS
from ...answers.net import Net, net_of_answers, net_of_items, summed
from ...answers.strata import COUNT_NAMES, Stratum, by_cluster, strata
from ...compare.replicate_items import replicate_items
from ...compare.replicates import SEEDS, floor_of, replicate_pairs
from ...inference.event_rate import NOTHING_AT_RISK
from ...inference.result import Result
from ...schema.declare import ReportTable, Step
from ...settings import Settings
from ..runs import RUNS_TABLE
from ..sources import ANSWERS, LOGS, ROLE_RUNS, SETTINGS
from .columns import NOISE_FLOOR, REPLICATES
from .floors import chances, change_of_rates, expected, rate

__all__ = [
    "FIRST_TOKENS",
    "NOISE_FLOOR",
    "NOISE_FLOOR_TABLE",
    "REPEATED_ITEMS",
    "REPLICATES",
    "REPLICATES_TABLE",
    "noise_floor",
    "replicate_floors",
]

Floats = npt.NDArray[np.float64]
_ANSWERED = COUNT_NAMES.index("answered")
FIRST_TOKENS = "expected and floor_independent are of first tokens"
"""How the status begins of rows whose probabilities do not stand for the answers that were read."""
_SHARED = "several options lie on one axis, and their single probabilities are not in the rows"


def noise_floor(items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Transitions expected from probabilities alone: between baseline and run, and between baseline and itself.

    With p and q an item's probability of a stereotypical text at baseline and in the run, and K texts each, drawn
    independently, an item shows no stereotype with P = (1 - p)^K and Q = (1 - q)^K. New bias is then expected in
    sum P (1 - Q) of sum P items; of the baseline against itself in sum P (1 - P): the floor of independent texts. The
    excess is the difference. The net is expected in sum (P - Q) of the items; of a model against itself in none, as
    the two are exchangeable. What was observed with common seeds has a floor of 0 of its own.

    Resolved bias likewise with P and Q exchanged for 1 - P and 1 - Q; a changed item SRS and flips of
    single texts from the probabilities themselves. p is the probability given that an option is drawn times the
    probability that one is; a text without one counts as not stereotypical, and an item without any at baseline is not
    at risk, as in the studies: P is then less the chance of that.

    Args:
        items: ITEMS frame of all runs, rows with a direction only, or the Answers made from it.
        runs: One row per run with columns run and baseline.
        settings: texts_per_item is K where the logs hold no sampled texts (scored protocols), the level that of the
            intervals, which take templates as the unit of independence (jackknife).

    Returns:
        Table NOISE_FLOOR. Where the logs have no probabilities, or none is at risk, `status` says so.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    given = settings or Settings()
    answers = Answers.of(items)
    rows: list[dict[str, object]] = []
    for stratum in strata(answers, runs):
        rows += _floor_rows(answers, stratum, given)
    return NOISE_FLOOR.conform(pd.DataFrame(rows, columns=NOISE_FLOOR.names)) if rows else NOISE_FLOOR.empty()


def replicate_floors(
    items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None
) -> pd.DataFrame:
    """The transitions between runs that should be the same: other seeds, batch, dtype or calibration.

    Two runs are replicates if they have the same base model, method, sparsity and bits, and, where `runs` has these
    columns, the same prompts and the same variant of the method, whatever its seed. Each is taken as the other's
    baseline, as nothing says which came first. Items are matched for the item transitions, item and seed for the flips
    of single answers.

    Args:
        items: As for `noise_floor`.
        runs: One row per run with columns run, base_model, method, sparsity, bits, and any others of RUNS.
        settings: The level is that of the intervals (jackknife over templates).

    Returns:
        Table REPLICATES, both directions of each pair; empty without replicates.
    """
    given = settings or Settings()
    answers = Answers.of(items)
    check_runs(runs, ("run", "base_model", "method", "sparsity", "bits"))
    rows: list[dict[str, object]] = []
    for pair in replicate_pairs(runs, list(answers.spans)):
        listed = pd.DataFrame({"run": list(answers.spans)})
        listed["baseline"] = listed["run"].map({pair.run: pair.other})
        for stratum in strata(answers, listed):
            shared = len(stratum.pair.item) > 0
            differs = ", ".join([*pair.differs, *([] if shared else [SEEDS])]) or "nothing in the logs"
            named = {"floor": floor_of(pair.differs, seeds=not shared), "differs": differs}
            rows += [_replicate_row(stratum, named, *seen) for seen in _observed(stratum, given)]
    return REPLICATES.conform(pd.DataFrame(rows, columns=REPLICATES.names)) if rows else REPLICATES.empty()


def _replicate_row(
    stratum: Stratum, named: dict[str, str], transition: str, events: float, at_risk: float, found: Result
) -> dict[str, object]:
    keys = {name: value for name, value in stratum.keys.items() if name != "baseline"}
    return {
        **keys,
        "replicate_of": stratum.baseline,
        **named,
        "transition": transition,
        "n_items": len(stratum.item),
        "n_clusters": stratum.n_clusters,
        "n_at_risk": int(at_risk),
        "n_events": int(events),
        **_interval(found, "rate", "conf_low", "conf_high"),
        "status": _status(found),
    }


def _floor_rows(answers: Answers, stratum: Stratum, given: Settings) -> Iterator[dict[str, object]]:
    total = COUNT_NAMES.index("n")
    seeds = bool(answers.drawn(stratum.baseline)[stratum.item].any())
    k = stratum.before[:, total] if seeds else np.full(len(stratum.item), float(given.texts_per_item))
    base, run = (chances(answers, label, stratum.item, k) for label in (stratum.baseline, stratum.run))
    shared = len(stratum.pair.item) > 0
    known = base.known & run.known
    told_apart = answers.items["told_apart"].to_numpy(bool)[stratum.item]
    common = {
        **stratum.keys,
        "sampling": "scored" if not seeds else "common seeds" if shared else "other seeds",
        "texts_per_item": float(k.mean()),
        "n_items": len(stratum.item),
        "n_clusters": stratum.n_clusters,
    }
    read = _read_as_letters(answers, stratum) if seeds and known.any() else "ok"
    itself, other = expected(base, base), expected(base, run)
    drawn_anew = seeds and not shared
    for name, events, at_risk, observed in _observed(stratum, given):
        usable = known & told_apart if name == "response_flip" else known
        excess = change_of_rates(
            itself[name],
            other[name],
            stratum.cluster,
            stratum.n_clusters,
            known=usable,
            level=given.level,
            reach=given.reach,
            unit=float(k.mean()) if "flip" in name else 1.0,
        )
        status = _status(excess) if usable.any() else _SHARED if known.any() else "no probabilities in the logs"
        yield {
            **common,
            "transition": name,
            "n_left_out": int((~usable).sum()),
            "floor_independent": excess.facts["value_baseline"],
            "expected": excess.facts["value"],
            **_interval(excess, "excess", "excess_low", "excess_high"),
            "n_at_risk": int(at_risk),
            "n_events": int(events),
            **_interval(observed, "observed", "observed_low", "observed_high"),
            "floor": None if not at_risk else excess.facts["value_baseline"] if drawn_anew else 0.0,
            "status": status if read == "ok" else read,
        }


def _read_as_letters(answers: Answers, stratum: Stratum) -> str:
    """Whether first tokens stand for answers: as many texts must begin with a letter as are read as one."""
    sides = (("baseline", stratum.baseline, stratum.before), ("run", stratum.run, stratum.after))
    for side, label, counts in sides:
        begun, parsed = read_as_letters(answers, label, stratum.item, counts)
        if abs(begun - parsed) > APART:
            return (
                f"{FIRST_TOKENS}: {begun:.0%} of the {side}'s texts begin with a letter, but "
                f"{parsed:.0%} are read as an answer"
            )
    return "ok"


def _observed(stratum: Stratum, given: Settings) -> Iterator[tuple[str, float, float, Result]]:
    """Transitions of the logs as in table `transitions`: name, events, at risk, and the rate with its interval."""
    units = (stratum.cluster, stratum.n_clusters)
    size = len(stratum.item)
    nets = {"net_bias": net_of_items(stratum.before, stratum.after), "net_flips": _net_flips(stratum)}
    for name, events, at_risk in _counted(stratum):
        texts = at_risk.sum() / size if "flip" in name else 1.0
        found = rate(events, at_risk, *units, level=given.level, reach=given.reach, unit=max(1.0, texts))
        yield name, events.sum(), at_risk.sum(), found
        net = _NET_AFTER.get(name)
        if net is not None:
            cells = by_cluster(np.stack([*nets[net].columns.values()], axis=1), *units)
            texts = nets[net].n.sum() / size
            change = summed(cells, level=given.level, reach=given.reach, unit=max(1.0, texts))
            told = change.at_risk > 0
            status = "ok" if told else NOTHING_AT_RISK
            bounded = Result(method="bounded moves", estimates=(change.rate,) * told, status=status)
            yield net, change.events, change.at_risk, bounded


def _net_flips(stratum: Stratum) -> Net:
    place = np.searchsorted(stratum.item, stratum.pair.item)
    return net_of_answers(replace(stratum.pair, item=place), len(stratum.item))


_NET_AFTER = {"resolved_bias": "net_bias", "flip_from_stereotype": "net_flips"}
"""Each net stands after the two transitions that it is the difference of."""


def _counted(stratum: Stratum) -> Iterator[tuple[str, Floats, Floats]]:
    """Transitions in one direction: name, events and at risk per item."""
    answered = stratum.before[:, _ANSWERED] > 0
    # An item without an answer counts as one of SRS 0.
    old, new = (np.nan_to_num(SRS.value(counts)) for counts in (stratum.before, stratum.after))
    item_level = {
        "new_bias": (old == 0) & (new > 0),
        "resolved_bias": (old > 0) & (new == 0),
        "srs_change": old != new,
    }
    at_risk = {"new_bias": old == 0, "resolved_bias": old > 0, "srs_change": True}
    for name, event in item_level.items():
        risk = answered & at_risk[name]
        yield name, (risk & event).astype(float), risk.astype(float)
    pair, size = stratum.pair, len(stratum.item)
    place = np.searchsorted(stratum.item, pair.item)
    both = pair.both_answered
    was, became = pair.baseline == 0, pair.run == 0
    flips = {
        "flip_to_stereotype": (both & ~was, became),
        "flip_from_stereotype": (both & was, ~became),
        "response_flip": (both, ~pair.same_choice),
    }
    for name, (risk, event) in flips.items():
        flipped, able = (np.bincount(place[which], minlength=size).astype(float) for which in (risk & event, risk))
        yield name, flipped, able


def _interval(result: Result, value: str, low: str, high: str) -> dict[str, object]:
    estimate = result.estimates[0] if result.estimates else None
    return {
        value: getattr(estimate, "estimate", None),
        low: getattr(estimate, "conf_low", None),
        high: getattr(estimate, "conf_high", None),
    }


def _status(result: Result) -> str:
    return NOTHING_AT_RISK if result.status.startswith("undefined at baseline") else result.status


NOISE_FLOOR_TABLE = ReportTable(
    NOISE_FLOOR,
    (ANSWERS, ROLE_RUNS, SETTINGS),
    noise_floor,
    reading=(
        "{observed:%} in the logs beside a floor of {floor:%}; drawn independently {expected:%} beside one of "
        "{floor_independent:%}",
        "drawn independently {expected:%} beside a floor of {floor_independent:%}",
        "{observed:%} in the logs beside a floor of {floor:%}",
        "{observed:%} in the logs",
    ),
)
REPEATED_ITEMS = Step("repeated_items", (LOGS, RUNS_TABLE), replicate_items)
REPLICATES_TABLE = ReportTable(
    REPLICATES,
    (REPEATED_ITEMS, RUNS_TABLE, SETTINGS),
    replicate_floors,
    reading=(
        "{rate:%} of {n_at_risk} at risk make it beside {replicate_of}, which differs in {floor}",
        "no rate beside {replicate_of}, which differs in {floor}",
    ),
)
