"""What ran a model and in what form: facts of any lm_eval run, from its results file and its model arguments."""

from .facts import Engine, engine_of
from .hints import hints_in
from .standing import DENSE, UNVERIFIED, Standing, standing_of

__all__ = [
    "DENSE",
    "UNVERIFIED",
    "Engine",
    "Standing",
    "engine_of",
    "hints_in",
    "standing_of",
]
