"""What ran a model and in what form: facts of any lm_eval run, from its results file and its model arguments."""

from .facts import Engine, engine_of
from .hints import hints_in
from .standing import DENSE, NAMED, PROVED_STATUSES, STATUSES, UNVERIFIED, Standing, standing_of

__all__ = [
    "DENSE",
    "NAMED",
    "PROVED_STATUSES",
    "STATUSES",
    "UNVERIFIED",
    "Engine",
    "Standing",
    "engine_of",
    "hints_in",
    "standing_of",
]
