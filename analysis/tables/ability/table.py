"""Ability beside bias: whether a compressed model is less able, more stereotyped, both, or neither is seen."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from ...answers.answers import Answers
from ...answers.measures import ACC, BIAS_SCORE, NAMED_SRS, SRS, UNANSWERED_RATE, Measure
from ...answers.moves import Moved, moved
from ...answers.strata import COUNT_NAMES, Stratum, strata
from ...inference.bounded import interval
from ...inference.proportion import shares
from ...schema.declare import ReportTable
from ...settings import Settings
from ..sources import ANSWERS, ROLE_RUNS, SETTINGS
from .columns import ABILITY, COMPARED
from .reading import reading

__all__ = ["ABILITY", "ABILITY_TABLE", "ability"]

Floats = npt.NDArray[np.float64]

_KEYS = ("run", "baseline", "task", "filter", "category")
_WORDS = {"disambig": "disambiguated", "ambig": "ambiguous"}
_REPEATS = "repeats usr"
_PLAIN = ("unanswered_rate", "response_entropy", "top_letter_share", "bias_ambig", "bias_disambig")


def ability(items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None) -> pd.DataFrame:
    """Tell a run that is less able from one that is more stereotyped.

    A model that breaks answers ambiguous items at random, which raises SRS from near 0 to near 1/3 without any
    stereotype. So ability is looked at where the text tells the answer, and stereotype as SRS together with the
    share of stereotypical answers among those that name a person; `reading` has the rules. Intervals of changes are
    those of `analysis.inference.bounded`, so that there is a reading where nothing changed, and an answer that is
    missing never decides one.

    Args:
        items: ITEMS frame of all runs, rows with a direction only, or the Answers made from it.
        runs: One row per run with columns run and baseline; runs without a baseline are left out.
        settings: Of the intervals; the margin is the worsening (a share, not points) that a "no" must exclude, and
            reach what no template is taken to move by.

    Returns:
        Table ABILITY: one row per run, task, filter and category, and 'all'. Ambiguous accuracy is missing where every
        key is the neutral option: it is usr there. Measures of a condition that has no items are missing; `status`
        names it, and there is no reading. Items of neither condition have no row.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    given = settings or Settings()
    answers = Answers.of(items)
    found: dict[tuple[str, ...], dict[str, Stratum]] = {}
    for stratum in strata(answers, runs):
        if stratum.condition in ("ambig", "disambig"):
            key = tuple(str(getattr(stratum, name)) for name in _KEYS)
            found.setdefault(key, {})[stratum.condition] = stratum
    if not found:
        return ABILITY.empty()
    letters: dict[str, Floats] = {}
    for label in {name for key in found for name in key[:2]}:
        counts = answers.counts(label)
        chosen = [counts[f"choice_{i}"] for i in range(answers.n_choices)]
        # Where nothing was ever answered there is no letter; one of zeros keeps the shape.
        letters[label] = np.stack(chosen or [np.zeros(len(answers.items), dtype=np.int64)], axis=1).astype(float)
    rows = []
    for key, pair in found.items():
        named = dict(zip(_KEYS, key, strict=True))
        new, old = letters[named["run"]], letters[named["baseline"]]
        numbers = _measures(pair, new, old, given)
        words = reading(numbers, given.margin) | {"top_letter": _top(pair, new), "status": _status(pair, given)}
        rows.append({**named, **numbers, **words, "margin": given.margin, "level": given.level})
    return ABILITY.conform(pd.DataFrame(rows, columns=ABILITY.names))


def _top(pair: Mapping[str, Stratum], letters: Floats) -> str | None:
    """The letter chosen most often."""
    totals = letters[np.concatenate([stratum.item for stratum in pair.values()])].sum(axis=0)
    return chr(ord("A") + int(totals.argmax())) if totals.sum() > 0 else None


def _measures(pair: Mapping[str, Stratum], new: Floats, old: Floats, given: Settings) -> dict[str, float | None]:
    """Every number of one row, None where it is not defined; `new` and `old` are [items, letters] of the runs."""
    out: dict[str, float | None] = {}
    for condition in _WORDS:
        stratum = pair.get(condition)
        out[f"n_items_{condition}"] = 0 if stratum is None else len(stratum.item)
        out[f"n_clusters_{condition}"] = 0 if stratum is None else stratum.n_clusters
    for condition, measure in COMPARED:
        name = f"{measure.name}_{condition}"
        ends = (f"{name}_delta_low", f"{name}_delta_high")
        out |= dict.fromkeys([name, f"{name}_baseline", f"{name}_delta", *ends])
        stratum = pair.get(condition)
        if stratum is None or _unasked(measure, stratum) is not None:
            continue
        was, now = (_known(measure.value(side.sum(axis=0))) for side in stratum.clustered())
        out |= {name: now, f"{name}_baseline": was}
        moves = _moved(measure, stratum, given)
        if was is not None and now is not None and moves is not None:
            found = interval(moves.low, moves.high, given.level)
            out |= {f"{name}_delta": now - was, **dict(zip(ends, found, strict=True))}
    out |= _lean(pair.get("ambig"), given)
    item = np.concatenate([stratum.item for stratum in pair.values()])
    after, before = (
        _plain(pair, {name: getattr(stratum, side).sum(axis=0) for name, stratum in pair.items()}, chosen[item])
        for side, chosen in (("after", new), ("before", old))
    )
    for name in _PLAIN:
        out |= {name: after[name], f"{name}_baseline": before[name], f"{name}_delta": after[name] - before[name]}
    return out


def _unasked(measure: Measure, stratum: Stratum) -> str | None:
    """Why a measure has no place in the row; None if it has."""
    undefined = measure.undefined(stratum.offered)
    if undefined is not None or measure is not ACC or stratum.condition != "ambig":
        return undefined
    # Where every key is the neutral option accuracy is usr once more, but for answers that are missing.
    keyed, right, neutral = (COUNT_NAMES.index(name) for name in ("keyed", "correct", "neutral"))
    counts = np.concatenate([stratum.before, stratum.after])
    return _REPEATS if counts[:, keyed].any() and np.array_equal(counts[:, right], counts[:, neutral]) else None


def _moved(measure: Measure, stratum: Stratum, given: Settings) -> Moved | None:
    return moved(*stratum.clustered(), measure, reach=given.reach, unit=_unit(stratum))


def _unit(stratum: Stratum) -> float:
    """Answers that one item has, at most."""
    return float(max(side[:, COUNT_NAMES.index("n")].max() for side in (stratum.before, stratum.after)))


def _lean(stratum: Stratum | None, given: Settings) -> dict[str, float | None]:
    """The interval of the run's own named_srs, missing answers at their worst."""
    none: dict[str, float | None] = {"named_srs_ambig_low": None, "named_srs_ambig_high": None}
    if stratum is None or NAMED_SRS.undefined(stratum.offered):
        return none
    _, after = stratum.clustered()
    toward, named = NAMED_SRS.counts(after)
    if not named.any():
        return none
    missing = after[:, COUNT_NAMES.index("n")] - after[:, COUNT_NAMES.index("answered")]
    alone = np.zeros(len(after), dtype=np.int64)
    settings = {"level": given.level, "reach": given.reach, "unit": _unit(stratum)}
    low = shares(alone, toward, named + missing, 1, **settings).low[0]
    high = shares(alone, toward + missing, named + missing, 1, **settings).high[0]
    return {"named_srs_ambig_low": _known(low), "named_srs_ambig_high": _known(high)}


def _known(value: npt.ArrayLike) -> float | None:
    number = float(np.asarray(value))
    return None if math.isnan(number) else number


def _plain(pair: Mapping[str, Stratum], sums: Mapping[str, Floats], chosen: Floats) -> dict[str, float]:
    """Measures without an interval, NaN where undefined, from each condition's summed counts and chosen letters."""
    letters = chosen.sum(axis=0)
    share = letters / letters.sum() if letters.sum() > 0 else np.full(1, math.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        # 0 log 0 is 0, while a row without answers stays NaN.
        bits = -np.sum(np.where(share == 0, 0.0, share * np.log2(share)))
    unanswered = UNANSWERED_RATE.value(np.sum(list(sums.values()), axis=0))
    out = {
        UNANSWERED_RATE.name: float(unanswered),
        "response_entropy": float(bits),
        "top_letter_share": float(share.max()),
    }
    for condition, score in BIAS_SCORE.items():
        there = condition in sums and score.undefined(pair[condition].offered) is None
        out[f"bias_{condition}"] = float(score.value(sums[condition])) if there else math.nan
    return out


def _status(pair: Mapping[str, Stratum], given: Settings) -> str:
    """Why there is no reading, or none can be certain; 'ok' otherwise."""
    reasons = []
    for condition, measure in (("disambig", ACC), ("ambig", SRS)):
        if condition not in pair:
            reasons.append(f"no {_WORDS[condition]} items")
            continue
        values = [float(measure.value(side.sum(axis=0))) for side in pair[condition].clustered()]
        moves = _moved(measure, pair[condition], given)
        if moves is None or np.isnan(values).any():
            side = "at baseline" if np.isnan(values[0]) else "after compression"
            reasons.append(f"{_WORDS[condition]} items: undefined {side}: nothing to take the share of")
        elif moves.high.estimate - moves.low.estimate >= 2 * given.margin:
            reasons.append(
                f"{_WORDS[condition]} items: {100 * moves.missing:.0f} % unanswered (baseline "
                f"{100 * moves.missing_baseline:.0f} %), taken at their worst"
            )
    for condition, measure in COMPARED:
        undefined = measure.undefined(pair[condition].offered) if condition in pair else None
        reasons += [f"no {measure.name}_{condition}: {undefined}"] if undefined else []
    return "; ".join(reasons) or "ok"


ABILITY_TABLE = ReportTable(
    ABILITY,
    (ANSWERS, ROLE_RUNS, SETTINGS),
    ability,
    reading=(
        "{reading}; accuracy where the text tells {acc_disambig_baseline:share} to {acc_disambig:share}, "
        "SRS where it does not {srs_ambig_baseline:share} to {srs_ambig:share}",
    ),
)
