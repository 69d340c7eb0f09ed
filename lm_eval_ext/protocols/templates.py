"""Chat templates that leave out, refuse or do not understand what they are given.

A template is a program of the model's maker. One that reads messages otherwise than they are sent renders a prompt
without its question, and a model answers that too. So what was rendered is compared with what was said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval_ext.errors import UserError
from lm_eval_ext.protocols.asking import tokenizer_of

__all__ = ["FaithfulTemplate", "missing_line", "prompt_text", "text_after"]

Message = dict[str, Any]
_Form = tuple[bool, bool]
"""Whether the system message is folded into the user's, and whether content is sent as parts."""
_FORMS: tuple[_Form, ...] = ((False, False), (False, True), (True, False), (True, True))
_NO_WORD = re.compile(r"\W+")
_PART = re.compile(r"""['"]type['"]\s*:\s*['"]text['"]""")
"""What a template that expects text makes of a part."""


class FaithfulTemplate:
    """A chat template that shows everything it is given, or raises.

    Outer white space of messages is trimmed. Where the template raises, or leaves a line of a message out, the same is
    tried with content as a list of parts, with the system message in front of the first user message (a blank line
    between), and with both. The first form that shows everything is used for all prompts that it serves.
    """

    def __init__(self, template: Callable[..., Any]) -> None:
        """Wrap a template.

        Args:
            template: Renders a list of messages; lm_eval's is a method of the model.
        """
        self.method = template
        self._forms = list(_FORMS)
        self._last: tuple[list[Message], dict[str, Any]] = ([], {})
        self.model: Any = getattr(template, "__self__", None)
        """The model whose method the template is; None for a plain function."""

    def __call__(self, messages: Sequence[Message], **kwargs: Any) -> Any:
        """Render messages.

        Raises:
            UserError: If no form shows everything; the message names the template and what is missing.
        """
        trimmed = [message | {"content": message["content"].strip()} for message in messages]
        faults: dict[_Form, str] = {}
        for form in list(self._forms):
            if form[0] and not _has_system(trimmed):
                continue
            sent = _sent(trimmed, *form)
            try:
                rendered = self.method(sent, **kwargs)
            except Exception as error:  # templates fail in as many ways as there are programs
                faults[form] = f"it fails ({type(error).__name__}: {_first_line(error)})"
                continue
            lost = next(filter(None, (missing_line(message["content"], rendered) for message in trimmed)), None)
            if lost is None and not (form[1] and _PART.search(prompt_text(rendered))):
                self._forms.remove(form)  # to the front: lm_eval's hf model warns each time that it drops a message
                self._forms.insert(0, form)
                self._last = (sent, kwargs)
                return rendered
            faults[form] = f"{lost!r} is not in what it renders, {_end(rendered)!r}"
        # Of the forms with content as text, the one that asks least of the template.
        reason = faults.get((_has_system(trimmed), False), faults[False, False])
        raise UserError(
            f"{self.name} does not show what is asked: {reason}. Content as a list of parts does not help. Name a "
            "tokenizer whose template shows its messages, or run without --apply_chat_template."
        )

    @property
    def name(self) -> str:
        """The template by the name of its tokenizer or model, for messages."""
        tokenizer, names = tokenizer_of(self.model), ("pretrained", "model")
        known = [getattr(tokenizer, "name_or_path", None), *(getattr(self.model, name, None) for name in names)]
        name = next((name for name in known if isinstance(name, str) and name), None)
        return "the chat template" if name is None else f"the chat template of {name}"

    @property
    def source(self) -> str:
        """The text of the template, of all where there are several; "" if it is not known."""
        found = getattr(tokenizer_of(self.model), "chat_template", None)
        return "\n".join(map(str, found.values())) if isinstance(found, dict) else str(found or "")

    def again(self, **switches: Any) -> str:
        """The last messages once more, by the model's tokenizer, with further arguments of the template."""
        messages, kwargs = self._last
        arguments = getattr(self.model, "chat_template_args", {}) | switches
        add = kwargs.get("add_generation_prompt", True)
        return str(
            self.model.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=add, continue_final_message=not add, **arguments
            )
        )


def missing_line(content: str, rendered: Any) -> str | None:
    """The first line of a text that a prompt does not hold; None if all of it is there.

    Lines are compared by their words, since templates may trim, indent, quote or escape.

    Args:
        content: What was to be shown.
        rendered: The prompt, as `prompt_text` takes it.
    """
    text = prompt_text(rendered)
    if content in text:
        return None
    known = _NO_WORD.sub(" ", text)
    return next((line for line in content.splitlines() if _NO_WORD.sub(" ", line).strip() not in known), None)


def prompt_text(rendered: Any) -> str:
    """A rendered prompt as text: some of lm_eval's models keep messages, as JSON or as they are, for a server."""
    if isinstance(rendered, str):
        return rendered
    held = getattr(rendered, "prompt", None)
    messages = json.loads(held) if isinstance(held, str) else rendered
    return "\n".join(str(message["content"] if isinstance(message, dict) else message) for message in messages)


def text_after(content: str, prompt: str, most: int = 200) -> str:
    """What a prompt has behind the last line of a text; its last characters where that line was changed."""
    last = content.strip().rpartition("\n")[2]
    found = prompt.rfind(last)
    return prompt[-most:] if found < 0 else prompt[found + len(last) :]


def _has_system(messages: Sequence[Message]) -> bool:
    return len(messages) > 1 and messages[0]["role"] == "system"


def _sent(messages: Sequence[Message], folded: bool, parts: bool) -> list[Message]:
    sent = list(messages)
    if folded:
        system, first, *rest = sent
        sent = [first | {"content": f"{system['content']}\n\n{first['content']}"}, *rest]
    if parts:
        sent = [message | {"content": [{"type": "text", "text": message["content"]}]} for message in sent]
    return sent


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "no reason given")


def _end(rendered: Any, most: int = 80) -> str:
    text = prompt_text(rendered)
    return text if len(text) <= most else f"...{text[-most:]}"
