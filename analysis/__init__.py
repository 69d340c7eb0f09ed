"""Item-level comparison of lm-eval runs: what compression changed in the answers.

From a folder to a report: `analyze`. In a notebook: the table functions take the items of an analysis
(`pd.read_parquet("report/items.parquet")`) and one row a run, and give a frame each; docs/statistics.md says which
holds what.
"""

from __future__ import annotations

from analysis.ability import ability
from analysis.changes import mcnemar_tests, paired_changes, role_tests
from analysis.churn import churn, masked_flips
from analysis.dose import dose_curves, dose_response, dose_tests
from analysis.errors import UserError
from analysis.groups import group_changes
from analysis.inference import Estimate, Result
from analysis.measures import bias_scores, rates
from analysis.noise import noise_floor, replicate_floors
from analysis.pipeline import analyze
from analysis.result import Analysis
from analysis.role_tables import role_tables
from analysis.settings import Settings
from analysis.studies import study_logistic, study_tests
from analysis.transitions import role_transitions, transitions
from analysis.uncertainty import uncertainty_tables
from analysis.uncertainty_model import uncertainty_model

__all__ = [
    "Analysis",
    "Estimate",
    "Result",
    "Settings",
    "UserError",
    "ability",
    "analyze",
    "bias_scores",
    "churn",
    "dose_curves",
    "dose_response",
    "dose_tests",
    "group_changes",
    "masked_flips",
    "mcnemar_tests",
    "noise_floor",
    "paired_changes",
    "rates",
    "replicate_floors",
    "role_tables",
    "role_tests",
    "role_transitions",
    "study_logistic",
    "study_tests",
    "transitions",
    "uncertainty_model",
    "uncertainty_tables",
]
