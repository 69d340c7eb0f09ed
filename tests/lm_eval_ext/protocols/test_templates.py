"""Chat templates: what must be in the prompt, and the system message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lm_eval.models.api_models import JsonChatStr

from lm_eval_ext.errors import UserError
from lm_eval_ext.protocols.templates import FaithfulTemplate, missing_line, text_after
from tests.helpers.runs import evaluate
from tests.helpers.tiny import tiny_model, tiny_tokenizer

Messages = list[dict[str, str]]
CONVERSATION = [
    {"role": "system", "content": "Reply with a letter.\n\n"},
    {"role": "user", "content": " Who?\n"},
]
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
# As Llama-4, SmolVLM and Gemma-3n write it: over a text, this goes through its characters and shows none.
PARTS = (
    "{% for m in messages %}<{{ m.role }}>{% for c in m.content %}{% if c.type == 'text' %}{{ c.text }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
)
# As Mistral-3's: the user's content may be text, the system's must be parts, or a default stands in its place.
PART_OF_SYSTEM = (
    "{% if messages[0].role == 'system' %}<system>{{ messages[0].content[0].text or 'Be helpful.' }}"
    "{% set messages = messages[1:] %}{% else %}<system>Be helpful.{% endif %}{% for m in messages %}<{{ m.role }}>"
    "{{ m.content if m.content is string else m.content[0].text }}{% endfor %}<bot>"
)
TEXT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"


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
    render = FaithfulTemplate(Template(system_role=True))
    assert render(CONVERSATION) == "<system>Reply with a letter.<user>Who?<bot>"
    assert render(CONVERSATION, add_generation_prompt=False) == "<system>Reply with a letter.<user>Who?"


def test_without_a_system_role_the_message_goes_in_front_of_the_users() -> None:
    template = Template(system_role=False)
    render = FaithfulTemplate(template)
    assert [render(CONVERSATION) for _ in range(5)] == ["<user>Reply with a letter.\n\nWho?<bot>"] * 5
    assert template.dropped == 2  # lm_eval warns each time: asked once as text and once as parts, not once an item


@pytest.mark.parametrize("system_role", [True, False])
def test_a_conversation_without_a_system_message_is_left_alone(system_role: bool) -> None:
    render = FaithfulTemplate(Template(system_role))
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "B"}]
    assert render(messages) == "<user>Who?<assistant>B<bot>"
    assert render([]) == "<bot>"


def with_template(folder: Path, template: str) -> Path:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


def template_of(kind: str, folder: Path) -> Any:
    """The method that lm_eval hands to tasks: of its hf model (drops what raises) and its API models (raise)."""
    from lm_eval.models.huggingface import HFLM
    from lm_eval.models.openai_completions import LocalCompletionsAPI
    from transformers import AutoTokenizer

    if kind == "hf":
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model: Any = HFLM(pretrained=tiny_model("llama"), tokenizer=tokenizer, device="cpu")
    else:
        # Without its constructor, which needs packages for calling a server: only the rendering is wanted.
        model = LocalCompletionsAPI.__new__(LocalCompletionsAPI)
        model.model, model.tokenizer = "served", AutoTokenizer.from_pretrained(folder)
        model.tokenizer_backend, model.tokenized_requests = "huggingface", True
    return model.apply_chat_template


@pytest.mark.parametrize("kind", ["hf", "local-completions"])
@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (TEXT, "<system>Reply with a letter.<user>Who?<bot>"),
        (NO_SYSTEM + TEXT, "<user>Reply with a letter.\n\nWho?<bot>"),
        (PARTS, "<system>Reply with a letter.<user>Who?<bot>"),
        (NO_SYSTEM + PARTS, "<user>Reply with a letter.\n\nWho?<bot>"),
        (PART_OF_SYSTEM, "<system>Reply with a letter.<user>Who?<bot>"),
    ],
)
def test_every_message_reaches_the_prompt_of_every_kind_of_model(
    kind: str, template: str, expected: str, tmp_path: Path
) -> None:
    render = FaithfulTemplate(template_of(kind, with_template(tmp_path, template)))
    assert [render(CONVERSATION), render(CONVERSATION)] == [expected, expected]


@pytest.mark.parametrize("kind", ["hf", "local-completions"])
@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{% for m in messages %}<{{ m.role }}>{{ m.text }}{% endfor %}", "is not in what it renders"),
        ("{{ extra.name }}" + TEXT, "it fails (UndefinedError: 'extra' is undefined)"),
        ("{% for m in messages %}<{{ m.role }}>{{ m.content[:9] }}{% endfor %}", "'Context: two people.' is not in"),
        ("{% for m in messages %}{% for c in m.content %}{{ c }} {% endfor %}{% endfor %}", "is not in what it"),
    ],
)
def test_what_no_form_brings_into_the_prompt_is_an_error_that_names_the_template(
    kind: str, template: str, reason: str, tmp_path: Path
) -> None:
    render = FaithfulTemplate(template_of(kind, with_template(tmp_path, template)))
    with pytest.raises(UserError) as caught:
        render([{"role": "user", "content": "Context: two people.\n\nWho is it of the two?"}])
    message = str(caught.value)
    assert str(tmp_path) in message
    assert reason in message
    assert "\n" not in message
    assert "--apply_chat_template" in message


def test_a_tokenizer_without_a_template_is_one_line(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"chat_template is not set.*without --apply_chat_template"):
        FaithfulTemplate(template_of("local-completions", tmp_path))(CONVERSATION)


def test_lines_are_compared_by_their_words() -> None:
    assert missing_line('He said "so".\nWho?', '[{"content": "He said \\"so\\".\\nWho?"}]') is None  # escaped
    assert missing_line("a  b\n\n c ", "<user>\n  a b\n  c<bot>") is None  # trimmed and indented
    assert missing_line("a b", "a, b") is None
    assert missing_line("Context: x\nQuestion: y", "<user>Context: x") == "Question: y"
    assert missing_line("ab", "a b") == "ab"
    assert missing_line("", "") is None
    kept = [{"role": "user", "content": 'He\tsaid "so".\nWho?'}]  # messages kept for a server, as they are and as JSON
    for rendered in (kept, JsonChatStr(json.dumps(kept))):
        assert missing_line('He\tsaid "so".\nWho?', rendered) is None
        assert missing_line("Who else?", rendered) == "Who else?"


def test_the_end_behind_the_message() -> None:
    assert text_after("Question?\n\nAnswer:", "<u>Question?\n\nAnswer:<end>\n<bot>") == "<end>\n<bot>"
    assert text_after("Question?\n\nAnswer:", "0123456789", most=4) == "6789"


@pytest.mark.parametrize("task", ["bbq_itemlevel_demo", "bbq_itemlevel_cyclic_demo", "bbq_itemlevel_text_demo"])
def test_an_item_that_vanishes_ends_a_run_through_lm_eval(task: str, llama: Path, tmp_path: Path) -> None:
    dropping = with_template(tmp_path, "{% for m in messages %}<{{ m.role }}>{{ m.text }}{% endfor %}<bot>")
    with pytest.raises(UserError, match="is not in what it renders, '<"):
        evaluate(llama, [task], args={"tokenizer": str(dropping)}, apply_chat_template=True, limit=1)


def test_a_template_of_parts_asks_the_same_as_one_of_text(llama: Path, tmp_path: Path) -> None:
    prompts = []
    for name, template in (("text", TEXT), ("parts", PARTS)):
        args = {"tokenizer": str(with_template(tmp_path / name, template))}
        run = evaluate(llama, ["bbq_itemlevel_demo"], args=args, apply_chat_template=True, limit=2)
        prompts.append([sample["arguments"] for sample in run["samples"]["bbq_itemlevel_demo"]])
        for sample in run["samples"]["bbq_itemlevel_demo"]:
            shown = sample["arguments"][0][0]
            doc = sample["doc"]
            assert all(text in shown for text in (doc["context"], doc["question"], *doc["options"]))
    assert prompts[0] == prompts[1]


@pytest.mark.parametrize(
    ("start", "end", "lost"),
    [(0, "Question:", "'Question: "), ("Context:", None, "'Answer the multiple-choice question below.")],
)
def test_without_a_chat_template_a_prompt_that_lacks_a_line_is_an_error(
    start: Any, end: str | None, lost: str, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.api.task import ConfigurableTask

    whole = ConfigurableTask.fewshot_context

    def cut(*args: Any, **kwargs: Any) -> str:
        prompt = whole(*args, **kwargs)
        return str(prompt.split(end)[0] if end else prompt[prompt.index(start) :])

    monkeypatch.setattr(ConfigurableTask, "fewshot_context", cut)
    with pytest.raises(
        UserError, match=f"task bbq_itemlevel_demo: the prompt of bbq_demo/[A-Za-z_]*/[0-9]* lacks {lost}"
    ):
        evaluate(llama, ["bbq_itemlevel_demo"], limit=1)
