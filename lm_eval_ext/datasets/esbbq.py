"""EsBBQ and CaBBQ (Ruiz-Fernández et al. 2025): BBQ in Spanish and Catalan, and for the society of Spain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from typing import Any

from lm_eval_ext.contract.item import Doc, document
from lm_eval_ext.contract.scheme import Scheme
from lm_eval_ext.datasets.choice import narrowed
from lm_eval_ext.datasets.dataset import Dataset
from lm_eval_ext.datasets.fields import Fields
from lm_eval_ext.datasets.source import Place
from lm_eval_ext.errors import UserError

__all__ = ["CABBQ", "ESBBQ"]

_CATEGORIES = (
    *("Age", "DisabilityStatus", "Gender", "LGBTQIA", "Nationality", "PhysicalAppearance", "RaceEthnicity"),
    *("Religion", "SES", "SpanishRegion"),
)
# The rows say "unknown" only; these are the wordings that the authors score.
_SPANISH = (
    *("No hay suficiente información", "No hay información suficiente", "No lo sé", "No sé", "Falta información"),
    *("No se puede responder", "No se sabe", "No se puede saber", "No se puede determinar"),
)
_CATALAN = (
    *("No hi ha prou informació", "No hi ha informació suficient", "No ho sé", "No sé", "Falta informació"),
    *("No es pot respondre", "No se sap", "No es pot saber", "No es pot determinar"),
)
_ORDERS = tuple(permutations(range(3)))
_ROLES: dict[str, Any] = {
    "pro-stereo": "toward",
    "anti-stereo": "against",
    "unknown": "neutral",
    "undetermined": None,
}


def _stereotype(row: Fields, polarity: str, condition: str, people: Sequence[str], label: int) -> int | None:
    """The option that the stereotype expects, as the authors score it; None if it can't be told."""
    if condition == "disambig":
        kind = row.one_of("question_type", ("pro-stereo", "anti-stereo"))
        if label == 2:
            raise row.fault("label", "0 or 1 where the context tells", label)
        return label if kind == "pro-stereo" else 1 - label
    targets = row.texts("stereotyped_groups")
    named = [option for option, group in enumerate(people) if group in targets]
    if len(named) != 1:
        return None
    return named[0] if polarity == "neg" else 1 - named[0]


def _document(row: Fields, category: str, scheme: Scheme, unknowns: Sequence[str]) -> Doc:
    if row.text("category") != category:
        raise row.fault("category", category, row.get("category"))
    polarity = row.one_of("question_polarity", ("neg", "nonneg"))
    condition = row.one_of("context_condition", ("ambig", "disambig"))
    label, template, answers = row.number("label", 2), row.number("template_id"), row.inner("answer_info")
    # The last word of an answer's entry is its group: ["mujer", "f, gitano"] is gitano.
    people = [(answers.texts(f"ans{option}") or [""])[-1].split(",")[-1].strip() for option in (0, 1)]
    expected = _stereotype(row, polarity, condition, people, label)
    roles = ["undetermined", "undetermined", "unknown"]
    if expected is not None:
        roles[expected], roles[1 - expected] = "pro-stereo", "anti-stereo"
    # Published rows have the unknown option last. Here its place and wording are drawn by a hash of the two people, so
    # that no letter stands for it, and items of the same people are shown alike.
    persons = [row.text("ans0"), row.text("ans1")]
    drawn = hashlib.sha256("/".join([category, str(template), str(row.get("version")), *persons]).encode()).digest()
    options = [*persons, unknowns[drawn[1] % len(unknowns)]]
    order = _ORDERS[drawn[0] % len(_ORDERS)]
    groups = [*([name] if name else [] for name in people), []]
    return document(
        scheme=scheme,
        benchmark=scheme.name,
        category=category,
        name=row.number("instance_id"),
        cluster=f"{category}/{template}",
        context=row.text("context"),
        question=row.text("question"),
        options=[options[option] for option in order],
        roles=[roles[option] for option in order],
        groups=[groups[option] for option in order],
        key=order.index(label),
        condition=condition,
        polarity=polarity,
        subcategory=str(row.get("subcategory") or ""),
        stereotyped_groups=row.texts("stereotyped_groups"),
    )


def _loader(place: Place, scheme: Scheme, unknowns: Sequence[str]) -> Callable[[Mapping[str, Any]], list[Doc]]:
    def load(metadata: Mapping[str, Any]) -> list[Doc]:
        """Load one language's items: keys of the metadata as for BBQ, with the data set's name in front."""
        wanted = narrowed(f"{place.name}_categories", metadata, _CATEGORIES) or _CATEGORIES
        condition = metadata.get("task_condition")
        found = place.rows(place.choose(metadata), wanted, lambda name: {"name": name, "split": "test"})
        docs = [_document(Fields(raw, where), category, scheme, unknowns) for category, where, raw in found]
        kept = [doc for doc in docs if condition in (None, doc["item"]["condition"])]
        if not kept:
            raise UserError(f"none of the {len(docs)} rows read has the condition {condition!r}.")
        return kept

    return load


def _language(name: str, title: str, unknowns: Sequence[str]) -> Dataset:
    place = Place(name=name, title=f"{title}'s items", files=f"{title}'s files", hub=f"BSC-LT/{title}")
    scheme = Scheme(name, _ROLES)
    return Dataset(
        name=name,
        scheme=scheme,
        load=_loader(place, scheme, unknowns),
        people="the group of each of the two people that an item is about",
        citation=(
            "EsBBQ and CaBBQ: The Spanish and Catalan Bias Benchmarks for Question Answering. Ruiz-Fernández et al. "
            "2025. https://arxiv.org/abs/2507.11216"
        ),
        licence="CC BY 4.0",
    )


ESBBQ = _language("esbbq", "EsBBQ", _SPANISH)
CABBQ = _language("cabbq", "CaBBQ", _CATALAN)
