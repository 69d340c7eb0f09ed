"""The letters of an engine held against those of weights that transformers computes with."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval_ext.contract.score import Bound
from lm_eval_ext.errors import UserError, require_extra

__all__ = ["Reference"]

log = logging.getLogger(__name__)

_Row = tuple[tuple[str, str] | None, list[int], list[int]]


class Reference:
    """Scores the first prompts of a run a second time, in float32."""

    def __init__(self, pretrained: str, items: int, tolerance: float, engine: str) -> None:
        """Take weights.

        Args:
            pretrained: Name or folder for transformers, or a GGUF file.
            items: How many of the first prompts are scored.
            tolerance: Most that a letter's probability among the letters may differ, 0 to 1.
            engine: What is held against it, for messages.

        Raises:
            UserError: If torch is not installed, or the numbers make no sense.
        """
        require_extra(("torch", "transformers"), "hf", "reference=")
        if int(items) < 1 or not 0 < float(tolerance) <= 1:
            raise UserError(f"reference_items={items}, reference_tolerance={tolerance}: expected 1 or more, and 0 to 1")
        self._pretrained, self._items, self._tolerance = str(pretrained), int(items), float(tolerance)
        self._engine = engine
        self.facts: dict[str, Any] = {"pretrained": self._pretrained, "tolerance": self._tolerance, "items": 0}

    def check(self, rows: Sequence[_Row], answers: Sequence[tuple[float, bool]]) -> None:
        """Compare, once.

        Raises:
            UserError: If a letter's probability differs by more than the tolerance.
        """
        if self.facts["items"]:
            return
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, (_, before, _) in enumerate(rows):
            groups.setdefault(tuple(before), []).append(number)
        chosen = [numbers for numbers in groups.values() if len(numbers) > 1][: self._items]
        if not chosen:
            return
        model = _load(self._pretrained)
        totals: list[float] = []
        largest, where = 0.0, ""
        for numbers in chosen:
            known = [number for number in numbers if not isinstance(answers[number][0], Bound)]
            if len(known) < 2:  # one letter alone has all of its share
                continue
            theirs = _shares([answers[number][0] for number in known])
            ours = _shares([_score(model, rows[number][1], rows[number][2]) for number in known])
            gaps = [abs(one - other) for one, other in zip(theirs, ours, strict=True)]
            # What is no number agrees with nothing.
            gaps = [math.inf if math.isnan(gap) else gap for gap in gaps]
            totals.append(math.fsum(gaps) / 2)
            if max(gaps) > largest:
                at = gaps.index(max(gaps))
                text = rows[known[at]][0]
                largest = gaps[at]
                where = f"{theirs[at]:.3f} for {'' if text is None else text[1]!r}, the reference {ours[at]:.3f}"
        if not totals:
            log.warning("reference=%s: of no item two letters are listed, so nothing is compared", self._pretrained)
            return
        mean = math.fsum(totals) / len(totals)
        self.facts |= {"items": len(totals), "largest": largest, "total_variation": mean}
        log.info(
            "%d items against %s: largest difference of a probability %.4f", len(totals), self._pretrained, largest
        )
        if largest > self._tolerance:
            raise UserError(
                f"{self._engine} gives other letters than {self._pretrained}: {where}; the largest difference of "
                f"{len(totals)} items is {largest:.3f}, reference_tolerance={self._tolerance:g}. Another model, "
                "quantization or BOS, or raise the tolerance"
            )


def _load(name: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    path = Path(name)
    options: dict[str, Any] = {"dtype": torch.float32}
    if path.suffix == ".gguf":
        options["gguf_file"], name = path.name, str(path.parent)
    try:
        return AutoModelForCausalLM.from_pretrained(name, **options).eval()
    except Exception as fault:
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise UserError(f"reference={name} can't be loaded ({reason}); name a folder, a model or a GGUF file") from None


def _score(model: Any, before: Sequence[int], target: Sequence[int]) -> float:
    import torch

    with torch.inference_mode():
        logits = model(torch.tensor([[*before, *target][:-1]])).logits[0, len(before) - 1 :]
        table = torch.log_softmax(logits.float(), dim=-1)
    return math.fsum(float(table[at, token]) for at, token in enumerate(target))


def _shares(values: Sequence[float]) -> list[float]:
    top = max(values, default=0.0)
    weights = [math.exp(value - top) for value in values]
    whole = math.fsum(weights)
    return [weight / whole for weight in weights]
