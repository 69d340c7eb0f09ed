"""Which runs repeat one another, and in what they still differ."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

__all__ = ["replicate_pairs"]

_SAME = ("base_model", "method", "sparsity", "bits", "recipe", "chat_template_sha", "system_instruction_sha")
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

# What was changed in a recipe stands in brackets after its name, such as "wanda-50(samples=64,seed=1)".
_SEED = r"(?<=\()seed=[^,)]*,?|,seed=[^,)]*"


def replicate_pairs(runs: pd.DataFrame, present: list[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Ordered pairs of runs that differ in nothing that compresses or prompts, and the columns in which they differ.

    Recipes are the same if their names are, but for the seed: two recipes of one method and dose may still prune
    different matrices. Runs without compression need no recipe.

    Args:
        runs: Columns run, base_model, method, sparsity, bits, and any others of RUNS.
        present: Runs that have answers.
    """
    there = runs[runs["run"].isin(present)]
    if there.empty:
        return
    facts = there[[name for name in _SAME if name in there]].astype("string").fillna("-")
    if "recipe" in facts:
        plain = facts["recipe"].str.replace(_SEED, "", regex=True).str.replace("()", "", regex=False)
        facts["recipe"] = plain.mask(facts["method"] == "none", "-")
    shown = there[[name for name in _DIFFERS if name in there]].astype("string").fillna("-")
    labels = [str(label) for label in there["run"]]
    same = [tuple(row) for row in facts.to_numpy()]
    for i, one in enumerate(labels):
        for j, other in enumerate(labels):
            if i != j and same[i] == same[j]:
                differing = shown.iloc[i].ne(shown.iloc[j])
                yield one, other, [str(name) for name in shown.columns[differing]]
