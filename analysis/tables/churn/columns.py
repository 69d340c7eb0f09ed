"""Declarations of the tables of flips taken apart."""

from __future__ import annotations

from ...schema.columns import Table, count, number, text
from ...schema.shared import KEYS

__all__ = ["CHURN", "MASKED_FLIPS"]

_STATUS = text("status", "'ok', or why the row holds no or only part of a result.")
_OUTCOME = text(
    "outcome",
    "What counts as biased (B; the rest is U): stereotype (an answer toward it), or named (toward or against it).",
)

CHURN = Table(
    name="churn",
    doc="Flips of paired answers between biased (B) and not (U), as churn plus net shift.",
    columns=(
        *KEYS,
        _OUTCOME,
        count("n_items", "Items with at least one pair."),
        count("n_clusters", "Templates that they form: the unit of independence of the intervals."),
        count("n", "Pairs: answers of one item and seed that name an option in both runs."),
        count("n_to_biased", "Pairs U, then B."),
        count("n_from_biased", "Pairs B, then U."),
        number("flip_rate", "(n_to_biased + n_from_biased) / n; in [0, 1]."),
        number("flip_rate_low", "Lower end of its interval: jackknife over templates."),
        number("flip_rate_high", "Upper end."),
        number("net_shift", "(n_to_biased - n_from_biased) / n; in [-1, 1]."),
        number("net_shift_low", "Lower end of its interval."),
        number("net_shift_high", "Upper end."),
        number("churn", "flip_rate - |net_shift|: flips that even out."),
        number("to_rate", "P(B after | U at baseline)."),
        number("to_rate_low", "Lower end of its interval."),
        number("to_rate_high", "Upper end."),
        number("from_rate", "P(U after | B at baseline)."),
        number("from_rate_low", "Lower end of its interval."),
        number("from_rate_high", "Upper end."),
        number(
            "flip_rate_floor",
            "Expected flip rate of the baseline against an independent repetition of itself, from the exact "
            "probabilities as in noise_floor; all of it is churn. Missing without probabilities. With common seeds, or "
            "where answers are scored, a repetition shows no flip.",
        ),
        number("to_rate_floor", "to_rate of that repetition."),
        number("from_rate_floor", "from_rate of that repetition."),
        number("flip_rate_expected", "Expected flip rate if baseline and run were drawn independently."),
        number("flip_rate_excess", "flip_rate_expected minus flip_rate_floor."),
        number("flip_rate_excess_low", "Lower end of its interval: jackknife over templates."),
        number("flip_rate_excess_high", "Upper end."),
        number("p_equivalence", "p-value of two one-sided t-tests that net_shift lies within the margin."),
        number("margin", "The margin."),
        number(
            "p_published",
            "p-value of the benchmark's own test, which exchanges runs and resamples items; missing below 10 items, "
            "which it skips.",
        ),
        _STATUS,
    ),
)

MASKED_FLIPS = Table(
    name="masked_flips",
    doc="Flips in those categories whose average did not move: by a claim of equivalence, and as published by a "
    "difference that is not significant.",
    columns=(
        *(column for column in KEYS if column.name != "category"),
        _OUTCOME,
        text(
            "rule",
            "equivalent (two one-sided tests at 0.05 within the margin), or not_significant: as published, a test that "
            "exchanges runs and resamples items, Benjamini-Hochberg at 0.05 over all cells of one outcome, where "
            "absence of proof counts as proof.",
        ),
        count("n_categories", "Categories of the run."),
        count("n_unmoved", "Those whose average did not move by the rule."),
        count("n", "Pairs in them."),
        count("n_flips", "Flips in them."),
        number("masked_rate", "n_flips / n; missing without such a category."),
        number("flip_rate", "Flips of all categories, per pair."),
        _STATUS,
    ),
)
