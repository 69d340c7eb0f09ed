"""One measure of one run and category against the baseline: the numbers of a row of paired_changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...answers.measures import Measure, cohens_h, measures_of
from ...answers.moves import Moved, moved
from ...answers.strata import COUNT_NAMES, Stratum
from ...inference.bounded import fewest, interval, no_change, smallest_seen, within
from ...inference.clusters import NO_CHANGE, jackknife_change, sign_flips
from ...settings import Settings

__all__ = ["Cell", "Row", "detectable"]

Floats = npt.NDArray[np.float64]
Row = dict[str, object]
_N = COUNT_NAMES.index("n")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run and category: all that its measures are made from."""

    keys: Row
    """Columns that name it, and its counts."""
    before: Floats
    """[clusters, COUNT_NAMES] of the baseline."""
    after: Floats
    """Of the run."""
    unit: float
    """Answers that one item has, at most."""
    measures: dict[str, Measure]
    undefined: dict[str, str | None]
    """Why a measure is not asked."""

    @classmethod
    def of(cls, stratum: Stratum) -> Cell:
        """From what a run and its baseline answered."""
        before, after = stratum.clustered()
        measures = measures_of(stratum.condition)
        keys = {
            **stratum.keys,
            "n_items": len(stratum.item),
            "n_clusters": stratum.n_clusters,
            "n_baseline": int(before[:, _N].sum()),
            "n": int(after[:, _N].sum()),
        }
        return cls(
            keys=keys,
            before=before,
            after=after,
            unit=float(max(stratum.before[:, _N].max(), stratum.after[:, _N].max())),
            measures=measures,
            undefined={name: measure.undefined(stratum.offered) for name, measure in measures.items()},
        )

    def rows(self, settings: Settings, *, exchanges: int) -> list[tuple[Row, Moved | None]]:
        """A row for each measure, and how far it moved.

        Args:
            settings: Level, margin, reach and seed.
            exchanges: How many random ones the exchange test draws.
        """
        asked = {name: measure for name, measure in self.measures.items() if self.undefined[name] is None}
        values = {name: measure.value for name, measure in asked.items()}
        flips = sign_flips(self.before, self.after, values, exchanges=exchanges, seed=settings.seed)
        shared = {"margin": settings.margin, "reach": settings.reach}
        out: list[tuple[Row, Moved | None]] = []
        for name, measure in self.measures.items():
            row: Row = {**self.keys, **shared, "measure": name, "status": self.undefined[name]}
            if name not in asked:
                out.append((row, None))
                continue
            found, how = self._change(measure, settings)
            tested = flips[name].estimates
            row |= found | _angle(self.before, self.after, measure, settings.level)
            out.append((row | {"p_exchange": tested[0].p_value if tested else None}, how))
        return out

    def _change(self, measure: Measure, settings: Settings) -> tuple[Row, Moved | None]:
        size = measure.size(self.before, self.after)
        found = jackknife_change(self.before, self.after, measure.value, size=size, level=settings.level)
        row: Row = {**found.facts, "status": found.status}
        how = moved(self.before, self.after, measure, reach=settings.reach, unit=self.unit)
        if how is None or found.facts["value_baseline"] is None or found.facts["value"] is None:
            return row, None
        change = found["difference"]
        ends = (change.conf_low, change.conf_high)
        if change.conf_low is None:
            ends = interval(how.low, how.high, settings.level)
        low, high = interval(how.low, how.high, 1 - 2 * settings.alpha)
        row |= {
            "difference": change.estimate,
            "std_error": change.std_error,
            "df": change.df,
            "conf_low": _inside(ends[0], measure.span),
            "conf_high": _inside(ends[1], measure.span),
            "missing_baseline": how.missing_baseline,
            "missing": how.missing,
            "equivalence_low": low,
            "equivalence_high": high,
            "p_value": no_change(how.low, how.high),
            "p_equivalence": within(how.low, how.high, settings.margin),
            "status": _status(found.status, how, settings),
        }
        return row, how


def detectable(moves: Moved, alpha: float) -> float | None:
    """Smallest true change that the row tells from none at `alpha`, whatever was missing; None beyond the range.

    Missing answers hide as much as they could have made up.
    """
    width = moves.high.estimate - moves.low.estimate
    sides = (moves.low,) if width == 0 else (moves.low, moves.high)
    found = width + max(smallest_seen(side, alpha) for side in sides)
    return found if found <= moves.high.span else None


def _inside(end: float | None, span: float) -> float | None:
    """An end of an interval, inside the range of a change."""
    return None if end is None else float(np.clip(end, -span, span))


def _angle(before: Floats, after: Floats, measure: Measure, level: float) -> Row:
    """Cohen's h of a share; empty for a bias score."""
    if measure.signed:
        return {}
    angle = jackknife_change(before, after, cohens_h(measure), size=measure.size(before, after), level=level)
    if not angle.estimates:
        return {}
    found = angle["difference"]
    ends = (_inside(end, np.pi) for end in (found.conf_low, found.conf_high))
    return dict(zip(("cohens_h", "cohens_h_low", "cohens_h_high"), (found.estimate, *ends), strict=True))


def _status(error: str, moves: Moved, settings: Settings) -> str:
    """'ok', or what is missing or assumed.

    Args:
        error: Status of the jackknife; that no template changed leaves nothing out.
        moves: Of the measure.
        settings: The margin, level and reach.
    """
    notes = [] if error in ("ok", NO_CHANGE) else [error]
    width = moves.high.estimate - moves.low.estimate
    if width >= 2 * settings.margin:
        told = f"{100 * moves.missing:.0f} % unanswered (baseline {100 * moves.missing_baseline:.0f} %)"
        notes.append(f"{told}: that alone leaves open {100 * width:.0f} points, more than the margin allows")
    high = moves.high
    reach = high.allowed * high.span
    # So many unchanged templates show equivalence: with fewer no data can.
    least = fewest(settings.margin, reach, settings.alpha)
    if high.effective < least - 1 + 1e-9:
        notes.append(
            f"{len(high.n)} templates weigh like {high.effective:.1f}: fewer than the {least} that can be "
            f"equivalent; that none moves by more than {100 * reach:.0f} points is assumed"
        )
    return "; ".join(notes) or "ok"
