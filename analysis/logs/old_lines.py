"""Lines as earlier releases of lm_eval wrote them, brought into the layout of today.

0.4.0 to 0.4.2 log no hashes, and what was sent as lists; 0.4.0 to 0.4.6 no filter and no list of metrics. A line of
today lacks none of these; where one is missing it is made as lm_eval makes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from .hashes import HASHES, made_hash
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
    for name in HASHES:
        if line.get(name) is None:
            line[name] = made_hash(name, line)


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
