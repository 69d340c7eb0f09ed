"""Whether a model may be run by prefix trees: what was compared with its own forward pass, and how that went."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.scoring.obstacles import calling_of, obstacle

__all__ = ["FAULTS", "Differs", "Trust", "difference", "forget"]

log = logging.getLogger(__name__)

FAULTS = (TypeError, ValueError, RuntimeError, AttributeError, KeyError, IndexError, AssertionError)
CHECKING = "checking prefix trees against the model's own forward pass"


class Differs(Exception):  # noqa: N818  (a finding about a model, not a fault of the program)
    """A model gives other numbers by prefix trees than by itself."""


@dataclass
class _Known:
    """What is known of one model in one way of running it."""

    compared: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By kind of pass: tokens of the longest sequence that was compared, and of the longest row."""
    refused: str | None = None


# By weights, dtypes and use, for the life of the process: the same model in another task is not compared again.
_REMEMBERED: dict[tuple[str, ...], _Known] = {}


def forget() -> None:
    """Compare every model anew."""
    _REMEMBERED.clear()


class Trust:
    """Compares a few results with the model's own forward pass, as lm-eval makes it, before the others count.

    A model may ignore a 4-D mask, derive positions in its own way, or carry a state from token to token. Not all of
    that can be told from a config. So of each kind of pass the longest sequence is compared with the model's own pass
    over it, and again when a longer one comes (a window shows only in prompts that exceed it). Where they differ, the
    model is refused for good, and one line says why. What was found is remembered by weights, dtypes and lengths.
    """

    def __init__(self, lm: Any, use: str, told: set[str] | None = None) -> None:
        """Prepare, without running anything.

        Args:
            lm: The lm-eval model, whose `_model_call` is what results are compared with.
            use: "scored" or "sampled".
            told: Reasons for which a line was logged already, shared between the uses of a model.
        """
        self._lm = lm
        self._use = use
        self._own = _Known()
        self._asked = 0
        self._bar: Any = None
        self.told = set() if told is None else told

    @property
    def settled(self) -> bool | None:
        """Whether trees may be used; None before anything was compared."""
        known = self._known()
        if known.refused is not None:
            return False
        return True if known.compared else None

    def allows(self, longest: int) -> bool:
        """Whether nothing known speaks against running sequences of up to so many tokens by trees."""
        known = self._known()
        if known.refused is None and longest > self._asked:
            reason = obstacle(self._lm, longest)
            if reason is not None:
                self._own.refused = reason  # of this model object: no comparison stands behind it
            self._asked = longest
        refused = self._own.refused or known.refused
        if refused is not None:
            self._tell(refused)
        return refused is None

    def refuse(self, reason: str) -> None:
        """Run this model without trees from now on; the reason is to be read behind its name."""
        self._own.refused = reason
        self._tell(reason)

    def fault(self, error: Exception) -> bool:
        """Refuse the model for what came up before its first results counted; False if the error is another's."""
        if isinstance(error, UserError) or not (isinstance(error, Differs) or self.settled is None):
            return False
        reason = str(error if isinstance(error, Differs) else self.unfit(error))
        self._known().refused = reason
        self.refuse(reason)
        return True

    def unfit(self, error: Exception) -> Differs:
        """An error of the model in a pass that is compared, as a finding."""
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Differs(f"can't be {self._use} by prefix trees ({reason})")

    def wants(self, kind: str, length: int, row: int) -> bool:
        """Whether a sequence of this length in a row of that length has yet to be compared."""
        before = self._known().compared.get(kind, (0, 0))
        return length > before[0] or row > before[1]

    @torch.no_grad()
    def compare(self, kind: str, tokens: Sequence[int], places: Sequence[int], found: Tensor) -> None:
        """Hold log-probabilities against those of the model's own pass over a sequence.

        Args:
            kind: Of the pass that gave them.
            tokens: The sequence.
            places: Indices in it, one a row of `found`.
            found: [places, vocabulary] natural log-probabilities of the token behind each place.

        Raises:
            Differs: If they are not the same but for rounding.
        """
        log.info("%s (%s, %d tokens)", CHECKING, kind, len(tokens))
        with self._shown():
            logits = self._lm._model_call(torch.tensor([list(tokens)], device=self._lm.device))[0, -len(tokens) :]
        expected = logits[list(places)].log_softmax(-1, dtype=self._lm.softmax_dtype)
        bits = min(torch.finfo(dtype).bits for dtype in (calling_of(self._lm).narrowest, expected.dtype))
        apart = difference(found, expected, narrow=bits < 32)
        if apart is not None:
            raise Differs(f"gives {apart[0]:.4f} by prefix trees and {apart[1]:.4f} on its own")

    @contextmanager
    def on(self, bar: Any) -> Iterator[None]:
        """Say on a progress bar (tqdm's) what is done while something is compared."""
        self._bar = None if bar.disable else bar
        try:
            yield
        finally:
            self._bar = None

    @contextmanager
    def _shown(self) -> Iterator[None]:
        bar = self._bar
        if bar is None:
            yield
            return
        # tqdm keeps a description with the colon that it puts behind it.
        before = str(bar.desc).removesuffix(": ")
        bar.set_description(CHECKING)
        try:
            yield
        finally:
            bar.set_description(before)

    def note(self, kind: str, length: int, row: int) -> None:
        """Remember that a sequence of this length, in such a row, was as it should be."""
        compared = self._known().compared
        before = compared.get(kind, (0, 0))
        compared[kind] = (max(length, before[0]), max(row, before[1]))

    def _known(self) -> _Known:
        key = self._key()
        if key is None or self._own.refused is not None:
            return self._own
        return _REMEMBERED.setdefault(key, _Known())

    def _key(self) -> tuple[str, ...] | None:
        """What the outcome depends on; None where hooks, or no hash of the weights, leave that unknown."""
        evidence = getattr(self._lm, "_evidence", None)
        call = calling_of(self._lm)
        if evidence is None or call.hooked():
            return None
        config: Any = call.inner.config
        facts = (
            self._use,
            evidence.weights_hash_after,
            type(call.model).__name__,
            type(call.inner).__name__,
            getattr(config, "_attn_implementation", None),
            call.narrowest,
            call.autocast,
            self._lm.softmax_dtype,
            self._lm.device,
            self._lm.max_length,
        )
        return tuple(map(str, facts))

    def _tell(self, reason: str) -> None:
        if reason not in self.told:
            log.warning("%s %s; every prompt is run on its own", type(calling_of(self._lm).inner).__name__, reason)
        self.told.add(reason)


def difference(found: Tensor, expected: Tensor, *, narrow: bool) -> tuple[float, float] | None:
    """The first pair of log-probabilities that differ by more than rounding, or None.

    In each row the token that is expected most, and the mean over the vocabulary, may differ by 0.001, or by 0.3 where
    the model computes in less than float32: whoever looks at tokens that it must not see is off by whole nats.

    Args:
        found: [rows, vocabulary]
        expected: [rows, vocabulary]; -inf is a value, NaN is none, and differs from everything.
        narrow: Whether the model computes in less than float32.
    """
    allowed = 0.3 if narrow else 1e-3
    for mine, own in zip(found.float(), expected.float().to(found.device), strict=True):
        top = int(own.nan_to_num(nan=-torch.inf).argmax())
        off = (mine - own).abs()
        off[mine == own] = 0.0  # equal infinities
        # Not any(): a NaN must count as a difference.
        if not (bool(off.mean() <= allowed) and bool(off[top] <= allowed)):
            worst = top if not bool(off[top] <= allowed) else int(off.argmax())
            return float(mine[worst]), float(own[worst])
    return None
