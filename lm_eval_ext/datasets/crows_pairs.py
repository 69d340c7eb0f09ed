"""CrowS-Pairs (Nangia et al. 2020): of two sentences that differ in whom they are about, which one is likelier."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from lm_eval_ext.contract.item import Doc, document
from lm_eval_ext.contract.scheme import Scheme
from lm_eval_ext.datasets.choice import narrowed
from lm_eval_ext.datasets.dataset import Dataset
from lm_eval_ext.datasets.fields import Fields
from lm_eval_ext.datasets.source import Place

__all__ = ["CROWS_PAIRS"]

_TYPES = (
    *("race-color", "socioeconomic", "gender", "disability", "nationality", "sexual-orientation"),
    *("physical-appearance", "religion", "age"),
)
_DIRECTIONS = ("stereo", "antistereo")
_FILE = "crows_pairs_anonymized"
_SCHEME = Scheme("crows_pairs", {"sent_more": "toward", "sent_less": "against"})
_PLACE = Place(
    name="crows_pairs",
    title="CrowS-Pairs' items",
    files=f"{_FILE}.csv",
    hub="jannalu/crows_pairs_multilingual",
    suffix=".csv",
)


def load_crows_pairs(metadata: Mapping[str, Any]) -> list[Doc]:
    """Load the pairs.

    Args:
        metadata: `crows_pairs_source`, `crows_pairs_dir` (see `Place`), `crows_pairs_categories` (types of bias).

    Returns:
        One document a pair, in the file's order. The folder's file has the 1,508 pairs as published. The hub's copy is
        the revision by Névéol et al. (2022), whose pairs are other items: its benchmark is "crows_pairs_revised". Each
        pair is its own template. Polarity is the published direction: "stereo" where the likelier-to-be-biased sentence
        is about the disadvantaged group, "antistereo" where it is about the other. The rows name no groups.

    Raises:
        UserError: If the rows cannot be had, or one is malformed.
    """
    source = _PLACE.choose(metadata)
    wanted = narrowed("crows_pairs_categories", metadata, _TYPES)
    benchmark = "crows_pairs_revised" if source.kind == "hub" else "crows_pairs"
    found = _PLACE.rows(source, [_FILE], lambda name: {"name": "english", "split": "test"})
    docs = [_pair(Fields(raw, where), number, benchmark) for number, (_, where, raw) in enumerate(found)]
    return [doc for doc in docs if wanted is None or doc["item"]["category"] in wanted]


def _pair(row: Fields, number: int, benchmark: str) -> Doc:
    category = row.text("bias_type")
    sentences = [("sent_more", row.text("sent_more")), ("sent_less", row.text("sent_less"))]
    # Rows have the more stereotyping one first. Here a hash draws their order, so that no place stands for a role.
    if hashlib.sha256("/".join(text for _, text in sentences).encode()).digest()[0] % 2:
        sentences.reverse()
    return document(
        scheme=_SCHEME,
        benchmark=benchmark,
        category=category,
        name=number,
        cluster=f"{category}/{number}",
        options=[text for _, text in sentences],
        roles=[role for role, _ in sentences],
        polarity=row.one_of("stereo_antistereo", _DIRECTIONS),
    )


CROWS_PAIRS = Dataset(
    name="crows_pairs",
    scheme=_SCHEME,
    load=load_crows_pairs,
    citation=(
        "CrowS-Pairs: A Challenge Dataset for Measuring Social Biases in Masked Language Models. Nangia et al. 2020. "
        "https://aclanthology.org/2020.emnlp-main.154/"
    ),
    licence="CC BY-SA 4.0",
)
