"""The text protocol for lm_eval: the options' own texts, by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval_ext.protocols.chat import ChatTask, copied
from lm_eval_ext.protocols.tokens import TokenCounter

__all__ = ["TextTask"]


class TextTask(ChatTask):
    """Scores the options' own texts, with the number of tokens of each in `doc["option_tokens"]`.

    Where the prompt ends in white space that lm_eval scores with every option, one more request scores it
    alone. Where it does not, a space parts prompt and option, whatever the chat template.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self._counter = TokenCounter.from_metadata(self.config.metadata or {}, f"task {self.config.task}")

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> list[Any]:
        """Build one request an option, and one for the prompt's trailing white space where it is needed."""
        requests = super().construct_requests(doc, ctx, **kwargs)
        texts = self.doc_to_choice(doc)
        if ctx and not ctx[-1].isspace():
            texts = [f" {text}" for text in texts]
        spans = [self._counter.span(ctx, text) for text in texts]
        doc["option_tokens"] = [span.tokens for span in spans]
        if all(span.whitespace for span in spans):
            requests.append(copied(requests[0], (ctx, ""), len(requests)))
            texts = [*texts, ""]
        for request, text in zip(requests, texts, strict=True):
            request.arguments = (ctx, text)
        return list(requests)

    def process_results(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """Score one sample, after putting its token counts back: lm_eval reads the documents anew here."""
        doc["option_tokens"] = self.asked(doc)[0].doc["option_tokens"]
        return super().process_results(doc, results)
