"""How often a run gets each word, and whether it may: whole primary families, simulated template by template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.answers.answers import COUNT_NAMES
from analysis.answers.measures import ACC, SRS, UNANSWERED_RATE, USR, Measure
from analysis.answers.moves import moved
from analysis.settings import Settings
from analysis.tables.verdicts.columns import ANSWERS_READ, BOTH_READ, EXPECTED_READ
from analysis.tables.verdicts.family import Member, Side
from analysis.tables.verdicts.runs import word_of
from analysis.tables.verdicts.table import tested

__all__ = ["CELLS", "Cell", "Family", "Outcome", "replicate"]

Floats = npt.NDArray[np.float64]
Shift = Callable[[int, np.random.Generator], Floats]
"""Moves of so many templates, as shares of their answers: drawn, with a known mean."""

_TOWARD, _AGAINST, _NEUTRAL, _OFF, _ANSWERED, _N, _KEYED, _CORRECT, _UNPARSED = range(len(COUNT_NAMES))
_NEUTRAL_SHARE = 0.6
"""Share of neutral answers among those that are not toward the stereotype."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One process that answers of a baseline and a run come from."""

    name: str
    templates: int = 25
    items: int | str = 48
    """Items a template: a number, "uneven" (8 to 80), "heavy" (Pareto of 1.2) or "dominant" (one as large as all)."""
    shift: Shift | str = "none"
    """Of the bias of each template: a name of SHIFTS."""
    mean: float = 0.0
    """True change of SRS, in the population."""
    churn: float = 0.05
    """Share of answers that change without direction."""
    stereotyped: tuple[float, float] = (0.25, 0.5)
    """SRS of a template at baseline, uniform."""
    missing: float = 0.0
    """Share of the run's answers that name no option."""
    cautious: float = 0.0
    """Share of templates in which nobody is ever named."""
    scale: float | None = None
    """Where it is given, answers come of option probabilities, whose logits the run multiplies by this."""
    noise: float = 0.0
    """Standard deviation of what is added to the run's logits."""
    sampled: bool = False
    """Whether five texts are drawn of the probabilities; otherwise the most probable option is the answer."""
    allowed: bool = True
    """Whether the process keeps the assumption that no template moves by more than the reach."""

    @property
    def null(self) -> bool:
        """Whether there is no net change."""
        return self.mean == 0


@dataclass(frozen=True, kw_only=True)
class Family:
    """Counts per template of both runs, ambiguous and disambiguated, as given and as expected."""

    ambig: tuple[Floats, Floats]
    disambig: tuple[Floats, Floats]
    expected: tuple[Floats, Floats] | None = None
    sampled: bool = False
    truth: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one replication."""

    verdict: str
    covered: float
    """1 if the interval beside the verdict holds the true change of SRS, 0 if not."""
    changed: float
    """1 if the row of SRS is called changed."""
    detectable: float
    """What the row of SRS says it could see; NaN where it could see nothing."""


def replicate(cell: Cell, rng: np.random.Generator, settings: Settings | None = None) -> Outcome:
    """Draw answers, and give the run its word."""
    given = settings or Settings()
    family = _of_chances(cell, rng) if cell.scale is not None else _of_moves(cell, rng)
    rows = pd.DataFrame(tested(_members(family, given), given))
    verdict, _ = word_of(rows, given, [])
    srs = rows[rows["measure"] == SRS.name].iloc[0]
    inside = srs["conf_low"] - 1e-9 <= cell.mean <= srs["conf_high"] + 1e-9
    seen = srs["smallest_detectable"]
    return Outcome(
        verdict=verdict,
        covered=float(inside),
        changed=float(srs["verdict"] == "changed"),
        detectable=float("nan") if pd.isna(seen) else float(seen),
    )


def _members(family: Family, settings: Settings) -> list[Member]:
    out = []
    asked: tuple[tuple[Measure, str, tuple[Floats, Floats]], ...] = (
        (SRS, "ambig", family.ambig),
        (USR, "ambig", family.ambig),
        (ACC, "disambig", family.disambig),
        (UNANSWERED_RATE, "all", family.ambig),
    )
    for measure, condition, counts in asked:
        given = _side(counts, measure, settings)
        expected = None
        if family.expected is not None and condition == "ambig":
            expected = _side(family.expected, measure, settings)
        binding = expected is not None and not family.sampled
        out.append(
            Member(
                keys={"run": "run", "baseline": "baseline", "task": "t", "filter": "none", "condition": condition},
                measure=measure.name,
                n_items=int(counts[0][:, _N].sum()),
                reading=ANSWERS_READ if expected is None else BOTH_READ if binding else EXPECTED_READ,
                first=given if expected is None or binding else expected,
                second=expected if expected is None or binding else given,
                binding=binding,
            )
        )
    return out


def _side(counts: tuple[Floats, Floats], measure: Measure, settings: Settings) -> Side:
    found = moved(*counts, measure, reach=settings.reach)
    assert found is not None
    values = [float(measure.value(side.sum(axis=0))) for side in counts]
    return Side(value_baseline=values[0], value=values[1], moved=found)


def sizes(cell: Cell, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Items of each template."""
    count = cell.templates
    if isinstance(cell.items, int):
        return np.full(count, cell.items)
    if cell.items == "heavy":
        return np.asarray(np.minimum(np.ceil(8 * (1 + rng.pareto(1.2, count))), 2000), dtype=np.int64)
    drawn = rng.integers(8, 81, size=count)
    if cell.items == "dominant":
        drawn[0] = drawn[1:].sum()
    return np.asarray(drawn, dtype=np.int64)


def _normal(spread: float) -> Shift:
    return lambda count, rng: np.clip(rng.normal(0, spread, count), -0.24, 0.24)


def _few(share: float, far: float) -> Shift:
    """A share of the templates moves far, and the rest back a little, so that the mean is 0."""
    return lambda count, rng: np.where(rng.random(count) < share, far, 0.0) - share * far


def _skewed(count: int, rng: np.random.Generator) -> Floats:
    """Exponential, cut at the reach and centred."""
    cut, scale = 0.3, 0.08
    mean = scale - cut / np.expm1(cut / scale)
    drawn = -scale * np.log(1 - rng.random(count) * -np.expm1(-cut / scale))
    return np.asarray(drawn - mean)


SHIFTS: dict[str, Shift] = {
    "none": lambda count, _: np.zeros(count),
    "templates move a little": _normal(0.05),
    "templates move": _normal(0.1),
    "skewed": _skewed,
    "a fifth of the templates, 20 points": _few(0.2, 0.2),
    "a tenth of the templates, 50 points": _few(0.1, 0.5),
}


def _of_moves(cell: Cell, rng: np.random.Generator) -> Family:
    """Answers of both runs: each template gains and loses in the shares that its move says, beside churn.

    With p the template's SRS and d its move, an answer not toward the stereotype turns to it with chance
    (max(d, 0) + churn / 2) / (1 - p), one toward it away with (max(-d, 0) + churn / 2) / p: its expected change is d.
    """
    n = sizes(cell, rng)
    shift = cell.shift if callable(cell.shift) else SHIFTS[cell.shift]
    silent = rng.random(cell.templates) < cell.cautious
    sides = []
    for bias, mean in ((True, cell.mean), (False, 0.0)):
        move = shift(cell.templates, rng) + mean
        rate: Floats = np.asarray(rng.uniform(*cell.stereotyped, cell.templates))
        churn: Floats = np.full(cell.templates, cell.churn)
        if bias and cell.cautious:
            move, churn = np.where(silent, 0.0, move / (1 - cell.cautious)), np.where(silent, 0.0, churn)
            rate = np.where(silent, 0.0, rate)
        sides.append(_turned(n, rate, move, churn, rng))
    ambig, disambig = sides
    missing = rng.binomial(ambig[1].astype(np.int64)[:, [_TOWARD, _AGAINST, _NEUTRAL]], cell.missing)
    after = ambig[1].copy()
    after[:, [_TOWARD, _AGAINST, _NEUTRAL]] -= missing
    after[:, _ANSWERED] -= missing.sum(axis=1)
    after[:, _CORRECT] = after[:, _NEUTRAL]
    return Family(ambig=(ambig[0], after), disambig=disambig)


def _turned(
    n: npt.NDArray[np.int64], rate: Floats, move: Floats, churn: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Counts before and after. Right answers are those toward the stereotype: what moves is the same."""
    old = rng.binomial(n, rate)
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.clip((np.maximum(move, 0) + churn / 2) / (1 - rate), 0, 1)
        loss = np.where(rate > 0, np.clip((np.maximum(-move, 0) + churn / 2) / rate, 0, 1), 0.0)
    neutral = rng.binomial(n - old, _NEUTRAL_SHARE)
    gained_neutral, gained_against = rng.binomial(neutral, gain), rng.binomial(n - old - neutral, gain)
    lost = rng.binomial(old, loss)
    to_neutral = rng.binomial(lost, _NEUTRAL_SHARE)
    before = _counts(old, n - old - neutral, neutral)
    after = _counts(
        old - lost + gained_neutral + gained_against,
        n - old - neutral - gained_against + lost - to_neutral,
        neutral - gained_neutral + to_neutral,
    )
    return before, after


def _counts(toward: npt.ArrayLike, against: npt.ArrayLike, neutral: npt.ArrayLike) -> Floats:
    """[templates, COUNT_NAMES]; what is toward the stereotype is right."""
    roles = [np.asarray(axis, dtype=np.float64) for axis in (toward, against, neutral)]
    none, n = np.zeros(len(roles[0])), np.sum(roles, axis=0)
    return np.stack([*roles, none, n, n, n, roles[0], none], axis=1)


def _of_chances(cell: Cell, rng: np.random.Generator) -> Family:
    """Answers that come of option probabilities. All options are alike, so no net change comes of softer ones."""
    assert cell.scale is not None
    n = sizes(cell, rng)
    sides = []
    for _ in range(2):
        cluster = np.repeat(np.arange(cell.templates), n)
        logits = rng.normal(0, 1.5, (len(cluster), 3)) + rng.normal(0, 1, (cell.templates, 3))[cluster]
        other = cell.scale * logits + rng.normal(0, cell.noise, logits.shape)
        made = []
        for values in (logits, other):
            chances = np.exp(values - values.max(axis=1, keepdims=True))
            chances /= chances.sum(axis=1, keepdims=True)
            expected = np.stack([np.bincount(cluster, chances[:, i], cell.templates) for i in range(3)])
            given = chances == chances.max(axis=1, keepdims=True)
            if cell.sampled:
                given = rng.multinomial(5, chances) / 5
            counted = np.stack([np.bincount(cluster, given[:, i], cell.templates) for i in range(3)])
            made.append((_counts(*expected), _counts(*counted)))
        sides.append(made)
    (old, new), (old_told, new_told) = sides
    return Family(
        ambig=(old[1], new[1]),
        disambig=(old_told[1], new_told[1]),
        expected=(old[0], new[0]),
        sampled=cell.sampled,
    )


def _cells() -> list[Cell]:
    """The study: what must not be called changed, and what must not be called the same."""
    margin = Settings().margin
    quiet: dict[str, Any] = {"shift": "templates move a little"}
    nulls = [
        Cell(name="same weights, another dtype; scored", scale=1.0, noise=0.02),
        Cell(name="same weights, another dtype; five texts", scale=1.0, noise=0.02, sampled=True),
        Cell(name="softened probabilities (logits x 0.6); scored", scale=0.6),
        Cell(name="softened probabilities (logits x 0.6); five texts", scale=0.6, sampled=True),
        Cell(name="exchangeable churn of 5 %"),
        Cell(name="exchangeable churn of 30 %", churn=0.3),
        Cell(name="templates move", shift="templates move"),
        Cell(name="skewed moves", shift="skewed"),
        Cell(name="moves in a fifth of the templates", shift="a fifth of the templates, 20 points"),
        Cell(name="near-deterministic", churn=0.002),
        Cell(name="cautious model: 15 % of templates name anyone", cautious=0.85),
        Cell(name="uneven templates", items="uneven", **quiet),
        Cell(name="heavy-tailed templates", items="heavy", **quiet),
        Cell(name="one dominant template", items="dominant", **quiet),
        *(Cell(name=f"{count} templates", templates=count, **quiet) for count in (5, 8, 12, 60)),
        Cell(name="10 % of the run's answers missing", missing=0.1),
        Cell(
            name="10 % of the templates move by 50 points (farther than assumed)",
            shift="a tenth of the templates, 50 points",
            allowed=False,
        ),
    ]
    shifted = [
        Cell(name="all templates by the margin", mean=margin),
        Cell(name="templates move, by the margin on average", shift="templates move a little", mean=margin),
        Cell(name="skewed moves", shift="skewed", mean=margin),
        Cell(name="a fifth of the templates by 25 points", shift="a fifth of the templates, 20 points", mean=margin),
        Cell(name="uneven templates", items="uneven", mean=margin, **quiet),
        Cell(name="heavy-tailed templates", items="heavy", mean=margin, **quiet),
        Cell(name="one dominant template", items="dominant", mean=margin, **quiet),
        *(Cell(name=f"{count} templates", templates=count, mean=margin, **quiet) for count in (5, 8, 12, 60)),
        Cell(name="cautious model: a quarter of the templates name anyone", cautious=0.75, mean=margin),
        Cell(name="3 % of the run's answers missing", missing=0.03, mean=margin),
        Cell(
            name="10 % of the templates by 50 points (farther than assumed)",
            shift="a tenth of the templates, 50 points",
            mean=margin,
            allowed=False,
        ),
    ]
    far = [
        Cell(name=f"{points} points, {count} templates", templates=count, mean=points / 100, **quiet)
        for points in (7, 10, 20)
        for count in (12, 25, 60)
    ]
    return [*nulls, *shifted, *far]


CELLS = _cells()
