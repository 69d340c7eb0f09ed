"""The data sets that tasks can name."""

from __future__ import annotations

from lm_eval_ext.datasets.bbq.data_set import BBQ
from lm_eval_ext.datasets.crows_pairs import CROWS_PAIRS
from lm_eval_ext.datasets.dataset import Dataset
from lm_eval_ext.datasets.discrim_eval import DISCRIM_EVAL
from lm_eval_ext.datasets.esbbq import CABBQ, ESBBQ
from lm_eval_ext.errors import unknown_name

__all__ = ["DATASETS", "find_dataset"]

DATASETS: tuple[Dataset, ...] = (BBQ, CROWS_PAIRS, DISCRIM_EVAL, ESBBQ, CABBQ)
"""Ours, by hand: a new one is added here."""


def find_dataset(name: str) -> Dataset:
    """The data set of this name.

    Raises:
        UserError: If there is none; the message names the nearest.
    """
    known = {dataset.name: dataset for dataset in DATASETS}
    if name not in known:
        raise unknown_name("data set", name, list(known))
    return known[name]
