"""Every table about the roles of answers, from one frame of items."""

from __future__ import annotations

import pandas as pd

from ..answers.answers import Answers
from ..schema.columns import Table
from ..settings import Settings
from .ability.table import ABILITY, ability
from .bias_scores import BIAS_SCORES, bias_scores
from .changes.table import MCNEMAR_TESTS, PAIRED_CHANGES, ROLE_TESTS, mcnemar_tests, paired_changes, role_tests
from .churn.table import CHURN, MASKED_FLIPS, churn, masked_flips
from .dose.table import DOSE_CURVES, DOSE_RESPONSE, DOSE_TESTS, dose_tables
from .groups import GROUP_CHANGES, group_changes
from .noise.table import NOISE_FLOOR, REPLICATES, noise_floor, replicate_floors
from .rates import RATES, rates
from .studies.columns import STUDY_LOGISTIC, STUDY_TESTS
from .studies.table import study_logistic, study_tests
from .transitions.columns import ROLE_TRANSITIONS, TRANSITIONS
from .transitions.table import role_transitions, transitions
from .uncertainty.model import UNCERTAINTY_MODEL, uncertainty_model
from .uncertainty.table import RISK_CURVE, UNCERTAINTY_BINS, UNCERTAINTY_SCORES, uncertainty_tables

__all__ = ["ROLE_TABLES", "role_tables"]

ROLE_TABLES: tuple[Table, ...] = (
    PAIRED_CHANGES,
    ABILITY,
    NOISE_FLOOR,
    REPLICATES,
    CHURN,
    MASKED_FLIPS,
    DOSE_RESPONSE,
    DOSE_CURVES,
    DOSE_TESTS,
    UNCERTAINTY_BINS,
    UNCERTAINTY_SCORES,
    RISK_CURVE,
    UNCERTAINTY_MODEL,
    GROUP_CHANGES,
    MCNEMAR_TESTS,
    ROLE_TESTS,
    RATES,
    BIAS_SCORES,
    ROLE_TRANSITIONS,
    TRANSITIONS,
    STUDY_TESTS,
    STUDY_LOGISTIC,
)
"""In the order in which a report shows them: what holds first, the sources' own tables last."""


def role_tables(
    items: pd.DataFrame | Answers,
    runs: pd.DataFrame,
    settings: Settings | None = None,
    *,
    repeated: tuple[pd.DataFrame, pd.DataFrame] | None = None,
) -> dict[str, pd.DataFrame]:
    """Every table of ROLE_TABLES.

    Args:
        items: ITEMS frame of all runs, BBQ-like rows only, or the Answers made from it.
        runs: One row per run with columns run, baseline, base_model, method, sparsity, bits, is_baseline.
        settings: What tests and intervals are made with; the defaults if not given.
        repeated: Items and runs among which `replicates` are looked for; the same ones if not given.

    Returns:
        Tables by name; empty where no run has what they need.

    Raises:
        UserError: If an item has two answers of one run and seed, or a run is not listed.
    """
    given = settings or Settings()
    answers = Answers.of(items)
    again = repeated or (answers, runs)
    out = {
        "paired_changes": paired_changes(answers, runs, given),
        "ability": ability(answers, runs, given),
        "noise_floor": noise_floor(answers, runs, given),
        "replicates": replicate_floors(again[0], again[1], given),
        "churn": churn(answers, runs, given),
        **dose_tables(answers, runs, given),
        **uncertainty_tables(answers, runs, given),
        "uncertainty_model": uncertainty_model(answers, runs, given),
        "group_changes": group_changes(answers, runs, given),
        "mcnemar_tests": mcnemar_tests(answers, runs, given),
        "role_tests": role_tests(answers, runs),
        "rates": rates(answers, runs),
        "bias_scores": bias_scores(answers, runs),
        "role_transitions": role_transitions(answers, runs),
        "transitions": transitions(answers, runs),
        "study_tests": study_tests(answers, runs),
        "study_logistic": study_logistic(answers, runs),
    }
    out["masked_flips"] = masked_flips(out["churn"], given)
    return {table.name: out[table.name] for table in ROLE_TABLES}
