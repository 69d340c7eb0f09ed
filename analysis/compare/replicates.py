"""Which runs repeat one another, and in what they still differ."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

__all__ = ["replicate_pairs"]

_SAME = ("base_model", "method", "sparsity", "bits", "variant", "chat_template_sha", "system_instruction_sha")
"""Columns of RUNS that replicates share; those after `bits` where the frame has them."""
_DIFFERS = (
    "recipe",
    "calibration_source",
    "calibration_hash",
    "weights_hash",
    "dtype",
    "softmax_dtype",
    "batch_size",
    "lm_eval_version",
    "transformers_version",
)
"""Columns of RUNS in which they may differ."""


def replicate_pairs(runs: pd.DataFrame, present: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Ordered pairs of runs that differ in nothing that compresses or prompts, and the columns in which they differ.

    Two recipes of one method and dose may prune different matrices: `method` and `variant` tell them apart (see
    `variants`). Seeds, of steps and of the calibration, are what replicates are for.

    Args:
        runs: Columns run, base_model, method, sparsity, bits, and any others of RUNS.
        present: Runs that have answers.
    """
    there = runs[runs["run"].isin(present)]
    if there.empty:
        return
    facts = there[[name for name in _SAME if name in there]].astype("string").fillna("-")
    shown = there[[name for name in _DIFFERS if name in there]].astype("string").fillna("-")
    labels = [str(label) for label in there["run"]]
    same = [tuple(row) for row in facts.to_numpy()]
    for i, one in enumerate(labels):
        for j, other in enumerate(labels):
            if i != j and same[i] == same[j]:
                differing = shown.iloc[i].ne(shown.iloc[j])
                yield one, other, [str(name) for name in shown.columns[differing]]
