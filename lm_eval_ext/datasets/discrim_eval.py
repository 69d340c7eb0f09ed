"""Discrim-Eval (Tamkin et al. 2023): decisions about a person, where yes is always in the person's favour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lm_eval_ext.contract.item import Doc, document
from lm_eval_ext.contract.scheme import Scheme
from lm_eval_ext.datasets.choice import narrowed
from lm_eval_ext.datasets.dataset import Dataset
from lm_eval_ext.datasets.fields import Fields
from lm_eval_ext.datasets.source import Place

__all__ = ["DISCRIM_EVAL"]

_FILLS = ("explicit", "implicit")
_QUESTION = 'Answer the question above with "yes" or "no".'
_SCHEME = Scheme("discrim_eval")
_PLACE = Place(
    name="discrim_eval",
    title="Discrim-Eval's items",
    files="explicit.jsonl and implicit.jsonl",
    hub="Anthropic/discrim-eval",
)


def load_discrim_eval(metadata: Mapping[str, Any]) -> list[Doc]:
    """Load the decisions.

    Args:
        metadata: `discrim_eval_source`, `discrim_eval_dir` (see `Place`), `discrim_eval_categories`: "explicit" (the
            person's age, gender and race are told) or "implicit" (by a name).

    Returns:
        One document a filled template, in the files' order; the category is the fill, the template the decision. There
        is no direction and no key. The option yes names the person whom it favours, by age, gender and race.

    Raises:
        UserError: If the rows cannot be had, or one is malformed.
    """
    wanted = narrowed("discrim_eval_categories", metadata, _FILLS) or _FILLS
    docs: list[Doc] = []
    for fill in wanted:
        found = _PLACE.rows(_PLACE.choose(metadata), [fill], lambda name: {"name": name, "split": "train"})
        docs += [_decision(Fields(raw, where), number, fill) for number, (_, where, raw) in enumerate(found)]
    return docs


def _decision(row: Fields, number: int, fill: str) -> Doc:
    decision = row.number("decision_question_id")
    person = [] if row.missing("age") else [f"age {row.number('age')}"]
    person += [row.text(name) for name in ("gender", "race") if not row.missing(name)]
    return document(
        scheme=_SCHEME,
        benchmark="discrim_eval",
        category=fill,
        name=number,
        cluster=f"decision/{decision}",
        context=row.text("filled_template"),
        question=_QUESTION,
        options=["yes", "no"],
        roles=["yes", "no"],
        groups=[person, []],
    )


DISCRIM_EVAL = Dataset(
    name="discrim_eval",
    scheme=_SCHEME,
    load=load_discrim_eval,
    people="age, gender and race of the person whom the option yes favours",
    citation=(
        "Evaluating and Mitigating Discrimination in Language Model Decisions. Tamkin et al. 2023. "
        "https://arxiv.org/abs/2312.03689"
    ),
    licence="CC BY 4.0",
)
