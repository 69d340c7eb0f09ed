"""Task classes for lm_eval: the parts of our scoring protocols that a YAML file cannot express.

They change how prompts and requests are built and nothing else, so that every field of their YAML files means
what lm_eval's documentation says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance

from lm_eval_ext.errors import UserError
from lm_eval_ext.tasks.answers import ROTATIONS
from lm_eval_ext.tasks.fresh import FreshTask
from lm_eval_ext.tasks.tokens import TokenCounter

__all__ = ["ChatTask", "CyclicTask", "Sampled", "SampledTask", "TextTask", "fold_system_message"]

Messages = list[dict[str, Any]]


class ChatTask(FreshTask):
    """A task whose description reaches the model the same way under every chat template.

    lm_eval needs line breaks at the end of a description where no chat template is used; under one they would
    stay inside the system turn, so messages are trimmed. Where a template knows no system role, lm_eval's hf
    model drops the description with a warning; here it goes in front of the user's message.
    """

    def build_all_requests(self, *, chat_template: Callable[..., str] | None = None, **kwargs: Any) -> None:
        """Build the requests, as lm_eval does, with messages trimmed and a system message never lost."""
        folding = None if chat_template is None else fold_system_message(chat_template)
        super().build_all_requests(chat_template=folding, **kwargs)

    def process_results(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """Score one sample; returns those metrics that the configuration aggregates, in a fixed order."""
        if not callable(self.config.process_results):
            return {}  # --predict_only puts a name in its place: nothing is to be scored
        wanted = self.aggregation()
        scored = self.config.process_results(doc, results)
        return {name: value for name, value in scored.items() if name in wanted}


class TextTask(ChatTask):
    """Scores the options' own texts, with the number of tokens of each in `doc["option_tokens"]`.

    Where the prompt ends in white space that lm_eval scores with every option, a fourth request scores it
    alone. Where it does not, a space parts prompt and option, whatever the chat template.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self._counter = TokenCounter.from_metadata(self.config.metadata or {}, f"task {self.config.task}")
        self._counted: dict[str, list[int]] = {}

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> list[Any]:
        """Build one request an option, and one for the prompt's trailing white space where it is needed."""
        requests = super().construct_requests(doc, ctx, **kwargs)
        texts = self.doc_to_choice(doc)
        if ctx and not ctx[-1].isspace():
            texts = [f" {text}" for text in texts]
        spans = [self._counter.span(ctx, text) for text in texts]
        doc["option_tokens"] = [span.tokens for span in spans]
        if all(span.whitespace for span in spans):
            requests.append(type(requests[0])(**_fields(requests[0]) | {"idx": len(requests)}))
            texts = [*texts, ""]
        for request, text in zip(requests, texts, strict=True):
            request.arguments = (ctx, text)
        return list(requests)

    def process_results(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """Score one sample, after putting its token counts back: lm_eval reads the documents anew here."""
        if not self._counted:
            self._counted = {r.doc["item"]["item_id"]: r.doc["option_tokens"] for r in self.instances}
        doc["option_tokens"] = self._counted[doc["item"]["item_id"]]
        return super().process_results(doc, results)


class CyclicTask(ChatTask):
    """Asks each item three times, with the options rotated, and scores the three letters each time.

    The nine requests of a sample are those of ROTATIONS in turn, A, B, C in each.
    """

    def fewshot_context(self, doc: dict[str, Any], num_fewshot: int, **kwargs: Any) -> list[str]:
        """Build one prompt a rotation."""
        build = super().fewshot_context
        return [
            build(doc | {"options": [doc["options"][option] for option in order]}, num_fewshot, **kwargs)
            for order in ROTATIONS
        ]

    def construct_requests(self, doc: dict[str, Any], ctx: Sequence[str], **kwargs: Any) -> list[Any]:
        """Build the requests of all rotations, numbered through."""
        build = super().construct_requests
        requests = [request for context in ctx for request in build(doc, context, **kwargs)]
        for number, request in enumerate(requests):
            request.idx = number  # lm_eval sorts a sample's answers by this
        return requests


@dataclass(frozen=True)
class Sampled:
    """What a sampled task gives to its `process_results`."""

    texts: list[str]
    """One a seed."""
    seeds: list[int]
    plain: list[float] | None
    """Natural log-probabilities of the model that the first token is A, B, C; None where they are not numbers."""
    drawn: list[float] | None
    """The same at the texts' temperature."""


class SampledTask(ChatTask):
    """Samples an item's answer once a seed, with the exact probabilities of the letters as first token.

    The first request of a sample is for texts: lm_eval sends it `repeats` times, and `compressed_hf` answers each
    copy with another of `generation_kwargs`' seeds. The second is for the letters, and is answered from the same pass.
    """

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> list[Any]:
        """Build one request for texts and one for the letters' probabilities."""
        self._protocol()
        request = super().construct_requests(doc, ctx, **kwargs)
        context, arguments = request.arguments
        task, number, _ = request.metadata
        letters = (context, arguments | {"first_token": ["A", "B", "C"]})
        return [request, Instance("generate_until", doc, letters, 1, metadata=(task, number, 1))]

    def process_results(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """Score one sample, from its texts and the probabilities of its letters."""
        # What was asked, not what the configuration says by now.
        seeds = list(self.instances[0].arguments[1]["seeds"])
        texts, (letters,) = results
        if len(texts) != len(seeds):
            raise UserError(
                f"task {self.config.task}: {len(texts)} texts for {len(seeds)} seeds; give the filter take_first_k "
                f"a k of {len(seeds)}"
            )
        first = json.loads(letters) or {"plain": None, "drawn": None}
        return super().process_results(doc, [Sampled(list(texts), seeds, **first)])

    def _protocol(self) -> list[int]:
        """The seeds, which the command line may have changed since the task was made."""
        seeds = self.config.generation_kwargs.get("seeds")
        if not isinstance(seeds, list) or len(seeds) != self.config.repeats:
            raise UserError(
                f"task {self.config.task}: {self.config.repeats} repeats for the seeds {seeds!r}; set `repeats`, and k "
                "of the filter take_first_k, to the number of seeds"
            )
        return seeds


def fold_system_message(template: Callable[..., str]) -> Callable[..., str]:
    """Wrap a chat template so that outer white space is trimmed and no system message is lost.

    Args:
        template: Renders a list of messages; one that knows no system role may leave that message out.

    Returns:
        The same, except that a system message which is missing from the rendered text is put in front of the
        first user message, with a blank line between.
    """
    known = True

    def render(messages: Messages, **kwargs: Any) -> str:
        nonlocal known
        trimmed = [message | {"content": message["content"].strip()} for message in messages]
        if not trimmed or trimmed[0]["role"] != "system":
            return template(trimmed, **kwargs)
        system, first, *rest = trimmed
        if known:
            rendered = template(trimmed, **kwargs)
            if system["content"] in rendered:
                return rendered
            known = False  # asked once a run: lm_eval warns each time it drops one
        merged = first | {"content": f"{system['content']}\n\n{first['content']}"}
        return template([merged, *rest], **kwargs)

    return render


def _fields(request: Any) -> dict[str, Any]:
    names = ("request_type", "doc", "arguments", "metadata")
    return {name: getattr(request, name) for name in names}
