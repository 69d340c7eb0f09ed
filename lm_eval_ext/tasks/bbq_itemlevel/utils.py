"""What the YAML files of this folder call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval_ext.datasets.bbq.items import bbq_docs, bbq_features
from lm_eval_ext.datasets.bbq.rows import CATEGORIES
from lm_eval_ext.datasets.bbq.sources import choose_source, read_rows
from lm_eval_ext.errors import UserError, unknown_name
from lm_eval_ext.protocols.answers import cyclic_answer, letters_answer, sampled_answer, text_answer
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
    "load_items",
    "plain_prompt",
    "process_cyclic",
    "process_letters",
    "process_sampled",
    "process_text",
]


def load_items(
    task_categories: Sequence[str] | None = None,
    task_condition: str | None = None,
    task_source: str | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """Load a task's items; lm_eval calls this with `dataset_kwargs`, the metadata and all model arguments.

    Args:
        task_categories: BBQ's categories, None for all.
        task_condition: "ambig" or "disambig", None for both.
        task_source: A source that the task insists on; the user's choice does not change it.
        **metadata: `bbq_source` and `bbq_dir` choose the source (see `choose_source`), `bbq_categories` (a list of
            names) narrows the task to some of its categories.

    Returns:
        The one split "test", in an order of which any beginning is a sample of the whole (see `balanced`).

    Raises:
        UserError: If the source is unknown or `bbq_categories` names none or other than the task's categories.
    """
    from datasets import Dataset

    source = choose_source({"bbq_source": task_source} if task_source else metadata)
    rows = read_rows(source, _narrowed(task_categories, metadata.get("bbq_categories")))
    docs = balanced(bbq_docs(rows, source.benchmark, task_condition))
    return {"test": Dataset.from_list([dict(doc) for doc in docs], features=bbq_features())}


def _narrowed(own: Sequence[str] | None, wanted: Any) -> Sequence[str] | None:
    """The categories to read: those wanted, in the task's order; all of the task's if none is named."""
    if wanted is None:
        return own
    known = CATEGORIES if own is None else own
    names = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(names, list) or not names:
        raise UserError(f"bbq_categories: expected a list of categories such as {list(known[:2])}, got {wanted!r}")
    for name in names:
        if name not in known:
            raise unknown_name("category of this task in bbq_categories", str(name), list(known))
    return [name for name in known if name in names]


def lettered_prompt(doc: dict[str, Any]) -> str:
    """Show context, question and the options as A) B) C), in the layout of the Rath & Maliakkal studies."""
    shown = "\n".join(f"{letter}) {option}" for letter, option in zip("ABC", doc["options"], strict=True))
    return f"Context: {doc['context']}\n\nQuestion: {doc['question']}\n\n{shown}\n\nAnswer:"


def plain_prompt(doc: dict[str, Any]) -> str:
    """Show context and question only, in the layout of PostTrainingBiasBench's BBQ."""
    return f"{doc['context']}\n\n{doc['question']}"


def process_letters(doc: dict[str, Any], results: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Score a sample by its three letters, in every spelling."""
    (scores,) = results
    return sample_metrics(doc["item"], letters_answer(scores, doc["item"]["roles"]))


def process_text(doc: dict[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Score a sample by its three options' texts; a fourth result is the prompt's trailing white space."""
    values = [value for value, _ in results]
    whitespace = values[3] if len(values) > 3 else 0.0
    answer = text_answer(values[:3], doc["option_tokens"], doc["item"]["roles"], doc["options"], whitespace)
    return sample_metrics(doc["item"], answer)


def process_cyclic(doc: dict[str, Any], results: Sequence[Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """Score a sample by its letters in three rotations."""
    return sample_metrics(doc["item"], cyclic_answer(results, doc["item"]["roles"]))


def process_sampled(doc: dict[str, Any], results: Sequence[Sampled]) -> dict[str, Any]:
    """Score a sample by its drawn texts, with the letters' exact probabilities beside them."""
    (drawn,) = results
    roles = doc["item"]["roles"]
    answer = sampled_answer(drawn.texts, drawn.seeds, drawn.plain, drawn.drawn, roles, texts_only=drawn.texts_only)
    return sampled_metrics(doc["item"], answer)
