"""Expected answers: each option's probability in the place of the answer that was drawn, or scored highest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .answers import AXES, COUNT_NAMES, Answers
from .options import OFFERS

__all__ = ["APART", "expected_answers", "read_as_letters"]

Floats = npt.NDArray[np.float64]
APART = 0.05
"""Texts begin with a letter, and are read as an answer, in shares that may differ by so much."""
_ANSWERED, _N = COUNT_NAMES.index("answered"), COUNT_NAMES.index("n")
_KEYED, _CORRECT = COUNT_NAMES.index("keyed"), COUNT_NAMES.index("correct")


def expected_answers(answers: Answers, label: str, item: npt.NDArray[np.int64], counts: Floats) -> Floats | None:
    """What a run's answers are on average, given how many of its texts name an option (Rao-Blackwell).

    An item's answers are spread over the axes as its probabilities say. What is not an answer stays what it is: missing
    answers are counted, not expected.

    Args:
        answers: All answers.
        label: The run.
        item: Rows of `answers.items`.
        counts: [items, COUNT_NAMES] the run's answers to them.

    Returns:
        [items, COUNT_NAMES]; None where an item that was answered has no probabilities.
    """
    scores = answers.scores[label]
    offers = answers.items[OFFERS].to_numpy(bool)[item]
    axes = np.where(offers, scores[[f"p_{axis}" for axis in AXES]].to_numpy()[item], 0.0)
    answered, keyed = counts[:, _ANSWERED] > 0, counts[:, _KEYED] > 0
    right = scores["p_key"].to_numpy()[item]
    if np.isnan(axes[answered]).any() or np.isnan(right[answered & keyed]).any():
        return None
    out = counts.copy()
    for place, axis in enumerate(AXES):
        out[:, COUNT_NAMES.index(axis)] = counts[:, _ANSWERED] * np.nan_to_num(axes[:, place])
    out[:, _CORRECT] = np.where(keyed, counts[:, _ANSWERED] * np.nan_to_num(right), 0.0)
    return out


def read_as_letters(answers: Answers, label: str, item: npt.NDArray[np.int64], counts: Floats) -> tuple[float, float]:
    """Shares of a run's texts that begin with a letter, by the probabilities, and that are read as an answer.

    Where they differ by more than APART first tokens do not stand for answers. Scored protocols draw nothing: they are
    equal there.
    """
    mass = answers.scores[label]["drawn_letter_mass"].to_numpy()[item]
    known = np.isfinite(mass)
    parsed = counts[known, _ANSWERED].sum() / max(1.0, counts[known, _N].sum())
    return (float(mass[known].mean()) if known.any() else float(parsed)), float(parsed)
