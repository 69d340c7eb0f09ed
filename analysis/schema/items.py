"""The rows of every analysis: one answer each."""

from __future__ import annotations

from .columns import Column, Table

__all__ = ["ITEMS"]

ITEMS = Table(
    name="items",
    doc="One row per answer: one per item for scored protocols, one per item and seed for sampled ones.",
    columns=(
        Column(name="run", kind="string", doc="Label of the run, unique within one analysis."),
        Column(name="task", kind="string", doc="lm-eval task name."),
        Column(name="filter", kind="string", doc="lm-eval filter of the answer; 'none' where there is none."),
        Column(name="item_id", kind="string", doc="Identity of the item, stable across runs."),
        Column(name="doc_id", kind="integer", doc="lm-eval's position of the document; never used to join."),
        Column(name="benchmark", kind="string", doc="Benchmark of the item, or the task's name for plain tasks."),
        Column(name="category", kind="string", doc="Category of the item; the task's name for plain tasks."),
        Column(
            name="condition",
            kind="string",
            nullable=True,
            doc="ambig or disambig; missing where the benchmark has none.",
        ),
        Column(
            name="polarity",
            kind="string",
            nullable=True,
            doc="neg or nonneg; missing where the benchmark has none.",
        ),
        Column(
            name="cluster",
            kind="string",
            doc="Template that the item was made from: the unit of independence.",
        ),
        Column(
            name="stereotyped_groups",
            kind="string",
            nullable=True,
            doc="Groups that the item's stereotype is about, sorted and joined by ' | '; missing where there are "
            "none or the task has no items.",
        ),
        Column(
            name="option_groups",
            kind="string",
            nullable=True,
            doc="Groups that each option names, joined by ' | ', the options joined by ' || ' in their order (an "
            "option without groups is an empty string); missing where no option has groups or the task has no items.",
        ),
        Column(
            name="scheme",
            kind="string",
            nullable=True,
            doc="Axis of each role of the item's benchmark, as 'bbq: stereotype=toward, anti_stereotype=against, "
            "unknown=neutral, undetermined=none'; missing where the item has no direction.",
        ),
        Column(
            name="protocol",
            kind="string",
            doc="How the answer was got: letters, text, cyclic, sampled, sampled by another model than compressed_hf "
            "('sampled by VLLM'; 'sampled by HFLM, unseeded'), or lm-eval's output type.",
        ),
        Column(
            name="seed",
            kind="integer",
            nullable=True,
            doc="Seed of a sampled answer, or its place among the item's where the model took no seeds; missing for "
            "scored protocols.",
        ),
        Column(
            name="status",
            kind="string",
            doc="answered, unparsed (text without an answer) or unscored (no usable score).",
        ),
        Column(
            name="choice",
            kind="integer",
            nullable=True,
            doc="0-based index of the chosen option; missing unless answered.",
        ),
        Column(
            name="role",
            kind="string",
            nullable=True,
            doc="Role of the chosen option under the benchmark's own name (BBQ: stereotype, anti_stereotype, unknown, "
            "undetermined); missing unless answered, or where options have no roles.",
        ),
        Column(
            name="axis",
            kind="string",
            nullable=True,
            doc="Where the scheme puts that role: toward the stereotype, against it, neutral, off (no answer to the "
            "question) or undetermined (on no axis); missing unless answered, or where the item has no direction.",
        ),
        Column(
            name="determined",
            kind="boolean",
            nullable=True,
            doc="Whether the item's direction is told: an option lies toward the stereotype and none is undetermined, "
            "whatever was answered; missing where the item has no direction.",
        ),
        Column(
            name="correct",
            kind="boolean",
            nullable=True,
            doc="Whether the answer is the keyed one; missing where the item has no key. An unanswered item is false.",
        ),
        Column(
            name="p_toward",
            kind="float",
            nullable=True,
            doc="Probability of the options toward the stereotype among all options, in [0, 1]; missing where there "
            "are none.",
        ),
        Column(name="p_against", kind="float", nullable=True, doc="Likewise for the options against the stereotype."),
        Column(name="p_neutral", kind="float", nullable=True, doc="Likewise for the neutral options."),
        Column(name="p_off", kind="float", nullable=True, doc="Likewise for the options that answer nothing."),
        Column(
            name="letter_mass",
            kind="float",
            nullable=True,
            doc="Probability that the model gives to the option letters among all tokens, in [0, 1].",
        ),
        Column(
            name="drawn_letter_mass",
            kind="float",
            nullable=True,
            doc="Probability, at the protocol's temperature and over the whole vocabulary, that the first token drawn "
            "is one of the option letters; missing for scored protocols.",
        ),
        Column(
            name="entropy",
            kind="float",
            nullable=True,
            doc="Shannon entropy of the options' probabilities in bits.",
        ),
        Column(
            name="margin",
            kind="float",
            nullable=True,
            doc="Highest minus second highest option probability, in [0, 1].",
        ),
        Column(
            name="text",
            kind="string",
            nullable=True,
            doc="Text of a generated answer: raw for a sampled answer, what the filter left for other tasks.",
        ),
        Column(name="doc_hash", kind="string", doc="lm-eval's hash of the document."),
        Column(name="prompt_hash", kind="string", doc="lm-eval's hash of the first prompt."),
        Column(name="target_hash", kind="string", doc="lm-eval's hash of the target."),
        Column(
            name="request_hash",
            kind="string",
            doc="sha256 of everything sent to the model for the item, every context and continuation, or the "
            "generation arguments: lm-eval's `arguments` as UTF-8 JSON with sorted keys and without spaces.",
        ),
    ),
)
