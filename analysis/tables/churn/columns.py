"""Declarations of the tables of flips taken apart."""

from __future__ import annotations

from ...schema.columns import Table, count, ends, number, text
from ...schema.shared import (
    FLIP_RATE,
    KEYS,
    MARGIN,
    N_CATEGORIES,
    N_CLUSTERS,
    N_FLIPS,
    N_ITEMS,
    OUTCOME,
    P_EQUIVALENCE,
    REACH,
    STATUS,
    N,
)

__all__ = ["CHURN", "MASKED_FLIPS"]

_OUTCOME = OUTCOME.here(
    "Yes is biased (B), no unbiased (U): stereotype (an answer toward it), or named (toward or against it)."
)
_JACKKNIFE = "Jackknife over templates."
_SHARE = "Jackknife over templates, in log-odds; no shorter than what as many without a flip allow."

CHURN = Table(
    name="churn",
    doc="Flips of paired answers between biased (B) and not (U), as churn plus net shift.",
    columns=(
        *KEYS,
        _OUTCOME,
        N_ITEMS.here("With at least one pair."),
        N_CLUSTERS,
        N.here("Pairs that name an option in both runs."),
        number("missing_pairs", "Share of all pairs in which a run names no option; in [0, 1]."),
        count("n_to_biased", "Pairs U, then B."),
        count("n_from_biased", "Pairs B, then U."),
        FLIP_RATE.here("(n_to_biased + n_from_biased) / n."),
        *ends("flip_rate", _SHARE),
        number("net_shift", "(n_to_biased - n_from_biased) / n; in [-1, 1]."),
        *ends("net_shift", "Jackknife over templates; by the bound where none shifted."),
        number("churn", "flip_rate - |net_shift|: flips that even out."),
        *ends("churn", "Twice the smaller end of both directions' shares of pairs, each made as flip_rate_low."),
        number("to_rate", "P(B after | U at baseline)."),
        *ends("to_rate", _SHARE),
        number("from_rate", "P(U after | B at baseline)."),
        *ends("from_rate", _SHARE),
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
        *ends("flip_rate_excess", _JACKKNIFE),
        P_EQUIVALENCE.here("Of net_shift, missing answers at their worst."),
        *ends("equivalence", "Of net_shift over all pairs: equivalent exactly if inside the margin."),
        MARGIN,
        REACH,
        number(
            "p_published",
            "p-value of the benchmark's own test, which exchanges runs and resamples items; missing below 10 items, "
            "which it skips.",
        ),
        STATUS,
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
            "equivalent (p_equivalence of churn below alpha), or not_significant: as published, a test that "
            "exchanges runs and resamples items, Benjamini-Hochberg at 0.05 over all cells of one outcome, where "
            "absence of proof counts as proof.",
        ),
        N_CATEGORIES.here("Of the run."),
        count("n_unmoved", "Those whose average did not move by the rule."),
        N.here("Pairs in the unmoved categories."),
        N_FLIPS,
        number("masked_rate", "n_flips / n; missing without such a category."),
        FLIP_RATE.here("Of all categories."),
        STATUS,
    ),
)
