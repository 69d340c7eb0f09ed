"""Several processes on one task: each with the whole model and its share of the documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

__all__ = ["SharedHFLM", "in_turn"]


class SharedHFLM(HFLM):
    """HFLM whose processes don't wait for each other, and whose logs are in the order of the documents."""

    def all_gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """This process's value in the place of every process's, [processes].

        lm-eval gathers counts of requests and batch sizes, so that all processes make as many forward passes, which a
        model in shards needs: a process with less to do repeats its last request, and logs each answer. Here every
        process has the whole model, and none waits for another before its documents are done.
        """
        return tensor if self.world_size == 1 else tensor.reshape(-1).repeat(self.world_size)

    def gather_object(self, obj: Any, dst: int = 0) -> Any:
        """The samples or metrics of all processes, by task, as one process would have listed them.

        Returns:
            On process `dst` a list with one such dictionary, elsewhere None. lm-eval appends one process's documents to
            another's, which changes the order of the logs, and with it the task's hash in the results.
        """
        parts = super().gather_object(obj, dst)
        return parts if parts is None or self.world_size == 1 else [in_turn(parts)]


def in_turn(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge what lm-eval gathers from N processes, of which the r-th has the documents r, r + N, r + 2N ...

    Args:
        parts: By process, then by task: either a list of samples, all of one filter before those of the next, or lists
            of values by metric and filter.

    Returns:
        By task, in the order of the documents.
    """
    merged: dict[str, Any] = {}
    for task, first in parts[0].items():
        lists = [part[task] for part in parts]
        if isinstance(first, dict):
            merged[task] = {key: _alternate([values.get(key, []) for values in lists]) for key in first}
            continue
        filters = dict.fromkeys(sample["filter"] for sample in first)
        merged[task] = [
            sample
            for name in filters
            for sample in _alternate([[s for s in samples if s["filter"] == name] for samples in lists])
        ]
    return merged


def _alternate(lists: Sequence[list[Any]]) -> list[Any]:
    """The first of each list, the second of each ...; shorter lists end earlier."""
    most = max(map(len, lists))
    return [values[place] for place in range(most) for values in lists if place < len(values)]
