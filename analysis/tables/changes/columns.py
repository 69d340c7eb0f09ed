"""Declarations of the tables of paired comparison."""

from __future__ import annotations

from ...answers.measures import COMPARED
from ...schema.columns import Table, count, number, text
from ...schema.shared import KEYS

__all__ = ["MCNEMAR_TESTS", "PAIRED_CHANGES", "ROLE_TESTS"]

_CORRECTED = (
    text("family", "What is corrected over, in words; p-values that are missing are not in it."),
    count("family_size", "Tests in the family."),
)
_UNIT = text(
    "unit",
    "What is paired: item (one answer each); item, plurality (the axis that most of its seeds chose, of those that "
    "answered in both runs); item, majority (correct in more than half of its answers).",
)
_STATUS = text("status", "'ok', or why the row holds no or only part of a result.")

PAIRED_CHANGES = Table(
    name="paired_changes",
    doc="Change of each measure against the baseline on the same items, with templates as the unit of independence: "
    "effect, interval, test, equivalence and what could have been seen.",
    columns=(
        *KEYS,
        text("measure", f"{', '.join(COMPARED)}; defined under Measures."),
        count("n_items", "Items that both runs have and whose direction is told."),
        count("n_clusters", "Templates that they form: the unit of independence."),
        count("n_baseline", "The baseline's answers to these items."),
        count("n", "The run's."),
        number("value_baseline", "The measure at baseline."),
        number("value", "The measure after compression."),
        number("difference", "value minus value_baseline."),
        number("std_error", "Its standard error: delete-one-template jackknife; missing where no template changed."),
        number("df", "Degrees of freedom of the intervals' t: templates minus 1."),
        number("conf_low", "Lower end of the interval of difference (95 % unless asked otherwise)."),
        number("conf_high", "Upper end."),
        number("p_value", "Two-sided p-value of no change: runs exchanged in whole templates."),
        number("p_value_holm", "p_value after Holm over the family."),
        number("p_value_bh", "p_value after Benjamini and Hochberg over the family."),
        *_CORRECTED,
        number("cohens_h", "2 (asin sqrt value - asin sqrt value_baseline), for shares."),
        number("cohens_h_low", "Lower end of its interval, by the same jackknife."),
        number("cohens_h_high", "Upper end."),
        number("margin", "A difference within this, either way, counts as none."),
        number(
            "p_equivalence",
            "p-value of two one-sided t-tests that the difference lies within the margin; where no template changed, "
            "the chance of that if the difference were as large as the margin.",
        ),
        text(
            "verdict",
            "equivalent (p_equivalence below alpha), changed (p_value_holm below alpha), undecided. Equivalent comes "
            "first: a change that is told from 0 and lies within the margin is one that the margin allows.",
        ),
        number("smallest_detectable", "Smallest true difference that this many templates show in 80 % of cases."),
        _STATUS,
    ),
)

MCNEMAR_TESTS = Table(
    name="mcnemar_tests",
    doc="McNemar's test of an item's answer before and after, items taken as independent: too small p-values where "
    "templates move together; see paired_changes.",
    columns=(
        *KEYS,
        text("outcome", "What is yes or no: stereotype (an answer toward it), unknown (a neutral one) or correct."),
        _UNIT,
        count("n_items", "Items in the test: answered in both runs."),
        count("n_tied", "Items left out because their seeds are tied."),
        count("n_lost", "Yes at baseline, no after compression."),
        count("n_gained", "No at baseline, yes after compression."),
        number("risk_difference", "(n_gained - n_lost) / n_items."),
        number("conf_low", "Lower end of its score interval (Tango)."),
        number("conf_high", "Upper end."),
        number("odds_ratio", "n_gained / n_lost; missing without a lost item."),
        number("odds_ratio_low", "Lower end of its exact interval."),
        number("odds_ratio_high", "Upper end; missing where it is open."),
        number("p_value", "Exact two-sided p-value."),
        number("p_value_mid", "Mid-p-value."),
        number("p_value_holm", "p_value after Holm over the family."),
        number("p_value_bh", "p_value after Benjamini and Hochberg over the family."),
        *_CORRECTED,
        _STATUS,
    ),
)

ROLE_TESTS = Table(
    name="role_tests",
    doc="The square table of axes before and after, of those that the items offer: are they chosen equally often "
    "(Stuart-Maxwell), is each change as frequent as its reverse (Bowker)? Items taken as independent.",
    columns=(
        *KEYS,
        text("test", "stuart_maxwell or bowker."),
        _UNIT,
        count("n_items", "Items in the table."),
        count("n_tied", "Items left out because their seeds are tied."),
        count("n_discordant", "Items whose axis changed."),
        count(
            "smallest_sum",
            "Fewest items with a change or its reverse, over pairs of axes: below some 5 the chi-squared "
            "approximation of Bowker's statistic is rough.",
        ),
        number("statistic", "Chi-squared statistic."),
        number("df", "Its degrees of freedom."),
        number("p_value", "Its p-value."),
        number("p_value_holm", "p_value after Holm over the family."),
        number("p_value_bh", "p_value after Benjamini and Hochberg over the family."),
        *_CORRECTED,
        _STATUS,
    ),
)
