"""Which runs repeat one another, and in what they still differ: each way is a noise floor of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

__all__ = ["FLOORS", "REPEAT", "SEEDS", "Replicates", "floor_of", "repeated_of", "replicate_pairs"]

_SAME = ("base_model", "method", "sparsity", "bits", "variant", "chat_template_sha", "system_instruction_sha")
"""Columns of RUNS that replicates share; those after `bits` where the frame has them."""
FLOORS: Mapping[str, tuple[str, ...]] = {
    "engine": ("engine",),
    "version": ("engine_version", "lm_eval_version", "transformers_version"),
    "dtype": ("dtype", "softmax_dtype"),
    "batch size": ("batch_size",),
    "batch invariance": ("batch_invariant",),
    "threads": ("threads",),
    "devices": ("parallel",),
    "calibration": ("calibration_source", "calibration_hash", "weights_hash"),
}
"""Floors by name, with the columns of RUNS in which replicates may differ."""
_COLUMNS = ("recipe", *(column for columns in FLOORS.values() for column in columns))
"""All of them, and the recipe's name, which alone makes no noise: `variant` says what it does."""
SEEDS, REPEAT = "seeds", "repeat"
"""Floor of runs that share no seed, and of runs that differ in nothing that the logs tell."""
_MAY_BE_UNTOLD = ("weights_hash", "threads", "batch_invariant", "engine_version")
"""Columns in which a run that tells nothing does not differ from one that does."""


@dataclass(frozen=True, kw_only=True)
class Replicates:
    """Two runs that differ in nothing that compresses or prompts."""

    run: str
    other: str
    differs: tuple[str, ...]
    """Columns of RUNS in which they differ."""


def replicate_pairs(runs: pd.DataFrame, present: list[str]) -> Iterator[Replicates]:
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
    labels = [str(label) for label in there["run"]]
    same = [tuple(row) for row in facts.to_numpy()]
    rows = there.to_dict("records")
    for i, one in enumerate(labels):
        for j, other in enumerate(labels):
            if i != j and same[i] == same[j]:
                yield Replicates(run=one, other=other, differs=tuple(_differing(rows[i], rows[j])))


def floor_of(differs: Iterable[str], *, seeds: bool = False) -> str:
    """Name of the floor that two replicates make: what differs, several joined by " + "; REPEAT for nothing.

    Another engine has other versions, and says no more by them.

    Args:
        differs: Columns of RUNS in which they differ.
        seeds: Whether they share no seed.
    """
    columns = set(differs)
    names = [name for name, of in FLOORS.items() if columns & set(of)]
    if "engine" in names and "version" in names:
        names.remove("version")
    return " + ".join([*names, *([SEEDS] if seeds else [])]) or REPEAT


def repeated_of(runs: pd.DataFrame, run: str, baseline: str) -> str | None:
    """The floor that a run and its baseline make where both are the same model as it was; None where they are not.

    They are where neither is compressed and both start from one base model, or their weights have one hash.

    Args:
        runs: Columns run, base_model, method, and any others of RUNS.
        run: Label of the run.
        baseline: Label of what it is compared with.
    """
    rows = {str(row["run"]): row for row in runs.to_dict("records") if row["run"] in (run, baseline)}
    if len(rows) < 2 or not {"base_model", "method"} <= set(runs.columns):
        return None
    own, other = rows[run], rows[baseline]
    hashes = [row.get("weights_hash") for row in (own, other)]
    known = not any(pd.isna(entry) for entry in hashes)
    plain = own["method"] == other["method"] == "none" and own["base_model"] == other["base_model"]
    return floor_of(_differing(own, other)) if (hashes[0] == hashes[1] if known else plain) else None


def _differing(own: Mapping[str, object], other: Mapping[str, object]) -> Iterator[str]:
    for name in _COLUMNS:
        mine, theirs = own.get(name), other.get(name)
        gone = [bool(pd.isna(value)) for value in (mine, theirs)]  # type: ignore[call-overload]
        if any(gone):
            if not all(gone) and name not in _MAY_BE_UNTOLD:
                yield name
        elif mine != theirs:
            yield name
