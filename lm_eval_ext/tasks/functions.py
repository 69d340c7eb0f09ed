"""What the tasks' YAML files call, whatever the data set.

class: !function lm_eval_ext.tasks.functions.LettersTask
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval_ext.datasets.catalogue import find_dataset
from lm_eval_ext.datasets.table import documents_table
from lm_eval_ext.protocols.answers import cyclic_answer, letters_answer, sampled_answer, text_answer
from lm_eval_ext.protocols.lettering import letters
from lm_eval_ext.protocols.letters import CyclicTask, LettersTask
from lm_eval_ext.protocols.metrics import (
    aggregate_answered,
    aggregate_bias_amb,
    aggregate_bias_disamb,
    aggregate_rate,
    sample_metrics,
    sampled_metrics,
)
from lm_eval_ext.protocols.order import balanced
from lm_eval_ext.protocols.sampled import Sampled, SampledTask
from lm_eval_ext.protocols.text import TextTask

__all__ = [
    "CyclicTask",
    "LettersTask",
    "SampledTask",
    "TextTask",
    "aggregate_answered",
    "aggregate_bias_amb",
    "aggregate_bias_disamb",
    "aggregate_rate",
    "lettered_prompt",
    "letters_of",
    "load_items",
    "plain_prompt",
    "process_cyclic",
    "process_letters",
    "process_sampled",
    "process_text",
]


def load_items(task_dataset: str, **metadata: Any) -> dict[str, Any]:
    """Load a task's items; lm_eval calls this with `dataset_kwargs`, the metadata and all model arguments.

    Args:
        task_dataset: The data set's name.
        **metadata: What the data set's `load` reads.

    Returns:
        The one split "test", in an order of which any beginning is a sample of the whole (see `balanced`).

    Raises:
        UserError: If there is no such data set, or its items cannot be had.
    """
    dataset = find_dataset(task_dataset)
    return {"test": documents_table(balanced(dataset.load(metadata)), dataset.scheme)}


def letters_of(doc: Mapping[str, Any]) -> list[str]:
    """The letters of a document's options."""
    return letters(len(doc["options"]))


def lettered_prompt(doc: Mapping[str, Any]) -> str:
    """Show context, question and the options as A) B) C), in the layout of the Rath & Maliakkal studies."""
    shown = "\n".join(f"{letter}) {option}" for letter, option in zip(letters_of(doc), doc["options"], strict=True))
    return f"Context: {doc['context']}\n\nQuestion: {doc['question']}\n\n{shown}\n\nAnswer:"


def plain_prompt(doc: Mapping[str, Any]) -> str:
    """Show context and question only, in the layout of PostTrainingBiasBench's BBQ."""
    return f"{doc['context']}\n\n{doc['question']}"


def process_letters(doc: dict[str, Any], results: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Score a sample by its letters, in every spelling."""
    (scores,) = results
    return sample_metrics(doc["item"], letters_answer(scores, doc["item"]["roles"]))


def process_text(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Score a sample by its options' texts; one more result is the prompt's trailing white space."""
    values, count = [value for value, _ in results], len(doc["options"])
    whitespace = values[count] if len(values) > count else 0.0
    answer = text_answer(values[:count], doc["option_tokens"], doc["item"]["roles"], doc["options"], whitespace)
    return sample_metrics(doc["item"], answer)


def process_cyclic(doc: dict[str, Any], results: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Score a sample by its letters in every rotation."""
    return sample_metrics(doc["item"], cyclic_answer(results, doc["item"]["roles"]))


def process_sampled(doc: dict[str, Any], results: Sequence[Sampled]) -> dict[str, Any]:
    """Score a sample by its sampled texts, with the letters' exact probabilities beside them."""
    (drawn,) = results
    roles = doc["item"]["roles"]
    answer = sampled_answer(drawn.texts, drawn.seeds, drawn.plain, drawn.drawn, roles, texts_only=drawn.texts_only)
    return sampled_metrics(doc["item"], answer)
