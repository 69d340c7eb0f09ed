"""Every table that a report holds, in the order in which it is shown."""

from __future__ import annotations

import pandas as pd

from ..answers.answers import Answers
from ..compare.pairing import Pairing
from ..schema.declare import AnyTable, Making
from ..settings import Settings
from .ability.table import ABILITY_TABLE
from .bias_scores import BIAS_SCORES_TABLE
from .category_shifts.table import CATEGORY_SHIFTS_TABLE
from .changes.table import MCNEMAR_TESTS_TABLE, PAIRED_CHANGES_TABLE, ROLE_TESTS_TABLE
from .churn.table import CHURN_TABLE, MASKED_FLIPS_TABLE
from .distances.options import DISTANCES_TABLE
from .distances.texts import TEXT_DIVERGENCE_TABLE
from .dose.table import DOSE_CURVES_TABLE, DOSE_RESPONSE_TABLE, DOSE_TESTS_TABLE
from .flips import FLIPS_TABLE
from .groups import GROUP_CHANGES_TABLE
from .item_changes.table import ITEM_CHANGES_TABLE
from .metric_changes.table import METRIC_CHANGES_TABLE, METRIC_COMPARISON, MetricComparison
from .noise.table import NOISE_FLOOR_TABLE, REPEATED_ITEMS, REPLICATES_TABLE
from .perplexity import EVALUATION_GAP_TABLE
from .profiles.table import PROFILES_TABLE
from .rates import RATES_TABLE
from .runs import RUNS_TABLE
from .sources import ANSWERS, PAIRING, ROLE_RUNS, SETTINGS
from .studies.table import STUDY_LOGISTIC_TABLE, STUDY_TESTS_TABLE
from .transitions.table import ROLE_TRANSITIONS_TABLE, TRANSITIONS_TABLE
from .uncertainty.model import UNCERTAINTY_MODEL_TABLE
from .uncertainty.table import RISK_CURVE_TABLE, UNCERTAINTY_BINS_TABLE, UNCERTAINTY_SCORES_TABLE
from .verdicts.runs import RUN_VERDICTS_TABLE
from .verdicts.table import VERDICTS_TABLE

__all__ = ["CATALOGUE", "role_tables"]

CATALOGUE: tuple[AnyTable, ...] = (
    RUNS_TABLE,
    # What holds comes first, the sources' own tables last.
    RUN_VERDICTS_TABLE,
    VERDICTS_TABLE,
    PAIRED_CHANGES_TABLE,
    ABILITY_TABLE,
    CATEGORY_SHIFTS_TABLE,
    NOISE_FLOOR_TABLE,
    REPLICATES_TABLE,
    CHURN_TABLE,
    MASKED_FLIPS_TABLE,
    DISTANCES_TABLE,
    DOSE_RESPONSE_TABLE,
    DOSE_CURVES_TABLE,
    DOSE_TESTS_TABLE,
    UNCERTAINTY_BINS_TABLE,
    UNCERTAINTY_SCORES_TABLE,
    RISK_CURVE_TABLE,
    UNCERTAINTY_MODEL_TABLE,
    GROUP_CHANGES_TABLE,
    MCNEMAR_TESTS_TABLE,
    ROLE_TESTS_TABLE,
    RATES_TABLE,
    BIAS_SCORES_TABLE,
    ROLE_TRANSITIONS_TABLE,
    TRANSITIONS_TABLE,
    STUDY_TESTS_TABLE,
    STUDY_LOGISTIC_TABLE,
    EVALUATION_GAP_TABLE,
    PROFILES_TABLE,
    TEXT_DIVERGENCE_TABLE,
    METRIC_CHANGES_TABLE,
    FLIPS_TABLE,
    ITEM_CHANGES_TABLE,
)
"""Tables of the folder `tables` of a report; the names are the files' names."""


def role_tables(
    items: pd.DataFrame | Answers, runs: pd.DataFrame, settings: Settings | None = None
) -> dict[str, pd.DataFrame]:
    """Every table that is made from the roles of answers alone, for a notebook.

    Args:
        items: ITEMS frame of all runs, rows with a direction only, or the Answers made from it.
        runs: One row per run with columns run, baseline, base_model, method, sparsity, bits, is_baseline.
        settings: What tests and intervals are made with; the defaults if not given.

    Returns:
        Tables by name, in the order of CATALOGUE; empty where no run has what they need. `replicates` are looked for
        among these same items and runs.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    answers = Answers.of(items)
    making = Making({ANSWERS: answers, ROLE_RUNS: runs, PAIRING: Pairing(), SETTINGS: settings or Settings()})
    making.give(REPEATED_ITEMS, answers)
    making.give(RUNS_TABLE, runs)
    # Without logs there are no metrics beside the roles.
    making.give(METRIC_COMPARISON, MetricComparison(METRIC_CHANGES_TABLE.holds.empty(), [], []))
    given = (RUNS_TABLE, METRIC_CHANGES_TABLE)
    return making.tables(entry for entry in CATALOGUE if entry not in given and making.can(entry))
