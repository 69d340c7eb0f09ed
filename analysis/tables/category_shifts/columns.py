"""Declaration of the table of categories pooled partly."""

from __future__ import annotations

from ...schema.columns import Table, number
from ...schema.shared import (
    DF,
    KEYS,
    MARGIN,
    MEASURE,
    MISSING,
    MISSING_BASELINE,
    N_CATEGORIES,
    N_CLUSTERS,
    N_ITEMS,
    STATUS,
    STD_ERROR,
)
from ..verdicts.columns import MADE_OF

__all__ = ["ANY", "CATEGORY_SHIFTS"]

ANY = "any"
"""Name in the column category of the row that is about all of them."""

_INTERVAL = "Level 1 - 2 alpha, as for equivalence."

CATEGORY_SHIFTS = Table(
    name="category_shifts",
    doc="How likely it is that a category's change lies beyond the margin, and that any does: categories learn from "
    "each other how much they differ (partial pooling). It can withhold SAME, and makes no CHANGED.",
    columns=(
        *KEYS[:-1],
        KEYS[-1].here(f"'{ANY}': the row that is about all categories at once."),
        MEASURE.here("srs and usr of ambiguous items, acc of disambiguated ones; all three without such a split."),
        MADE_OF.here("So p_beyond is the larger of the chances by both."),
        N_ITEMS,
        N_CLUSTERS,
        MISSING_BASELINE,
        MISSING,
        number("shift", "Measure of the run minus that of the baseline, of this category alone."),
        STD_ERROR.here("Of shift, over templates; 0 where none moved."),
        DF.here("Effective number of templates, (sum n)^2 / sum n^2, minus 1."),
        number(
            "shift_low", "Lower end of the category's own interval, whatever the missing answers would have been."
        ).here(f"{_INTERVAL} It assumes that no template moves further than the setting reach."),
        number("shift_high", "Upper end of that interval."),
        number("pooled", "Posterior mean of the category's true change, drawn towards those of the others.").here(
            f"Of the row {ANY}: that of what they scatter around."
        ),
        number("pooled_low", "Lower end of the posterior interval of the true change.").here(_INTERVAL),
        number("pooled_high", "Upper end of that interval."),
        MARGIN,
        number(
            "p_beyond", "Posterior chance that the true change is larger than the margin, either way; in [0, 1]."
        ).here(f"With missing answers an upper bound. Of the row {ANY}: the chance that some category's is."),
        number("sd_between", "Posterior median of the standard deviation between the categories' true changes."),
        N_CATEGORIES.here("That were pooled."),
        STATUS,
    ),
)
