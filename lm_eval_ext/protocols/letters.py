"""The letters protocols for lm_eval: an item asked once, or in each rotation of its options."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval_ext.protocols.asking import asking_model
from lm_eval_ext.protocols.chat import ChatTask, copied
from lm_eval_ext.protocols.lettering import rotations
from lm_eval_ext.protocols.spellings import Spellings, Tokens

__all__ = ["CyclicTask", "LettersTask"]

log = logging.getLogger(__name__)
Scores = dict[str, list[float]]


class LettersTask(ChatTask):
    """Scores the letters in every spelling that is one token.

    The requests of a sample are the letters as lm_eval spells them (" A", " B", " C"; without the space under a chat
    template), then the same in the other spelling, where that is another token.
    """

    _spellings: Spellings | None = None

    def build_all_requests(self, *, chat_template: Callable[..., str] | None = None, **kwargs: Any) -> None:
        """Build the requests, for the tokenizer of the model that answers them."""
        self._spellings = None
        super().build_all_requests(chat_template=chat_template, **kwargs)

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **kwargs: Any) -> list[Any]:
        """Build one request a spelling and letter."""
        requests = super().construct_requests(doc, ctx, **kwargs)
        if not isinstance(ctx, str):
            return list(requests)  # messages for a server of chats, which scores nothing: lm_eval says so
        letters = self.doc_to_choice(doc)
        own = requests[0].args[1].removesuffix(letters[0])
        continuations = [before + letter for before in self._found(letters).before(ctx, own) for letter in letters]
        return [copied(requests[0], (ctx, text), number) for number, text in enumerate(continuations)]

    def process_results(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """Score one sample, by the continuations of the requests that were answered."""
        if not callable(self.config.process_results):
            return {}
        sent = [request.args[1] for request in self.asked(doc)]
        letters = self.doc_to_choice(doc)
        rounds: list[Scores] = [{}]
        for at in range(0, len(sent), len(letters)):
            if sent[at] in rounds[-1]:
                rounds.append({})  # a spelling comes again: the next rotation
            rounds[-1][sent[at]] = [value for value, _ in results[at : at + len(letters)]]
        return super().process_results(doc, rounds)

    def _found(self, letters: Sequence[str]) -> Spellings:
        if self._spellings is None:
            model = asking_model(None if self.template is None else self.template.method)
            tokens = Tokens.of_model(model) or Tokens.of_metadata(self.config.metadata or {})
            if tokens is None:
                log.warning(
                    "task %s: the tokenizer is not known, so the letters are scored in one spelling only; pass "
                    'metadata={"tokenizer": NAME}',
                    self.config.task,
                )
            self._spellings = Spellings(tokens, letters)
        return self._spellings


class CyclicTask(LettersTask):
    """Asks each item as often as it has options, rotated, and scores the letters each time.

    The requests of a sample are those of `rotations` in turn.
    """

    def fewshot_context(self, doc: dict[str, Any], num_fewshot: int, **kwargs: Any) -> list[str]:
        """Build one prompt a rotation."""
        build = super().fewshot_context
        return [
            build(doc | {"options": [doc["options"][option] for option in order]}, num_fewshot, **kwargs)
            for order in rotations(len(doc["options"]))
        ]

    def construct_requests(self, doc: dict[str, Any], ctx: Sequence[str], **kwargs: Any) -> list[Any]:
        """Build the requests of all rotations, numbered through."""
        build = super().construct_requests
        requests = [request for context in ctx for request in build(doc, context, **kwargs)]
        for number, request in enumerate(requests):
            request.idx = number  # lm_eval sorts a sample's answers by this
        return requests
