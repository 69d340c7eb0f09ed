"""Lines as earlier releases of lm_eval wrote them, brought into the layout of today.

0.4.0 to 0.4.2 log no hashes, 0.4.0 to 0.4.5 no filter and no list of metrics, and what was sent as lists. A line of
today lacks none of these; where one is missing it is made as lm_eval makes it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .values import LogError

__all__ = ["name_filter", "with_arguments", "with_hashes"]


def with_arguments(line: dict[str, Any]) -> None:
    """Name what was sent: a list of argument lists becomes gen_args_0: {arg_0: ...} and so on."""
    sent = line.get("arguments")
    if isinstance(sent, list) and all(isinstance(request, list) for request in sent):
        line["arguments"] = {
            f"gen_args_{i}": {f"arg_{j}": value for j, value in enumerate(request)} for i, request in enumerate(sent)
        }


def with_hashes(line: dict[str, Any]) -> None:
    """Add the hashes that are not there, over the document, the first prompt and the target, as lm_eval makes them."""
    if all(isinstance(line.get(name), str) for name in ("doc_hash", "prompt_hash", "target_hash")):
        return
    made = {
        "doc_hash": json.dumps(line.get("doc"), indent=2, ensure_ascii=False),
        "prompt_hash": _first_prompt(line),
        "target_hash": str(line.get("target")),
    }
    for name, words in made.items():
        if line.get(name) is None and words is not None:
            line[name] = hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()


def _first_prompt(line: dict[str, Any]) -> str | None:
    first = line["arguments"].get("gen_args_0") if isinstance(line.get("arguments"), dict) else None
    prompt = first.get("arg_0") if isinstance(first, dict) else None
    return prompt if isinstance(prompt, str) else None


def name_filter(line: dict[str, Any], filters: Sequence[str], seen: Counter[Any]) -> None:
    """Say which filter a line is of, where it does not.

    lm_eval logs all documents by the first filter, then all by the next, so the n-th line of a document is of the n-th
    filter.

    Args:
        line: A line without `filter`.
        filters: Their names in lm_eval's order.
        seen: Lines so far of each document; this one is added.

    Raises:
        LogError: If the document has more lines than there are filters.
    """
    place = seen[line.get("doc_id")]
    seen[line.get("doc_id")] += 1
    names = tuple(filters) or ("none",)
    if place >= len(names):
        raise LogError(f"no filter is named, and the document has more lines than filters ({', '.join(names)})")
    line["filter"] = names[place]
