"""Item-level comparison of lm-eval runs: what compression changed in the answers.

From a folder to a report: `analyze`. In a notebook: the table functions take the items of an analysis
(`pd.read_parquet("report/items.parquet")`) and one row a run, and give a frame each; docs/statistics.md says which
holds what.

Names are loaded when they are used: the readers of logs, which run in processes of their own, need no statistics.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compare.differences import DIFFERENCES as DIFFERENCES
    from .errors import UserError as UserError
    from .inference import Estimate as Estimate
    from .inference import Result as Result
    from .inference import Results as Results
    from .pipeline import analyze as analyze
    from .result import Analysis as Analysis
    from .schema.declare import LongTable as LongTable
    from .schema.declare import ReportTable as ReportTable
    from .settings import Settings as Settings
    from .tables.ability.table import ability as ability
    from .tables.bias_scores import bias_scores as bias_scores
    from .tables.catalogue import CATALOGUE as CATALOGUE
    from .tables.catalogue import role_tables as role_tables
    from .tables.changes.table import mcnemar_tests as mcnemar_tests
    from .tables.changes.table import paired_changes as paired_changes
    from .tables.changes.table import role_tests as role_tests
    from .tables.churn.table import churn as churn
    from .tables.churn.table import masked_flips as masked_flips
    from .tables.dose.table import dose_curves as dose_curves
    from .tables.dose.table import dose_response as dose_response
    from .tables.dose.table import dose_tests as dose_tests
    from .tables.flips import flips as flips
    from .tables.groups import group_changes as group_changes
    from .tables.item_changes.table import item_changes as item_changes
    from .tables.metric_changes.table import metric_changes as metric_changes
    from .tables.noise.table import noise_floor as noise_floor
    from .tables.noise.table import replicate_floors as replicate_floors
    from .tables.rates import rates as rates
    from .tables.studies.table import study_logistic as study_logistic
    from .tables.studies.table import study_tests as study_tests
    from .tables.transitions.table import role_transitions as role_transitions
    from .tables.transitions.table import transitions as transitions
    from .tables.uncertainty.model import uncertainty_model as uncertainty_model
    from .tables.uncertainty.table import uncertainty_tables as uncertainty_tables
    from .tables.verdicts.runs import run_verdicts as run_verdicts
    from .tables.verdicts.table import verdicts as verdicts

_NAMES = {
    "compare.differences": "DIFFERENCES",
    "errors": "UserError",
    "inference": "Estimate Result Results",
    "pipeline": "analyze",
    "result": "Analysis",
    "settings": "Settings",
    "tables.ability.table": "ability",
    "tables.bias_scores": "bias_scores",
    "tables.catalogue": "CATALOGUE role_tables",
    "tables.changes.table": "mcnemar_tests paired_changes role_tests",
    "tables.churn.table": "churn masked_flips",
    "schema.declare": "LongTable ReportTable",
    "tables.dose.table": "dose_curves dose_response dose_tests",
    "tables.flips": "flips",
    "tables.groups": "group_changes",
    "tables.item_changes.table": "item_changes",
    "tables.metric_changes.table": "metric_changes",
    "tables.noise.table": "noise_floor replicate_floors",
    "tables.rates": "rates",
    "tables.studies.table": "study_logistic study_tests",
    "tables.transitions.table": "role_transitions transitions",
    "tables.uncertainty.model": "uncertainty_model",
    "tables.uncertainty.table": "uncertainty_tables",
    "tables.verdicts.runs": "run_verdicts",
    "tables.verdicts.table": "verdicts",
}
_WHERE = {name: module for module, names in _NAMES.items() for name in names.split()}

if not TYPE_CHECKING:  # type checkers have the names above, and take a computed list for an empty one
    __all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    """A public name, from the module that has it."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *_WHERE]
