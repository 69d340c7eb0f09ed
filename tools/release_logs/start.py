"""Start an old lm_eval under today's packages: what it asks of them and they no longer have is put back first.

The release itself is taken as it is, from PYTHONPATH. Nothing here touches what it writes.
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterable
from typing import Any


class _ExactMatch:
    """What lm_eval 0.4.0 to 0.4.2 load from the hub under the name exact_match: the share of equal texts."""

    def compute(
        self,
        predictions: Iterable[Any],
        references: Iterable[Any],
        regexes_to_ignore: Iterable[str] | None = None,
        ignore_case: bool = False,
        **others: Any,
    ) -> dict[str, float]:
        if any(others.values()):
            raise NotImplementedError(f"exact_match with {others}")

        def plain(text: Any) -> str:
            out = str(text)
            for pattern in regexes_to_ignore or ():
                out = re.sub(pattern, "", out)
            return out.lower() if ignore_case else out

        hits = [plain(one) == plain(other) for one, other in zip(predictions, references, strict=True)]
        return {"exact_match": sum(hits) / len(hits)}


def _put_back() -> None:
    """Names that releases before 0.4.10 import, and arguments that 0.4.0 gives."""
    import datasets
    import evaluate
    import transformers

    if not hasattr(transformers, "AutoModelForVision2Seq"):
        transformers.AutoModelForVision2Seq = transformers.AutoModelForImageTextToText
    if not hasattr(datasets, "load_metric"):
        datasets.load_metric = None  # imported by a task that is not asked for
    evaluate.load = lambda name, *_, **__: _ExactMatch()

    load = transformers.AutoModelForCausalLM.from_pretrained

    def load_without(*arguments: Any, load_in_8bit: bool = False, load_in_4bit: bool = False, **options: Any) -> Any:
        if load_in_8bit or load_in_4bit:
            raise NotImplementedError("load_in_8bit and load_in_4bit are no arguments of transformers any more")
        return load(*arguments, **options)

    transformers.AutoModelForCausalLM.from_pretrained = load_without


if __name__ == "__main__":
    _put_back()
    runpy.run_module("lm_eval", run_name="__main__", alter_sys=True)
