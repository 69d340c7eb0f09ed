"""The data sets that tasks can name: ours, and those of other packages."""

from __future__ import annotations

from typing import Any

from lm_eval_ext.datasets.bbq.data_set import BBQ
from lm_eval_ext.datasets.crows_pairs import CROWS_PAIRS
from lm_eval_ext.datasets.dataset import Dataset
from lm_eval_ext.datasets.discrim_eval import DISCRIM_EVAL
from lm_eval_ext.datasets.esbbq import CABBQ, ESBBQ
from lm_eval_ext.entries import Entry, entries, find

__all__ = ["DATASETS", "dataset_entries", "find_dataset"]

DATASETS: tuple[Dataset, ...] = (BBQ, CROWS_PAIRS, DISCRIM_EVAL, ESBBQ, CABBQ)
"""Ours, by hand: a new one is added here."""


def dataset_entries() -> dict[str, Entry]:
    """All data sets by name, ours and those of other packages; none of theirs is loaded."""
    return entries("data set", {dataset.name: f"{__name__}:DATASETS" for dataset in DATASETS})


def find_dataset(name: str) -> Dataset:
    """The data set of this name.

    Raises:
        UserError: If there is none (the message names the nearest), or what another package offers under this name
            can't be loaded or is no data set of that name.
    """
    entry = find(name, dataset_entries(), "data set")
    found: Any = entry.load()
    if entry.is_ours:
        return next(dataset for dataset in DATASETS if dataset.name == name)
    if not isinstance(found, Dataset):
        raise entry.fault(f"is no data set: expected a Dataset, got {type(found).__name__}")
    if found.name != name:
        raise entry.fault(f"is a data set named {found.name!r}; both names must be the same")
    return found
