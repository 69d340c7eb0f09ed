"""Prompts that leave a thought open: the ends of real templates, and a run through lm_eval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lm_eval_ext.protocols.templates import FaithfulTemplate
from lm_eval_ext.protocols.thoughts import close_thought, open_thought, thinking_advice
from tests.helpers.runs import evaluate
from tests.lm_eval_ext.protocols.test_templates import TEXT, template_of, with_template

# The ends that published templates write, and what closes them in the texts that those models write.
OPEN = [
    ("<|Assistant|><think>\n", "<think>", "\n\n</think>\n\n"),  # DeepSeek-R1, QwQ, Qwen3-Thinking
    ("<|im_start|>assistant\n<think>", "<think>", "\n\n</think>\n\n"),
    ("<|assistant|>\n<thinking>\n", "<thinking>", "\n\n</thinking>\n\n"),
    ("<seed:bos>assistant\n<seed:think>", "<seed:think>", "\n\n</seed:think>\n\n"),  # Seed-OSS
    ("[/INST][THINK]", "[THINK]", "\n\n[/THINK]\n\n"),  # Magistral
    ("<|im_assistant|>\u25c1think\u25b7", "\u25c1think\u25b7", "\n\n\u25c1/think\u25b7\n\n"),  # Kimi
    ("assistant\n<|begin_of_thought|>\n\n", "<|begin_of_thought|>", "\n\n<|end_of_thought|>\n\n"),  # OpenThinker
    ("<|CHATBOT_TOKEN|><|START_THINKING|>", "<|START_THINKING|>", "\n\n<|END_THINKING|>\n\n"),  # Command A Reasoning
    ("<|assistant_start|><|inner_prefix|>", "<|inner_prefix|>", "\n\n<|inner_suffix|>\n\n"),  # Apertus
    ("<|assistant|><|think|>", "<|think|>", "\n\n<|/think|>\n\n"),
    ("<assistant>\n<reasoning>\n", "<reasoning>", "\n\n</reasoning>\n\n"),
    (
        "<|start|>assistant<|channel|>analysis<|message|>",  # gpt-oss
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
    ("<|turn>model\n<|channel>thought\n", "<|channel>thought", "<channel|>"),
    ("<start_of_turn>model\n<unused94>thought\n", "<unused94>thought", "<unused95>"),  # MedGemma
]
CLOSED = [
    "<|im_start|>assistant\n",
    "<|im_start|>assistant\n<think>\n\n</think>\n\n",  # Qwen3, enable_thinking=False
    "<|Assistant|></think>",  # DeepSeek-V3.1, which does not think unless asked
    "<|assistant|>\n<|begin_of_thought|><|end_of_thought|>",
    "<|START_THINKING|><|END_THINKING|>",
    "[/INST][THINK][/THINK]",
    "<|start|>assistant<|channel|>final<|message|>",
    "<|start|>assistant<|channel|>analysis<|message|><|end|><|start|>assistant<|channel|>final<|message|>",
    "<|assistant|>\n/nothink",
    "<|nothink|><|assistant|>",
    "<|turn>model\n<|channel>thought\n<channel|>",
    "[A] I think so. <b>thing</b>",
    "",
]


def plain(_: Any, **__: Any) -> str:
    return ""


@pytest.mark.parametrize(("end", "tag", "closing"), OPEN)
def test_open_tags_are_seen_and_closed(end: str, tag: str, closing: str) -> None:
    assert open_thought(end) == tag
    closed = close_thought(f"Answer:{end}", end, FaithfulTemplate(plain))
    assert closed == f"Answer:{end.rstrip()}{closing}"
    assert open_thought(closed) is None


@pytest.mark.parametrize("end", CLOSED)
def test_what_is_closed_is_left_alone(end: str) -> None:
    assert open_thought(end) is None
    assert close_thought(f"Answer:{end}", end, FaithfulTemplate(plain)) == f"Answer:{end}"
    assert thinking_advice(f"Answer:{end}", end, FaithfulTemplate(plain)) is None


OPENS = TEXT.replace("<bot>", "<bot><think>\n")
SWITCH = TEXT.replace(
    "<bot>",
    "<bot>{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}",
)
OTHER_SWITCH = TEXT.replace("<bot>", "<bot>{% if thinking is not false %}<think>{% else %}</think>{% endif %}")
CHANNELS = "{# <|channel|>analysis, <|channel|>final #}" + TEXT.replace("<bot>", "<|start|>assistant")
BY_META = """close it with --metadata '{"close_thought": true}'"""


@pytest.mark.parametrize(
    ("kind", "template", "advice"),
    [
        ("hf", TEXT, None),
        ("hf", OPENS, f"ends in an open thought (<think>); {BY_META}"),
        ("hf", SWITCH, "lets the model think before it answers; pass enable_thinking=False in --model_args"),
        (
            "hf",
            OTHER_SWITCH,
            'ends in an open thought (<think>); pass chat_template_args={"thinking": false} in --model_args',
        ),
        ("hf", CHANNELS, f"lets the model think before it answers; {BY_META}"),
        # lm_eval's API models take no arguments for the template.
        ("local-completions", SWITCH, f"lets the model think before it answers; {BY_META}"),
    ],
)
def test_the_advice_fits_template_and_model(kind: str, template: str, advice: str | None, tmp_path: Path) -> None:
    render = FaithfulTemplate(template_of(kind, with_template(tmp_path, template)))
    prompt = render([{"role": "user", "content": "Who?"}])
    assert thinking_advice(prompt, prompt.split("Who?")[1], render) == advice


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (OPENS, "<bot><think>\n\n</think>\n\n"),
        (SWITCH, "<bot><think>\n\n</think>\n\n"),
        (CHANNELS, "<|start|>assistant<|channel|>final<|message|>"),
        (TEXT, "<bot>"),
    ],
)
def test_a_thought_that_the_template_speaks_of_is_closed(template: str, end: str, tmp_path: Path) -> None:
    render = FaithfulTemplate(template_of("local-completions", with_template(tmp_path, template)))
    prompt = render([{"role": "user", "content": "Who?"}])
    assert close_thought(prompt, prompt.split("Who?")[1], render) == f"<user>Who?{end}"


def test_a_run_warns_once_or_closes_the_thought(llama: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    args = {"tokenizer": str(with_template(tmp_path, OPENS))}

    def ends(**metadata: Any) -> set[str]:
        caplog.clear()
        run = evaluate(llama, ["bbq_itemlevel_demo"], args=args, metadata=metadata, apply_chat_template=True, limit=2)
        return {sample["arguments"][0][0].split("Answer:")[1] for sample in run["samples"]["bbq_itemlevel_demo"]}

    assert ends() == {"<bot><think>\n"}
    (told,) = [record.getMessage() for record in caplog.records if "open thought" in record.getMessage()]
    assert told.startswith(f"task bbq_itemlevel_demo: the chat template of {tmp_path} ends in an open thought")
    assert ends(close_thought=True) == {"<bot><think>\n\n</think>\n\n"}
    assert not any("thought" in record.getMessage() for record in caplog.records)


def test_the_switch_in_the_model_arguments_ends_the_warning(
    llama: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    args = {"tokenizer": str(with_template(tmp_path, SWITCH)), "enable_thinking": False}
    run = evaluate(llama, ["bbq_itemlevel_demo"], args=args, apply_chat_template=True, limit=1)
    (sample,) = run["samples"]["bbq_itemlevel_demo"]
    assert sample["arguments"][0][0].endswith("Answer:<bot><think>\n\n</think>\n\n")
    assert "think before it answers" not in caplog.text
