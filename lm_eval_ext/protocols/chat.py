"""Task classes for lm_eval: the parts of our scoring protocols that a YAML file cannot express.

They change how prompts and requests are built and nothing else, so that every field of their YAML files means
what lm_eval's documentation says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

from lm_eval_ext.contract.answer import Answer
from lm_eval_ext.errors import UserError
from lm_eval_ext.protocols.documents import ItemTask
from lm_eval_ext.protocols.fresh import FreshTask
from lm_eval_ext.protocols.metrics import Logged
from lm_eval_ext.protocols.report import RunReport
from lm_eval_ext.protocols.templates import FaithfulTemplate, missing_line, text_after
from lm_eval_ext.protocols.thoughts import close_thought, thinking_advice

__all__ = ["ChatTask", "copied"]

log = logging.getLogger(__name__)


class ChatTask(FreshTask, ItemTask):
    """A task whose description reaches the model the same way under every chat template.

    lm_eval needs line breaks at the end of a description where no chat template is used; under one they would
    stay inside the system turn, so messages are trimmed. Where a template knows no system role, lm_eval's hf
    model drops the description with a warning, others raise; here it goes in front of the user's message.
    """

    template: FaithfulTemplate | None = None
    """What renders the prompts of this run; None without a chat template."""
    _advised = False
    _by_item: Mapping[str, list[Any]] | None = None
    _report: RunReport | None = None

    def build_all_requests(self, *, chat_template: Callable[..., str] | None = None, **kwargs: Any) -> None:
        """Build the requests, as lm_eval does, through a template that shows everything it is given."""
        self.template = None if chat_template is None else FaithfulTemplate(chat_template)
        self._advised, self._by_item, self._report = False, None, None
        super().build_all_requests(chat_template=self.template, **kwargs)

    def fewshot_context(self, doc: dict[str, Any], num_fewshot: int, **kwargs: Any) -> Any:
        """Build the prompt, with the thought closed that a chat template opens where `close_thought` asks for it.

        Raises:
            UserError: If it lacks a line of what the task shows of the document, or of the description.
        """
        prompt = super().fewshot_context(doc, num_fewshot, **kwargs)
        shown = self.doc_to_text(doc)
        described = self.resolve_field(doc, self.config.description) or ""
        lost = missing_line(described, prompt) or missing_line(shown, prompt)
        if lost is not None:
            raise UserError(f"task {self.config.task}: the prompt of {doc['item']['item_id']} lacks {lost!r}")
        if self.template is None or not isinstance(prompt, str):
            return prompt
        tail = text_after(shown, prompt)
        if (self.config.metadata or {}).get("close_thought"):
            prompt = close_thought(prompt, tail, self.template)
        elif not self._advised and (advice := thinking_advice(prompt, tail, self.template)):
            log.warning("task %s: %s %s", self.config.task, self.template.name, advice)
        self._advised = True
        return prompt

    def process_results(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """Score one sample; returns those metrics that the configuration aggregates, in a fixed order."""
        if not callable(self.config.process_results):
            return {}  # --predict_only puts a name in its place: nothing is to be scored
        wanted = self.aggregation()
        scored = self.config.process_results(doc, results)
        self._count(scored["answer"])
        return self.with_examples(doc, Logged({name: value for name, value in scored.items() if name in wanted}))

    def asked(self, doc: Mapping[str, Any]) -> list[Any]:
        """The requests that were answered for a document, in the order of their answers."""
        if self._by_item is None:
            found: dict[str, list[Any]] = {}
            for request in sorted(self.instances, key=lambda request: request.idx):
                found.setdefault(request.doc["item"]["item_id"], []).append(request)
            self._by_item = found
        return self._by_item[doc["item"]["item_id"]]

    def _count(self, answer: Answer) -> None:
        """Keep an answer for the report."""
        if self._report is None:
            advice = "try --apply_chat_template" if self.template is None else "look at the prompt's end in the log"
            items = len({request.doc_id for request in self.instances or ()})
            self._report = RunReport(str(self.config.task), items, advice)
        self._report.add(answer)


def copied(request: Any, arguments: tuple[Any, ...], number: int) -> Any:
    """Another request of the same sample, with everything that is known of it."""
    other = copy(request)
    other.arguments, other.idx, other.resps, other.filtered_resps = arguments, number, [], {}
    return other
