"""Which items count for which group, and the paired answers that they are counted from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from .answers import AXES, Answers
from .runs import Run

__all__ = ["BLOCK", "Members", "by_option", "by_stereotype", "counted", "joint"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BLOCK = ["task", "filter", "condition"]
_KEYS = [*BLOCK, "category", "group"]


@dataclass(frozen=True, kw_only=True)
class Members:
    """Which items count for which group, for one kind and outcome."""

    kind: str
    outcome: str
    item: Ints
    """[members] row in Answers.items."""
    group: Ints
    """[members] row in `labels`."""
    biased: npt.NDArray[np.bool_]
    """[members, states] which states (axes, or choices) count as biased for the group in the item."""
    labels: pd.DataFrame
    """One row per group, columns _KEYS, sorted."""


def by_stereotype(answers: Answers) -> Iterator[Members]:
    """Members by the items' stereotyped groups; states are AXES."""
    known = answers.items["determined"].to_numpy(bool)
    pairs = [
        (item, group)
        for item, text in enumerate(answers.items["stereotyped_groups"])
        if known[item] and isinstance(text, str)
        for group in _split(text, "|")
    ]
    for outcome, biased in (("non_unknown", (True, True, False, False)), ("stereotype", (True, False, False, False))):
        yield _members(answers, "stereotyped", outcome, pairs, [biased] * len(pairs), len(AXES))


def by_option(answers: Answers) -> Iterator[Members]:
    """Members by the groups of the items' options; states are the options, in order."""
    pairs, masks = [], []
    for item, text in enumerate(answers.items["option_groups"]):
        if not isinstance(text, str):
            continue
        options = [_split(option, "|") for option in text.split("||")]
        for group in sorted({name for names in options for name in names}):
            pairs.append((item, group))
            named = [group in names for names in options[: answers.n_choices]]
            masks.append(tuple(named + [False] * (answers.n_choices - len(named))))
    yield _members(answers, "option", "named", pairs, masks, answers.n_choices)


def _split(text: str, mark: str) -> list[str]:
    """The distinct names of a list, sorted; none for an empty text."""
    return sorted({name.strip() for name in text.split(mark)} - {""})


def _members(
    answers: Answers,
    kind: str,
    outcome: str,
    pairs: list[tuple[int, str]],
    biased: list[tuple[bool, ...]],
    width: int,
) -> Members:
    item = np.array([pair[0] for pair in pairs], dtype=np.int64)
    keys = answers.items.iloc[item][_KEYS[:-1]].reset_index(drop=True)
    keys["group"] = [pair[1] for pair in pairs]
    grouped = keys.groupby(_KEYS, sort=True)
    return Members(
        kind=kind,
        outcome=outcome,
        item=item,
        group=np.asarray(grouped.ngroup(), dtype=np.int64),
        biased=np.array(biased, dtype=bool).reshape(len(pairs), width),
        labels=keys.drop_duplicates().sort_values(_KEYS).reset_index(drop=True).astype("object"),
    )


def joint(answers: Answers, run: Run) -> tuple[Ints, Ints]:
    """Per item, pairs of answers by (before, after): [items, axes, axes] of axes, [items, choices, choices]."""
    assert run.baseline is not None
    pair = answers.pair(run.label, run.baseline)
    sides = ((pair.baseline, pair.run, len(AXES)), (pair.baseline_choice, pair.run_choice, answers.n_choices))
    out = []
    for before, after, width in sides:
        inside = (before >= 0) & (before < width) & (after >= 0) & (after < width)
        code = (pair.item * width + before) * width + after
        # Not -1 items: where nobody has chosen anything there are no choices, and -1 stands for no number.
        shape = (len(answers.items), width, width)
        out.append(np.bincount(code[inside], minlength=math.prod(shape)).reshape(shape))
    return out[0], out[1]


def counted(table: Ints, biased: npt.NDArray[np.bool_]) -> Floats:
    """Pairs of each member: [members, 4] of all, biased before, unbiased to biased, biased to unbiased."""
    mask = biased.astype(float)
    before = np.einsum("mij,mi->m", table, mask)
    after = np.einsum("mij,mj->m", table, mask)
    both = np.einsum("mij,mi,mj->m", table, mask, mask)
    pairs = np.einsum("mij->m", table).astype(float)
    return np.stack([pairs, before, after - both, before - both], axis=1)
