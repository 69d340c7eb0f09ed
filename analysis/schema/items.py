"""The rows of every analysis, one answer each: the one list of their fields, for readers, tests and docs."""

from __future__ import annotations

from functools import partial

from .columns import Table
from .fields import SourceField, field

__all__ = ["ITEMS", "ITEM_FIELDS"]

_optional = partial(field, nullable=True)

ITEM_FIELDS: tuple[SourceField, ...] = (
    field("run", "string", "file", "$run", "$run", "Label of the run, unique within one analysis."),
    field("task", "string", "file", "$task", "$task", "lm-eval task name."),
    field(
        "filter", "string", "line", "filter", "filter",
        "lm-eval filter of the answer; 'none' where there is none.",
    ),
    field("item_id", "string", "document", "doc.item.item_id", "$item_id", "Identity of the item, stable across runs."),
    field(
        "doc_id", "integer", "line", "doc_id", "doc_id",
        "lm-eval's position of the document; never used to join.",
    ),
    field(
        "benchmark", "string", "document", "doc.item.benchmark", "$task",
        "Benchmark of the item, or the task's name for plain tasks.",
    ),
    field(
        "category", "string", "document", "doc.item.category", "$task",
        "Category of the item; the task's name for plain tasks.",
    ),
    _optional(
        "condition", "string", "document", "doc.item.condition", None,
        "ambig or disambig; missing where the benchmark has none.",
    ),
    _optional(
        "polarity", "string", "document", "doc.item.polarity", None,
        "neg or nonneg; missing where the benchmark has none.",
    ),
    field(
        "cluster", "string", "document", "doc.item.cluster", "$item_id",
        "Template that the item was made from: the unit of independence.",
    ),
    _optional(
        "stereotyped_groups", "string", "document", "doc.item.stereotyped_groups", None,
        "Groups that the item's stereotype is about, sorted and joined by ' | '; missing where there are "
        "none or the task has no items.",
        coding="groups",
    ),
    _optional(
        "option_groups", "string", "document", "doc.item.groups", None,
        "Groups that each option names, joined by ' | ', the options joined by ' || ' in their order (an "
        "option without groups is an empty string); missing where no option has groups or the task has no items.",
        coding="options",
    ),
    _optional(
        "scheme", "string", "document", "$options.scheme", None,
        "Axis of each role of the item's benchmark, as 'bbq: stereotype=toward, anti_stereotype=against, "
        "unknown=neutral, undetermined=none'; missing where the item has no direction.",
    ),
    _optional(
        "option_axes", "string", "document", "$options.axes", None,
        "Axis of each option, joined by ' | ' in their order; missing where the item has no direction.",
    ),
    field(
        "protocol", "string", "line", "answer.protocol", "$output_type",
        "How the answer was got: letters, text, cyclic, sampled, sampled by another model than compressed_hf "
        "('sampled by VLLM'; 'sampled by HFLM, unseeded'), or lm-eval's output type.",
    ),
    _optional(
        "seed", "integer", "answer", "answer.texts.seed", None,
        "Seed of a sampled answer, or its place among the item's where the model took no seeds; missing for "
        "scored protocols.",
    ),
    field(
        "status", "string", "answer", "$answer.status", "$answer.status",
        "answered, unparsed (text without an answer) or unscored (no usable score).",
    ),
    _optional(
        "choice", "integer", "answer", "$answer.choice", "$answer.choice",
        "0-based index of the chosen option; missing unless answered.",
    ),
    _optional(
        "role", "string", "answer", "$answer.role", None,
        "Role of the chosen option under the benchmark's own name (BBQ: stereotype, anti_stereotype, unknown, "
        "undetermined); missing unless answered, or where options have no roles.",
    ),
    _optional(
        "axis", "string", "answer", "$answer.axis", None,
        "Where the scheme puts that role: toward the stereotype, against it, neutral, off (no answer to the "
        "question) or undetermined (on no axis); missing unless answered, or where the item has no direction.",
    ),
    _optional(
        "determined", "boolean", "document", "$options.determined", None,
        "Whether the item's direction is told: an option lies toward the stereotype and none is undetermined, "
        "whatever was answered; missing where the item has no direction.",
    ),
    _optional(
        "correct", "boolean", "answer", "$answer.correct", "$answer.correct",
        "Whether the answer is the keyed one; missing where the item has no key. An unanswered item is false.",
    ),
    _optional(
        "metric", "string", "document", "$options.metric", "$metric",
        "lm-eval metric that says whether the answer is right: acc, exact_match, em or acc_norm, the first that the "
        "task's filter has and that is 0 or 1 in all lines, else the first such metric that is higher for the better; "
        "missing where none is.",
    ),
    _optional(
        "metrics", "string", "line", "$metrics", "$metrics",
        "JSON object of every metric of the line that is a number, by name, null for one that is not defined for it; "
        "missing for tasks whose answers have columns of their own, and where there is none.",
    ),
    _optional(
        "p_choice", "float", "answer", "$probability.choice", "$answer.p_choice",
        "Probability of the chosen option among the options, in [0, 1]; of a sampled answer, that of the option's "
        "letter as first token. Missing unless answered, or where the log does not tell.",
    ),
    _optional(
        "p_toward", "float", "line", "$probability.toward", None,
        "Probability of the options toward the stereotype among all options, in [0, 1]; missing where there are none.",
    ),
    _optional(
        "p_against", "float", "line", "$probability.against", None,
        "Likewise for the options against the stereotype.",
    ),
    _optional("p_neutral", "float", "line", "$probability.neutral", None, "Likewise for the neutral options."),
    _optional(
        "p_off", "float", "line", "$probability.off", None,
        "Likewise for the options that answer nothing.",
    ),
    _optional(
        "p_key", "float", "line", "$probability.key", None,
        "Probability of the keyed option among all options, in [0, 1]; missing without a key.",
    ),
    _optional(
        "probabilities", "list", "line", "$probability.options", "$answer.probs",
        "Probability of each option among all options, in their order, each in [0, 1]; missing where the log does not "
        "tell. Of a sampled answer, those of the options' letters as first token.",
    ),
    _optional(
        "letter_mass", "float", "line", "answer.letter_mass", None,
        "Probability that the model gives to the option letters among all tokens, in [0, 1].",
    ),
    _optional(
        "drawn_letter_mass", "float", "line", "answer.drawn_letter_mass", None,
        "Probability, at the protocol's temperature and over the whole vocabulary, that the first token drawn "
        "is one of the option letters; missing for scored protocols.",
    ),
    _optional(
        "entropy", "float", "line", "answer.entropy", "$answer.entropy",
        "Shannon entropy of the options' probabilities in bits.",
    ),
    _optional(
        "margin", "float", "line", "answer.margin", "$answer.margin",
        "Highest minus second highest option probability, in [0, 1].",
    ),
    _optional(
        "text", "string", "answer", "answer.texts.text", "$answer.text",
        "Text of a generated answer: raw for a sampled answer, what the filter left for other tasks. Where it left "
        "several (repeats), all of them as a JSON array.",
    ),
    field("doc_hash", "string", "line", "doc_hash", "doc_hash", "lm-eval's hash of the document."),
    field("prompt_hash", "string", "line", "prompt_hash", "prompt_hash", "lm-eval's hash of the first prompt."),
    field("target_hash", "string", "line", "target_hash", "target_hash", "lm-eval's hash of the target."),
    field(
        "request_hash", "string", "document", "$request_hash", "$request_hash",
        "sha256 of everything sent to the model for the item, every context and continuation, or the "
        "generation arguments: lm-eval's `arguments` as UTF-8 JSON with sorted keys and without spaces.",
    ),
)  # fmt: skip
"""A column of ITEMS is added here and nowhere else; only what a `$` place means is code of its own."""

ITEMS = Table(
    name="items",
    doc="One row per answer: one per item for scored protocols, one per item and seed for sampled ones.",
    columns=tuple(entry.column for entry in ITEM_FIELDS),
)
