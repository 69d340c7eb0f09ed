"""What a run's answers are worth, said once at its end."""

from __future__ import annotations

import logging
from collections import Counter
from statistics import median

from lm_eval_ext.contract.answer import REASONS, Answer

__all__ = ["LOW_MASS", "RunReport"]

LOW_MASS = 0.1
"""A run whose median letter mass is lower is warned about: nine times in ten something else follows the prompt."""

log = logging.getLogger(__name__)


class RunReport:
    """Collects the answers to a task's items, and logs what there is to say when the last one is in."""

    def __init__(self, task: str, items: int, advice: str) -> None:
        """Begin.

        Args:
            task: The task's name.
            items: How many answers there will be.
            advice: What may lift a low letter mass.
        """
        self._task, self._items, self._advice = task, items, advice
        self._answers: list[Answer] = []

    def add(self, answer: Answer) -> None:
        """Add an item's answer."""
        self._answers.append(answer)
        if len(self._answers) == self._items:
            self._tell()

    def _tell(self) -> None:
        """Log how many answers there are, and a warning each for missing scores and for a low letter mass."""
        total = len(self._answers)
        states = Counter(answer["status"] for answer in self._answers)
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        log.info("task %s: %d items, %s%s", self._task, total, counts, self._spelled())
        reasons = Counter(answer["reason"] for answer in self._answers if answer["reason"])
        if reasons:
            why = "; ".join(f"{count} because {REASONS[reason]}" for reason, count in reasons.most_common())
            missing = sum(reasons.values())
            log.warning("task %s: %d of %d items have no probabilities: %s", self._task, missing, total, why)
        masses = [answer["letter_mass"] for answer in self._answers if answer["letter_mass"] is not None]
        if masses and median(masses) < LOW_MASS:
            log.warning(
                "task %s: the letters are seldom what follows: median letter mass %.2g, below %g for %d of %d items. "
                "Choices rest on what the model hardly says; %s",
                *(self._task, median(masses), LOW_MASS, sum(mass < LOW_MASS for mass in masses), total, self._advice),
            )

    def _spelled(self) -> str:
        shares: Counter[str] = Counter()
        for answer in self._answers:
            shares.update(answer["spellings"] or {})
        whole = sum(shares.values())
        return "".join(f", {share / whole:.0%} of the letter mass as {n!r}" for n, share in shares.most_common())
