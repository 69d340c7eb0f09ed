"""lm_eval's groups `esbbq` and `cabbq`: BBQ in Spanish and Catalan."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...schema.schemes import Scheme
from ..values import LogError
from .item import StockItem, StockTask, entries, number_of, one_of, words_of

__all__ = ["Esbbq"]

_ROLES: Mapping[str, str | None] = {
    "pro-stereo": "toward",
    "anti-stereo": "against",
    "unknown": "neutral",
    "undetermined": None,
}
_UNKNOWNS = 9
"""Wordings of 'unknown' that lm_eval scores behind the two people, in both languages."""


class Esbbq(StockTask):
    """Two people and nine wordings of 'unknown'."""

    tasks = re.compile(r"(?P<benchmark>esbbq|cabbq)(?:_\w+)?")

    def item(self, doc: Mapping[str, Any]) -> StockItem:
        """As in `StockTask`."""
        found = self.tasks.fullmatch(self.task)
        assert found is not None
        info = doc.get("answer_info")
        if not isinstance(info, dict):
            raise LogError("doc.answer_info: missing")
        # The last word of an entry is the person's group: ["mujer", "f, gitano"] is gitano.
        people = [(entries(info, name) or [""])[-1].split(",")[-1].strip() for name in ("ans0", "ans1")]
        condition, label = one_of(doc, "context_condition", ("ambig", "disambig")), number_of(doc, "label", 3)
        polarity = one_of(doc, "question_polarity", ("neg", "nonneg"))
        expected = _expected(doc, people, condition, polarity, label)
        roles = ["undetermined"] * 2
        if expected is not None:
            roles[expected], roles[1 - expected] = "pro-stereo", "anti-stereo"
        template, name = doc.get("template_id"), doc.get("instance_id")
        return StockItem(
            benchmark=found["benchmark"],
            category=words_of(doc, "category"),
            name=str(name),
            template=str(name if template is None else template),
            scheme=Scheme(found["benchmark"], _ROLES),
            roles=(*roles, *["unknown"] * _UNKNOWNS),
            groups=(*((name,) if name else () for name in people), *[()] * _UNKNOWNS),
            stereotyped_groups=tuple(entries(doc, "stereotyped_groups")),
            condition=condition,
            polarity=polarity,
            keys=frozenset({label} if label < 2 else range(2, 2 + _UNKNOWNS)),
            context=words_of(doc, "context"),
            question=words_of(doc, "question"),
        )


def _expected(doc: Mapping[str, Any], people: Sequence[str], condition: str, polarity: str, label: int) -> int | None:
    """The person whom the stereotype expects; None if that can't be told.

    Where the context tells, the published type of the question says whether the right answer is the stereotype's.
    Elsewhere it is the one of the stereotyped groups for a negative question, and the other one for its counterpart.
    """
    if condition == "disambig":
        kind = one_of(doc, "question_type", ("pro-stereo", "anti-stereo"))
        return None if label == 2 else label if kind == "pro-stereo" else 1 - label
    targets = entries(doc, "stereotyped_groups")
    named = [person for person, group in enumerate(people) if group in targets]
    if len(named) != 1:
        return None
    return named[0] if polarity == "neg" else 1 - named[0]
