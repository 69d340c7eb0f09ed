"""What text_perplexity.yaml calls."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.api.metrics import bits_per_byte, weighted_perplexity

from lm_eval_ext.datasets.texts import read_texts
from lm_eval_ext.errors import UserError
from lm_eval_ext.protocols.fresh import FreshTask
from lm_eval_ext.protocols.tokens import TokenCounter

__all__ = [
    "PerplexityTask",
    "aggregate_bits",
    "aggregate_distributions",
    "aggregate_perplexity",
    "load_texts",
    "process_results",
]

log = logging.getLogger(__name__)

Pair = tuple[float, int]
KEEP = 128
"""Entries of each token's distribution that are logged at most, on average."""


class PerplexityTask(FreshTask):
    """Rolling perplexity over the number of tokens that were scored, with what a comparison of runs needs of these.

    `compressed_hf` says so of each request. Of other models it is not known, and taken to be what lm_eval's `hf`
    scores: the text's tokens and those that the tokenizer adds.
    """

    def build_all_requests(self, **kwargs: Any) -> None:
        """Build the requests, and note which document each is for."""
        super().build_all_requests(**kwargs)
        keep = _entries((self.config.metadata or {}).get("distributions"))
        for request in self.instances:
            request.keep = keep
        self._rolled = {request.doc["source"]: request for request in self.instances}

    def process_results(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """Score one document, with what its request says was scored."""
        doc["tokens"] = getattr(self._rolled[doc["source"]], "rolled", doc["tokens"])
        scored: dict[str, Any] = super().process_results(doc, results)
        request = self._rolled[doc["source"]]
        return scored | {"distributions": request.kept} if hasattr(request, "kept") else scored


def load_texts(
    text_file: str | None = None,
    text_split: str | None = None,
    max_length: int | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """Load the documents; lm_eval calls this with the metadata and all model arguments.

    Args:
        text_file: The user's file (see `read_texts`); None for the packaged text.
        text_split: "file" (default) or "blank_lines".
        max_length: The model's argument of that name, the window in tokens; None where the model decides.
        **metadata: The arguments that name the tokenizer are read, for token_perplexity.

    Returns:
        The one split "test", with `text`, `source` ("notes.txt/0"), `words`, `bytes`, `tokens` (for models that don't
        say what they scored; null where no tokenizer can be had) and `window` (null where the run does not name it;
        lm_eval's results state the window that was used as `max_length`).
    """
    from datasets import Dataset, Features, Value

    count = _token_count(metadata)
    docs = [
        {
            "text": text,
            "source": source,
            # Counted as lm_eval counts them for its own perplexity tasks.
            "words": len(re.split(r"\s+", text)),
            "bytes": len(text.encode("utf-8")),
            "tokens": count(text),
            "window": max_length,
        }
        for source, text in read_texts(text_file, text_split)
    ]
    numbers = dict.fromkeys(("words", "bytes", "tokens", "window"), Value("int64"))
    features = Features({"text": Value("string"), "source": Value("string")} | numbers)
    return {"test": Dataset.from_list(docs, features=features)}


def process_results(doc: dict[str, Any], results: Sequence[float]) -> dict[str, Pair | None]:
    """Pair the document's log-likelihood with each of its lengths, as lm_eval's wikitext does.

    Returns:
        For each metric (log-likelihood in nats, number of units); None where the log-likelihood is not finite
        or the number is not known.
    """
    (value,) = results
    units = {
        "word_perplexity": doc["words"],
        "byte_perplexity": doc["bytes"],
        "bits_per_byte": doc["bytes"],
        "token_perplexity": doc["tokens"],
    }
    known = math.isfinite(value)
    return {name: (value, count) if known and count else None for name, count in units.items()}


def aggregate_distributions(records: Sequence[Mapping[str, Any] | None]) -> int | None:
    """Tokens whose distribution is logged; None if a document's could not be."""
    return None if None in records else sum(sum(record["windows"]) for record in records if record is not None)


def aggregate_perplexity(pairs: Sequence[Pair | None]) -> float | None:
    """exp(-sum of log-likelihoods / sum of units); None if a document's is undefined or it overflows."""
    return _defined(weighted_perplexity, pairs)


def aggregate_bits(pairs: Sequence[Pair | None]) -> float | None:
    """-sum of log-likelihoods / (sum of bytes x log 2); None if a document's is undefined."""
    return _defined(bits_per_byte, pairs)


def _entries(given: Any) -> int:
    """The metadata key `distributions`: entries that are kept of each distribution.

    Raises:
        UserError: If it is no whole number from 0 on.
    """
    try:
        found = KEEP if given is None else int(given)
    except (TypeError, ValueError):
        found = -1
    if found < 0 or isinstance(given, bool) or (isinstance(given, float) and given != found):
        raise UserError(f"distributions: expected a whole number such as {KEEP}, or 0 to log none, got {given!r}")
    return found


def _defined(aggregation: Callable[[Sequence[Pair]], float], pairs: Sequence[Pair | None]) -> float | None:
    known = [pair for pair in pairs if pair is not None]
    if len(known) < len(pairs):
        return None
    try:
        return float(aggregation(known))
    except OverflowError:
        return None


def _token_count(metadata: dict[str, Any]) -> Callable[[str], int | None]:
    try:
        counter = TokenCounter.from_metadata(metadata, "token_perplexity")
    except UserError as fault:
        log.warning("%s token_perplexity stays empty, unless compressed_hf counts; the others do not need it.", fault)
        return lambda text: None
    return lambda text: len(counter.encode(text))
