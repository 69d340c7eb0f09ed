"""The tasks of data sets that other packages bring: lm_eval finds them by name, as it finds its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from lm_eval_ext.datasets.catalogue import dataset_entries, find_dataset
from lm_eval_ext.errors import UserError

__all__ = ["LaterConfig", "brought_tasks"]

log = logging.getLogger(__name__)


class LaterConfig(dict[str, Any]):
    """A task's configuration, made when lm_eval copies it for a run: its index needs the name alone."""

    def __init__(self, task: str, dataset: str) -> None:
        """Hold what the index shows of a task."""
        super().__init__(task=task, dataset_kwargs={"task_dataset": dataset})
        self._task, self._dataset = task, dataset

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        """The configuration as a YAML file would hold it; raises UserError as `task_configs` does."""
        from lm_eval_ext.tasks.made import task_configs

        return task_configs(find_dataset(self._dataset))[self._task]


def brought_tasks() -> Iterator[tuple[str, str, LaterConfig]]:
    """Each task of another package's data set: its name, the package, its configuration.

    A package whose data set can't be loaded costs a warning that names it, never the tasks of the others.
    """
    for name, entry in dataset_entries().items():
        if entry.is_ours and not entry.rivals:
            continue
        try:
            tasks = find_dataset(name).tasks
        except UserError as fault:
            log.warning("%s; its tasks are left out", fault)
            continue
        for task in tasks:
            yield task, entry.package, LaterConfig(task, name)
