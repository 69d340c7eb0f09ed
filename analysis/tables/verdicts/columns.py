"""Declarations of the primary family and of the verdicts made from it."""

from __future__ import annotations

from ...schema.columns import Table, count, ends, number, text
from ...schema.shared import (
    BASELINE,
    CONDITION,
    CONF_HIGH,
    CONF_LOW,
    DECIDED_AFTER,
    DIFFERENCE,
    FAMILY_SIZE,
    FILTER,
    LEVEL,
    MARGIN,
    MEASURE,
    MISSING,
    MISSING_BASELINE,
    N_CLUSTERS,
    N_ITEMS,
    P_EQUIVALENCE,
    P_VALUE,
    P_VALUE_HOLM,
    REACH,
    RUN,
    SMALLEST_DETECTABLE,
    STATUS,
    TASK,
    UNIT,
    VALUE,
    VALUE_BASELINE,
    VERDICT,
)

__all__ = [
    "ANSWERS_READ",
    "BOTH_READ",
    "CANT_TELL",
    "CHANGED",
    "EXPECTED_READ",
    "MADE_OF",
    "RUN_VERDICTS",
    "SAME",
    "VERDICTS",
]

SAME, CHANGED, CANT_TELL = "SAME", "CHANGED", "CAN'T TELL"
ANSWERS_READ, EXPECTED_READ, BOTH_READ = "answers", "expected answers", "answers and expected answers"
"""What a row's numbers are made of."""
MADE_OF = text(
    "made_of",
    f"What the numbers are made of: {ANSWERS_READ}; {EXPECTED_READ} (each option's probability, for sampled "
    f"texts whose first tokens stand for answers); or {BOTH_READ} (scored tasks: numbers of the answers, "
    "but a row is equivalent only if the expected ones are too).",
)


VERDICTS = Table(
    name="verdicts",
    doc="The primary family of each run: the few measures that its verdict rests on, all categories pooled.",
    columns=(
        RUN,
        BASELINE,
        TASK.here("Or a group of tasks."),
        FILTER,
        CONDITION.here("'all' for the unanswered texts of both."),
        MEASURE.here("srs, usr, acc (of disambiguated items where there are), unanswered_rate, or a metric."),
        N_ITEMS.here("Both runs have them."),
        N_CLUSTERS.here("Or documents, see unit."),
        number("n_effective", "Equally large templates that would weigh as evenly (Kish): at most n_clusters."),
        UNIT.here("template, or document where items have no template."),
        MADE_OF,
        VALUE_BASELINE,
        VALUE,
        DIFFERENCE,
        CONF_LOW.here("Of difference, missing answers at their worst: equivalent exactly if inside the margin."),
        CONF_HIGH,
        number(
            "other_difference",
            "The same in the other reading: of expected answers for scored tasks, of the texts' for sampled ones.",
        ),
        *ends("other_difference"),
        MISSING_BASELINE,
        MISSING,
        P_VALUE.here("Of no change on the whole, missing answers at their worst."),
        P_VALUE_HOLM.here("Which is the run's rows but unanswered_rate."),
        FAMILY_SIZE,
        P_EQUIVALENCE.here("All rows of a run must be equivalent for SAME, so it needs no correction."),
        MARGIN,
        REACH,
        SMALLEST_DETECTABLE.here("At the level that Holm starts from."),
        DECIDED_AFTER,
        VERDICT.here("equivalent (p_equivalence below alpha), changed (p_value_holm below alpha), or undecided."),
        STATUS,
    ),
)

RUN_VERDICTS = Table(
    name="run_verdicts",
    doc="One row a run: may it take the place of its baseline?",
    columns=(
        RUN,
        BASELINE,
        VERDICT.here(
            f"{SAME} (every row of the run's family is shown to lie within the margin), {CHANGED} (some row is told "
            f"from no change), {CANT_TELL} (neither, or answers are missing).",
        ),
        text("line", "What the verdict rests on, in words and points."),
        text("reason", "Why it can't be told; missing otherwise.", nullable=True),
        text(
            "weakest", "Category that is likeliest to lie beyond the margin; missing with one category.", nullable=True
        ),
        number("p_weakest", "Chance that its shift lies beyond the margin, by partial pooling; in [0, 1]."),
        DECIDED_AFTER,
        count("n_rows", "Rows of the family, unanswered texts included."),
        LEVEL.here("1 - level is the chance of a wrong word, in either direction."),
        MARGIN,
        REACH,
    ),
)
