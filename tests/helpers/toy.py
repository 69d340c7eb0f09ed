"""Data sets that need no files: two options without a direction or a key, and five options of which one is off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval_ext.contract.item import Doc, document
from lm_eval_ext.contract.scheme import Scheme
from lm_eval_ext.datasets.dataset import Dataset

PLAIN = Scheme("toy_plain")
FIVE = Scheme(
    "toy_five", {"biased": "toward", "unbiased": "against", "uncertain": "neutral", "unrelated": "off", "untold": None}
)
FIVE_ROLES = ("biased", "unbiased", "uncertain", "unrelated", "unbiased")
PROTOCOLS = ("letters", "text", "cyclic", "sampled")


def _plain(metadata: Mapping[str, Any]) -> list[Doc]:
    return [
        document(
            scheme=PLAIN,
            benchmark="toy_plain",
            category="ferries",
            name=number,
            cluster=f"ferries/{number // 2}",
            context=f"Ferry {number} is late.",
            question="Should it wait for the train?",
            options=["yes", "no"],
            roles=["yes", "no"],
        )
        for number in range(6)
    ]


def _five(metadata: Mapping[str, Any]) -> list[Doc]:
    docs = []
    for number in range(10):
        order = [(number + place) % 5 for place in range(5)]
        texts = ["the old baker", "the young baker", "not known", "a train", "both bakers"]
        docs.append(
            document(
                scheme=FIVE,
                benchmark="toy_five",
                category="bakers",
                name=number,
                cluster=f"bakers/{number // 2}",
                context=f"Two bakers met at stop {number}.",
                question="Who forgot the bread?",
                options=[texts[option] for option in order],
                roles=[FIVE_ROLES[option] for option in order],
                key=order.index(2),
                groups=[[["old"], ["young"], [], [], ["old", "young"]][option] for option in order],
            )
        )
    return docs


def _toy(scheme: Scheme, load: Any, protocols: Sequence[str] = PROTOCOLS) -> Dataset:
    tasks = {f"{scheme.name}_{protocol}": protocol for protocol in protocols}
    return Dataset(name=scheme.name, scheme=scheme, load=load, citation="made up", licence="CC0", tasks=tasks)


TOY_PLAIN = _toy(PLAIN, _plain)
TOY_FIVE = _toy(FIVE, _five)
