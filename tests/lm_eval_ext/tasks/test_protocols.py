"""Chat templates and the system message."""

from __future__ import annotations

from typing import Any

import pytest

from lm_eval_ext.tasks.protocols import fold_system_message

Messages = list[dict[str, str]]
CONVERSATION = [
    {"role": "system", "content": "Reply with a letter.\n\n"},
    {"role": "user", "content": " Who?\n"},
]


class Template:
    """A chat template that knows a system role, or drops such a message as lm_eval's hf model does then."""

    def __init__(self, system_role: bool) -> None:
        self.system_role = system_role
        self.dropped = 0

    def __call__(self, messages: Messages, add_generation_prompt: bool = True) -> str:
        kept = [m for m in messages if self.system_role or m["role"] != "system"]
        self.dropped += len(messages) - len(kept)
        return "".join(f"<{m['role']}>{m['content']}" for m in kept) + "<bot>" * add_generation_prompt


def test_a_system_role_is_used_with_messages_trimmed() -> None:
    render = fold_system_message(Template(system_role=True))
    assert render(CONVERSATION) == "<system>Reply with a letter.<user>Who?<bot>"
    assert render(CONVERSATION, add_generation_prompt=False) == "<system>Reply with a letter.<user>Who?"


def test_without_a_system_role_the_message_goes_in_front_of_the_users() -> None:
    template = Template(system_role=False)
    render = fold_system_message(template)
    assert [render(CONVERSATION) for _ in range(5)] == ["<user>Reply with a letter.\n\nWho?<bot>"] * 5
    assert template.dropped == 1  # lm_eval warns each time: asked once, not once an item


@pytest.mark.parametrize("system_role", [True, False])
def test_a_conversation_without_a_system_message_is_left_alone(system_role: bool) -> None:
    render = fold_system_message(Template(system_role))
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "B"}]
    assert render(messages) == "<user>Who?<assistant>B<bot>"
    assert render([]) == "<bot>"
