"""The continuations of one prompt, scored from lists of next tokens with as few questions as there can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from lm_eval_ext.contract.score import Bound
from lm_eval_ext.models.engines.listed import Ask, Listed, Prompt, Step

__all__ = ["Walk", "differ_in_one"]

_Tokens = tuple[int, ...]


def differ_in_one(targets: Sequence[_Tokens]) -> bool:
    """Whether continuations are alike but for one last token, as letters are behind a prompt's own line break."""
    return all(len(target) == len(targets[0]) and target[:-1] == targets[0][:-1] for target in targets)


class Walk:
    """Asks for the lists at each place where a continuation goes on.

    What all continuations begin with (a line break that the chat template ends in) is most likely what the model says
    by itself: so many tokens more are asked for in the same question, and where the model says another, one question
    more is needed.
    """

    def __init__(self, prompt: Prompt, targets: Sequence[_Tokens], spell: Callable[[_Tokens, int], str]) -> None:
        """Prepare.

        Args:
            prompt: The prompt.
            targets: The continuations' tokens, one at least each.
            spell: The text of a token behind others.
        """
        self._prompt, self._targets, self._spell = prompt, tuple(targets), spell
        self._next: dict[_Tokens, set[int]] = {}
        for target in self._targets:
            for at, token in enumerate(target):
                self._next.setdefault(target[:at], set()).add(token)
        self._known: dict[_Tokens, Listed] = {}
        self._asked: list[tuple[_Tokens, _Tokens]] = []

    def asks(self) -> list[Ask]:
        """What to ask now; nothing when all is known."""
        self._asked = []
        followed: set[_Tokens] = set()
        for prefix in sorted((p for p in self._next if p not in self._known), key=len):
            if prefix in followed:
                continue
            chain: _Tokens = ()
            while len(self._next.get(prefix + chain, ())) == 1:
                (token,) = self._next[prefix + chain]
                if not self._next.get((*prefix, *chain, token)):
                    break
                chain = (*chain, token)
            followed |= {prefix + chain[:at] for at in range(len(chain) + 1)}
            self._asked.append((prefix, chain))
        return [self._ask(prefix, chain) for prefix, chain in self._asked]

    def _ask(self, prefix: _Tokens, chain: _Tokens) -> Ask:
        wanted = {token for at in range(len(chain) + 1) for token in self._next[prefix + chain[:at]]}
        text, before = self._prompt.text, self._prompt.ids
        for at, token in enumerate(prefix):
            text += self._spell((*before, *prefix[:at]), token)
        return Ask(Prompt((*before, *prefix), text), tuple(sorted(wanted)), len(chain) + 1)

    def answered(self, answers: Sequence[Sequence[Step]]) -> None:
        """Take the answers to `asks`, in its order."""
        for (prefix, chain), steps in zip(self._asked, answers, strict=True):
            at = prefix
            for place, step in enumerate(steps):
                self._known[at] = step.listed
                if place == len(chain) or not self._goes(at, chain[place], step):
                    break
                at = (*at, chain[place])

    @property
    def done(self) -> bool:
        """Whether all is known."""
        return len(self._known) == len(self._next)

    def _goes(self, at: _Tokens, token: int, step: Step) -> bool:
        if step.token is not None:
            return step.token == token
        return bool(step.text) and step.text == self._spell((*self._prompt.ids, *at), token)

    def scores(self) -> list[tuple[float, bool]]:
        """Of each continuation: its log-likelihood, or a `Bound`, and whether it is what the model says by itself."""
        return [self._score(target) for target in self._targets]

    def _score(self, target: _Tokens) -> tuple[float, bool]:
        total, upper, left, greedy, known = 0.0, 0.0, 0.0, True, True
        for at, token in enumerate(target):
            listed = self._known[target[:at]]
            value = listed.score(token, self._spell((*self._prompt.ids, *target[:at]), token))
            if isinstance(value, Bound):
                known, greedy = False, False
                upper, left = upper + value.upper, left + value.left
                continue
            greedy = greedy and value >= listed.top
            total, upper, left = total + value, upper + value, left + value
        if known:
            return total, greedy
        return Bound(upper if math.isfinite(upper) else -math.inf, left), False
