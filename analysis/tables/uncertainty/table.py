"""Do the answers flip that the baseline was unsure of?

The benchmark's normalised entropy is that of the options' probabilities as they are scored; for the text protocol those
are length-normalised scores and not probabilities, so bins are comparable within a task and not across tasks. And the
link is partly mechanical: a small margin needs a small push. Margin, ranks (AUROC) and calibrated chances are
therefore given beside the fixed bins: of the baseline's answer not being the keyed one, which means the same on every
task, and of a flip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.answers import AXES, Answers
from ...answers.strata import ALL_NAMED, COUNT_NAMES, Stratum, by_cluster, strata
from ...inference.auroc import auroc
from ...inference.calibration import FOLDS, cross_fitted
from ...inference.clusters import effective_clusters, jackknife
from ...inference.result import Estimate, Result
from ...schema.declare import ReportTable, Step
from ...settings import Settings
from ..sources import ANSWERS, ROLE_RUNS, SETTINGS
from .columns import RISK_CURVE, UNCERTAINTY_BINS, UNCERTAINTY_SCORES

__all__ = [
    "RISK_CURVE",
    "RISK_CURVE_TABLE",
    "UNCERTAINTY_BINS",
    "UNCERTAINTY_BINS_TABLE",
    "UNCERTAINTY_SCORES",
    "UNCERTAINTY_SCORES_TABLE",
    "uncertainty_tables",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_NAMED = (AXES.index("toward"), AXES.index("against"))
_BINS = ("low", "medium", "high")
_COVERAGES = tuple(step / 10 for step in range(1, 11))
SCORE_NAMES = (
    "auroc_margin",
    "auroc_entropy",
    "auroc_calibrated",
    "ratio_entropy_thirds",
    "ratio_margin_quantiles",
    "ratio_calibrated_thirds",
    "aurc_margin",
    "brier_skill",
)
"""Scores of UNCERTAINTY_SCORES, in the order of their rows."""
_UNCALIBRATED = Result(
    method="isotonic calibration, fitted on other templates", status=f"fewer than {FOLDS} templates, or no key"
)


@dataclass(frozen=True)
class _Flips:
    """The items of a stratum with a probability and a pair of answers."""

    stratum: Stratum
    flip: str
    cluster: Ints
    """[items] 0 to n_clusters - 1."""
    entropy: Floats
    """[items] normalised entropy at baseline, in [0, 1]."""
    doubt: Floats
    """[items] 1 - margin at baseline, in [0, 1]."""
    n: Floats
    """[items] pairs."""
    flips: Floats
    """[items] flips among them."""
    nothing: str | None
    """Why there is no such flip to count; then there are no items."""
    error: Floats
    """[items] calibrated chance that the baseline's answer is not the keyed one; NaN without keys or templates."""

    @property
    def n_clusters(self) -> int:
        return int(self.cluster.max(initial=-1)) + 1

    @property
    def keys(self) -> dict[str, object]:
        return {**self.stratum.keys, "flip": self.flip}

    def sums(self, *columns: Floats) -> Floats:
        return by_cluster(np.stack(columns, axis=1), self.cluster, self.n_clusters)


def uncertainty_tables(
    items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None
) -> dict[str, pd.DataFrame]:
    """Flips by the baseline's uncertainty.

    Args:
        items: ITEMS frame of all runs, rows with a direction only, or the Answers made from it. Answers with the
            baseline's entropy and margin count.
        runs: One row per run with columns run and baseline.
        settings: The level is that of the intervals, which take templates as the unit of independence.

    Returns:
        Tables uncertainty_bins, uncertainty_scores and risk_curve by name.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    level = (settings or Settings()).level
    answers = Answers.of(items)
    rows: dict[str, list[dict[str, object]]] = {"bins": [], "scores": [], "curve": []}
    for flips in _flips(answers, runs):
        rows["bins"] += list(_bin_rows(flips, level))
        rows["scores"] += list(_score_rows(flips, level))
        rows["curve"] += list(_curve_rows(flips))
    tables = zip((UNCERTAINTY_BINS, UNCERTAINTY_SCORES, RISK_CURVE), rows.values(), strict=True)
    return {
        table.name: table.conform(pd.DataFrame(found, columns=table.names)) if found else table.empty()
        for table, found in tables
    }


def _flips(answers: Answers, runs: pd.DataFrame) -> Iterator[_Flips]:
    for stratum in strata(answers, runs):
        pair = stratum.pair
        answered = pair.both_answered
        place = np.searchsorted(stratum.item, pair.item[answered])
        size = len(stratum.item)
        scores = answers.scores[stratum.baseline].iloc[stratum.item]
        n = np.bincount(place, minlength=size).astype(float)
        named = np.isin(pair.baseline[answered], _NAMED) != np.isin(pair.run[answered], _NAMED)
        changed = {"response": ~pair.same_choice[answered], "bias": named}
        options = answers.items["n_options"].to_numpy(float)[stratum.item]
        entropy = scores["entropy"].to_numpy() / np.log2(np.where(options > 1, options, np.nan))
        known = (n > 0) & ~np.isnan(entropy) & ~np.isnan(scores["margin"].to_numpy())
        for name, which in changed.items():
            nothing = ALL_NAMED if name == "bias" and stratum.all_named else None
            kept = known & (nothing is None)
            cluster = np.unique(stratum.cluster[kept], return_inverse=True)[1].astype(np.int64)
            doubt = 1 - scores["margin"].to_numpy()[kept]
            yield _Flips(
                stratum=stratum,
                flip=name,
                cluster=cluster,
                entropy=np.clip(entropy[kept], 0, 1),
                doubt=doubt,
                nothing=nothing,
                error=_error(stratum.before[kept], doubt, cluster),
                n=n[kept],
                flips=np.bincount(place, weights=which, minlength=size)[kept],
            )


def _error(counts: Floats, doubt: Floats, cluster: Ints) -> Floats:
    """Calibrated chance of an answer that is not the keyed one, given doubt."""
    keyed, correct = (counts[:, COUNT_NAMES.index(name)] for name in ("keyed", "correct"))
    if int(cluster.max(initial=-1)) + 1 < FOLDS:
        return np.full(len(doubt), np.nan)
    return cross_fitted(doubt, keyed - correct, keyed, cluster)[0]


def _binned(flips: _Flips) -> dict[str, tuple[Floats, Ints]]:
    """Value and bin of each item, by kind of bins."""
    thirds = np.digitize(flips.entropy, [1 / 3, 2 / 3], right=True)
    out = {"entropy_thirds": (flips.entropy, thirds)}
    for name, values in (("entropy_quantiles", flips.entropy), ("margin_quantiles", flips.doubt)):
        edges = np.quantile(values, [1 / 3, 2 / 3]) if len(values) else np.zeros(2)
        out[name] = (values, np.digitize(values, edges, right=True))
    # Without a chance an item is in no bin.
    calibrated = np.where(np.isnan(flips.error), len(_BINS), np.digitize(flips.error, [1 / 3, 2 / 3], right=True))
    out["calibrated_thirds"] = (flips.error, calibrated)
    return {name: (values, bins.astype(np.int64)) for name, (values, bins) in out.items()}


def _bin_rows(flips: _Flips, level: float) -> Iterator[dict[str, object]]:
    for kind, (values, bins) in _binned(flips).items():
        for number, name in enumerate(_BINS):
            inside = bins == number
            row: dict[str, object] = {**flips.keys, "bins": kind, "bin": name, "n_items": int(inside.sum())}
            row |= {"n": int(flips.n[inside].sum()), "n_flips": int(flips.flips[inside].sum())}
            if not inside.any():
                untold = kind == "calibrated_thirds" and len(bins) and (bins == len(_BINS)).all()
                reason = flips.nothing or (_UNCALIBRATED.status if untold else "no item in this bin")
                yield {**row, "status": reason}
                continue
            sums = flips.sums(flips.flips * inside, flips.n * inside)
            found = jackknife(sums[sums[:, 1] > 0], level=level)
            yield {
                **row,
                "lower": values[inside].min(),
                "upper": values[inside].max(),
                **_fields(found, "rate"),
                "status": found.status,
            }


def _score_rows(flips: _Flips, level: float) -> Iterator[dict[str, object]]:
    common = {**flips.keys, "n_items": len(flips.n), "n_clusters": flips.n_clusters}
    common |= {"n": int(flips.n.sum()), "n_flips": int(flips.flips.sum())}
    if not len(flips.n):
        reason = flips.nothing or "no item with probabilities and a pair"
        yield from ({**common, "score": name, "status": reason} for name in SCORE_NAMES)
        return
    bins = _binned(flips)
    calibrated = not np.isnan(flips.error).any()
    found = (
        auroc(flips.doubt, flips.n, flips.flips, flips.cluster, level=level),
        auroc(flips.entropy, flips.n, flips.flips, flips.cluster, level=level),
        auroc(flips.error, flips.n, flips.flips, flips.cluster, level=level) if calibrated else _UNCALIBRATED,
        _ratio(flips, bins["entropy_thirds"][1], level),
        _ratio(flips, bins["margin_quantiles"][1], level),
        _ratio(flips, bins["calibrated_thirds"][1], level) if calibrated else _UNCALIBRATED,
        _area(flips),
        _skill(flips),
    )
    for name, result in zip(SCORE_NAMES, found, strict=True):
        yield {**common, "score": name, **_fields(result, "value"), "status": result.status}


def _ratio(flips: _Flips, bins: Ints, level: float) -> Result:
    """Flip rate of the high bin over that of the low one; the interval on the log scale."""
    low, high = bins == 0, bins == 2
    sums = flips.sums(flips.flips * low, flips.n * low, flips.flips * high, flips.n * high)

    def log_ratio(totals: Floats) -> Floats:
        below, above = totals[..., 0] * totals[..., 3], totals[..., 2] * totals[..., 1]
        usable = (below > 0) & (above > 0)
        out: Floats = np.log(np.where(usable, above, np.nan) / np.where(usable, below, np.nan))
        return out

    # As well known as the bin that fewer templates tell of.
    size = min((sums[:, 1], sums[:, 3]), key=effective_clusters)
    found = jackknife(sums, log_ratio, size=size, level=level, term="ratio")
    if not found.estimates:
        return Result(method="ratio of flip rates", status="no flip, or no item, in the low or the high bin")
    (log,) = found.estimates
    ends = [None if value is None else float(np.exp(value)) for value in (log.estimate, log.conf_low, log.conf_high)]
    estimate = Estimate(term="ratio", estimate=ends[0], conf_low=ends[1], conf_high=ends[2])
    return Result(method="ratio of flip rates", estimates=(estimate,), status=found.status)


def _area(flips: _Flips) -> Result:
    """Mean over items of the flip rate among all items at least as certain."""
    order = np.argsort(flips.doubt, kind="stable")
    risk = np.cumsum(flips.flips[order]) / np.cumsum(flips.n[order])
    estimate = Estimate(term="aurc", estimate=float(risk.mean()))
    return Result(method="area under the risk curve", estimates=(estimate,), n=int(flips.n.sum()))


def _skill(flips: _Flips) -> Result:
    """Brier skill of the chance of a flip, an isotonic function of doubt fitted on other templates."""
    method = "isotonic calibration, fitted on other templates"
    if flips.n_clusters < FOLDS:
        return Result(method=method, status=f"fewer than {FOLDS} templates to calibrate on")
    ours, plain = cross_fitted(flips.doubt, flips.flips, flips.n, flips.cluster)
    # Of single answers: those of an item that flip are at 1, the others at 0.
    score, reference = (
        float((flips.flips * (1 - p) ** 2 + (flips.n - flips.flips) * p**2).sum()) for p in (ours, plain)
    )
    if not reference:
        return Result(method=method, status="no answer flipped")
    return Result(method=method, estimates=(Estimate(term="brier_skill", estimate=1 - score / reference),))


def _curve_rows(flips: _Flips) -> Iterator[dict[str, object]]:
    order = np.argsort(flips.doubt, kind="stable")
    for coverage in _COVERAGES if len(order) else ():
        kept = order[: max(1, round(coverage * len(order)))]
        n, count = flips.n[kept].sum(), flips.flips[kept].sum()
        margin = 1 - flips.doubt[kept].max()
        yield {
            **flips.keys,
            "coverage": coverage,
            "least_margin": margin,
            "n": int(n),
            "n_flips": int(count),
            "rate": count / n,
        }


def _fields(result: Result, value: str) -> dict[str, object]:
    estimate = result.estimates[0] if result.estimates else None
    names = {value: "estimate", "conf_low": "conf_low", "conf_high": "conf_high"}
    return {column: getattr(estimate, name, None) for column, name in names.items()}


UNCERTAINTY = Step("uncertainty", (ANSWERS, ROLE_RUNS, SETTINGS), uncertainty_tables)
UNCERTAINTY_BINS_TABLE = ReportTable(
    UNCERTAINTY_BINS,
    (UNCERTAINTY,),
    itemgetter("uncertainty_bins"),
    reading=("{rate:%} of {n} answers flipped where the baseline's uncertainty was {bin}",),
)
UNCERTAINTY_SCORES_TABLE = ReportTable(
    UNCERTAINTY_SCORES,
    (UNCERTAINTY,),
    itemgetter("uncertainty_scores"),
    reading=(
        "{value:g} ({conf_low:g} to {conf_high:g}), {n_flips} of {n} answers flipped",
        "{value:g}, {n_flips} of {n} answers flipped",
    ),
)
RISK_CURVE_TABLE = ReportTable(
    RISK_CURVE,
    (UNCERTAINTY,),
    itemgetter("risk_curve"),
    reading=(
        "{rate:%} of answers flipped among the {coverage:%} of items that the baseline was surest of",
        "no answer among the {coverage:%} of items that the baseline was surest of",
    ),
)
