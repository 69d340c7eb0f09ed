"""Chat templates that let the model think before it answers.

A letter that is scored where a thought begins says how a thought begins. Such a prompt ends in an open think tag, or
leaves the first word to a model that was taught to open one.
"""

from __future__ import annotations

import re
from typing import Any

from lm_eval_ext.protocols.templates import FaithfulTemplate

__all__ = ["close_thought", "open_thought", "thinking_advice"]

# <think>, <thinking>, <seed:think>, [THINK], ◁think▷, <|begin_of_thought|>, <|START_THINKING|>, <|think_start|>,
# <reasoning>, <|inner_prefix|> (Apertus); and what needs a name behind it: the channels of gpt-oss and Gemma, and
# MedGemma's <unused94>.
_TAG = re.compile(
    r"(?P<open><\|channel\|?>\s*(?:analysis|thought)\s*(?:<\|message\|>)?|<unused94>\s*thought)"
    r"|(?P<close><channel\|>|<unused95>|<\|channel\|>\s*final|<\|end\|>)"
    r"|(?P<tag>(?:<\|?|\[|◁)/?(?!no)[\w:.\-]*(?:think|thought|reasoning|inner_(?:prefix|suffix))[\w:.\-]*(?:\|?>|\]|▷))",
    re.IGNORECASE,
)
_CLOSES = re.compile(r"/|(?<![a-z])end(?![a-z])|suffix", re.IGNORECASE)
_SWITCHES = ("enable_thinking", "thinking")
_PAIRS = (("begin", "end"), ("start", "end"), ("prefix", "suffix"))
_FINAL = "<|channel|>final<|message|>"


def open_thought(tail: str) -> str | None:
    """The think tag that a prompt leaves open.

    Args:
        tail: What a template put behind the user's message.

    Returns:
        The last opening tag, if nothing closes it again; None otherwise.
    """
    found = None
    for match in _TAG.finditer(tail):
        closes = match["close"] or (match["tag"] and _CLOSES.search(match["tag"]))
        found = None if closes else match[0].strip()
    return found


def close_thought(prompt: str, tail: str, template: FaithfulTemplate) -> str:
    """A prompt with an empty thought: the open tag, or the one that the template speaks of, is closed.

    Args:
        prompt: The rendered prompt.
        tail: Its end, behind the user's message.
        template: What rendered it.

    Returns:
        The prompt as it is, where its thought is closed already or the template knows none.
    """
    tag = open_thought(tail)
    if tag is not None:
        return f"{prompt.rstrip()}{_closing(tag)}"
    if any(_TAG.finditer(tail)):
        return prompt
    if "<|channel|>" in template.source:
        return f"{prompt}{_FINAL}"
    known = next((m["tag"] for m in _TAG.finditer(template.source) if m["tag"] and not _CLOSES.search(m["tag"])), None)
    return prompt if known is None else f"{prompt}{known}{_closing(known)}"


def thinking_advice(prompt: str, tail: str, template: FaithfulTemplate) -> str | None:
    """What a user should know of a prompt that is scored where a thought would stand.

    Args:
        prompt: The rendered prompt.
        tail: Its end, behind the user's message.
        template: What rendered it.

    Returns:
        Half a line, from what the template does to what to pass; None for a prompt at which the answer comes first.
    """
    tag = open_thought(tail)
    switch = next((name for name in _SWITCHES if name in template.source and _switched(prompt, template, name)), None)
    channels = "<|channel|>" in template.source and "<|channel|>" not in tail
    if tag is None and switch is None and not channels:
        return None
    what = f"ends in an open thought ({tag})" if tag else "lets the model think before it answers"
    if switch is None or not hasattr(template.model, "chat_template_args"):
        return f"""{what}; close it with --metadata '{{"close_thought": true}}'"""
    given = "enable_thinking=False" if switch == "enable_thinking" else f'chat_template_args={{"{switch}": false}}'
    return f"{what}; pass {given} in --model_args"


def _switched(prompt: str, template: FaithfulTemplate, switch: str) -> bool:
    """Whether a switch of the template, turned off, gives another prompt, without an open thought."""
    try:
        other: Any = template.again(**{switch: False})
    except Exception:  # a template may fail in any way, and then this is no switch of it
        return False
    return other != prompt and open_thought(other[-200:]) is None


def _closing(tag: str) -> str:
    """What closes a tag, with the white space around it that templates write around an empty thought."""
    lowered = tag.lower()
    if lowered.startswith("<|channel|>"):
        return f"<|end|><|start|>assistant{_FINAL}"
    if lowered.startswith(("<|channel>", "<unused94>")):
        return "<channel|>" if lowered.startswith("<|channel>") else "<unused95>"
    for word, other in _PAIRS:
        at = lowered.find(word)
        if at >= 0:
            closing = tag[:at] + (other.upper() if tag[at].isupper() else other) + tag[at + len(word) :]
            return f"\n\n{closing}\n\n"
    # <|think|> is closed by <|/think|>, <think> by </think>.
    start = 2 if tag.startswith("<|") else 1
    return f"\n\n{tag[:start]}/{tag[start:]}\n\n"
