"""Declarations of the tables of paired comparison."""

from __future__ import annotations

from ...answers.measures import COMPARED
from ...schema.columns import Table, count, ends, number
from ...schema.shared import (
    COHENS_H,
    CONF_HIGH,
    CONF_LOW,
    CORRECTED,
    DF,
    DIFFERENCE,
    KEYS,
    MARGIN,
    MEASURE,
    MISSING,
    MISSING_BASELINE,
    N_BASELINE,
    N_CLUSTERS,
    N_GAINED,
    N_ITEMS,
    N_LOST,
    ODDS_RATIO,
    ODDS_RATIO_ENDS,
    OUTCOME,
    P_EQUIVALENCE,
    P_VALUE,
    REACH,
    SMALLEST_DETECTABLE,
    STATISTIC,
    STATUS,
    STD_ERROR,
    TEST,
    UNIT,
    VALUE,
    VALUE_BASELINE,
    VERDICT,
    N,
)

__all__ = ["MCNEMAR_TESTS", "PAIRED_CHANGES", "ROLE_TESTS"]

_UNIT = UNIT.here(
    "item (one answer each); item, plurality (the axis that most of its seeds chose, of those that "
    "answered in both runs); item, majority (correct in more than half of its answers).",
)

PAIRED_CHANGES = Table(
    name="paired_changes",
    doc="Exploratory: change of each measure against the baseline on the same items, per category, with templates as "
    "the unit of independence. What a run is judged by is in verdicts.",
    columns=(
        *KEYS,
        MEASURE.here(f"{', '.join(COMPARED)}."),
        N_ITEMS.here("Both runs have them, and their direction is told."),
        N_CLUSTERS,
        N_BASELINE,
        N.here("Of the run."),
        VALUE_BASELINE,
        VALUE.here("The measure after compression."),
        MISSING_BASELINE,
        MISSING,
        DIFFERENCE,
        STD_ERROR.here("Of difference: delete-one-template jackknife; missing where no template changed."),
        DF.here("Of the interval's t: effective templates minus 1."),
        CONF_LOW.here("Of difference, by the same jackknife; by the bound where it has no error."),
        CONF_HIGH,
        *ends("equivalence", "Of difference, missing answers at their worst: equivalent exactly if inside the margin."),
        P_VALUE.here("Of no change on the whole, missing answers at their worst."),
        *CORRECTED,
        number(
            "p_exchange",
            "p-value of the textbook's test, which exchanges the runs in whole templates: missing answers left out, no "
            "reach assumed, never below 2 / 2^n_clusters.",
        ),
        COHENS_H.here("For shares."),
        *ends("cohens_h", "By the same jackknife."),
        MARGIN,
        REACH,
        P_EQUIVALENCE.here("Missing answers at their worst; not corrected over the rows."),
        VERDICT.here(
            "equivalent (p_equivalence below alpha), changed (p_value_holm below alpha), undecided. Equivalent comes "
            "first: a change that is told from 0 and lies within the margin is one that the margin allows.",
        ),
        SMALLEST_DETECTABLE.here("Of this row and family."),
        STATUS,
    ),
)

MCNEMAR_TESTS = Table(
    name="mcnemar_tests",
    doc="McNemar's test of an item's answer before and after, items taken as independent: too small p-values where "
    "templates move together; see paired_changes.",
    columns=(
        *KEYS,
        OUTCOME.here("stereotype (an answer toward it), unknown (a neutral one) or correct."),
        _UNIT,
        N_ITEMS.here("Answered in both runs, and not tied."),
        count("n_tied", "Items left out because their seeds are tied."),
        N_LOST,
        N_GAINED,
        number("risk_difference", "(n_gained - n_lost) / n_items."),
        CONF_LOW.here("Of risk_difference: score interval (Tango)."),
        CONF_HIGH,
        ODDS_RATIO.here("n_gained / n_lost; missing without a lost item, its interval exact."),
        *ODDS_RATIO_ENDS,
        P_VALUE.here("Exact."),
        number("p_value_mid", "Mid-p-value."),
        *CORRECTED,
        STATUS,
    ),
)

ROLE_TESTS = Table(
    name="role_tests",
    doc="The square table of axes before and after, of those that the items offer: are they chosen equally often "
    "(Stuart-Maxwell), is each change as frequent as its reverse (Bowker)? Items taken as independent.",
    columns=(
        *KEYS,
        TEST.here("stuart_maxwell or bowker."),
        _UNIT,
        N_ITEMS.here("Answered in both runs, and not tied."),
        count("n_tied", "Items left out because their seeds are tied."),
        count("n_discordant", "Items whose axis changed."),
        count(
            "smallest_sum",
            "Fewest items with a change or its reverse, over pairs of axes: below some 5 the chi-squared "
            "approximation of Bowker's statistic is rough.",
        ),
        STATISTIC.here("Chi-squared."),
        DF,
        P_VALUE,
        *CORRECTED,
        STATUS,
    ),
)
