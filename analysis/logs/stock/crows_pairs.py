"""lm_eval's `crows_pairs_english`, `crows_pairs_french` and their tasks by type of bias."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from ...schema.schemes import Scheme
from .item import StockItem, StockTask, words_of

__all__ = ["CrowsPairs"]

_SCHEME = Scheme("crows_pairs", {"sent_more": "toward", "sent_less": "against"})
_DIRECTIONS = {"0": "stereo", "1": "antistereo", "stereo": "stereo", "antistereo": "antistereo"}


class CrowsPairs(StockTask):
    """Of two sentences the likelier one: that which stereotypes more, or less. There is no right one.

    The polarity is the published direction of the pair: whether the sentence that stereotypes more is about the
    disadvantaged group ("stereo") or the other is ("antistereo").
    """

    tasks = re.compile(r"(?P<benchmark>crows_pairs_(?:english|french))(?:_\w+)?")
    # lm_eval counts a tie as no stereotype; it is no preference for the other sentence either.
    ties_are_choices = False

    def item(self, doc: Mapping[str, Any]) -> StockItem:
        """As in `StockTask`."""
        found = self.tasks.fullmatch(self.task)
        assert found is not None
        sentences = [words_of(doc, name) for name in _SCHEME.axes]
        digest = hashlib.sha256("\n".join(sentences).encode()).hexdigest()
        # The tasks by type number their documents anew, so lm_eval's number would not do.
        name = digest[:12] if doc.get("id") is None else str(doc["id"])
        return StockItem(
            benchmark=found["benchmark"],
            category=words_of(doc, "bias_type"),
            name=name,
            template=name,
            scheme=_SCHEME,
            roles=tuple(_SCHEME.axes),
            options=tuple(sentences),
            polarity=_DIRECTIONS.get(str(doc.get("stereo_antistereo"))),
        )
