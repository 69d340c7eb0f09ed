"""BBQ as a data set, with the demonstration items in its format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lm_eval_ext.contract.item import Doc
from lm_eval_ext.datasets.bbq.items import BBQ_SCHEME, bbq_docs
from lm_eval_ext.datasets.bbq.rows import CATEGORIES
from lm_eval_ext.datasets.bbq.source import bbq_rows, choose_source
from lm_eval_ext.datasets.choice import narrowed
from lm_eval_ext.datasets.dataset import Dataset

__all__ = ["BBQ", "load_bbq"]


def load_bbq(metadata: Mapping[str, Any]) -> list[Doc]:
    """Load BBQ's items, or the demonstration items.

    Args:
        metadata: `bbq_source` and `bbq_dir` choose the source; `bbq_categories`, a list of names, narrows the task. The
            task itself may set `task_source`, which wins; `task_categories`, a list, None for all; `task_condition`,
            "ambig" or "disambig", None for both.

    Returns:
        The documents, in the files' order.

    Raises:
        UserError: If the items cannot be had, or `bbq_categories` names none or other than the task's categories.
    """
    own = metadata.get("task_source")
    source = choose_source({"bbq_source": own} if own else metadata)
    wanted = narrowed("bbq_categories", metadata, CATEGORIES)
    benchmark = "bbq_demo" if source.kind == "demo" else "bbq"
    return bbq_docs(bbq_rows(source, wanted), benchmark, metadata.get("task_condition"))


BBQ = Dataset(
    name="bbq",
    scheme=BBQ_SCHEME,
    load=load_bbq,
    people="the groups of the two people that an item is about",
    citation=(
        "BBQ: A Hand-Built Bias Benchmark for Question Answering. Parrish et al. 2022. "
        "https://aclanthology.org/2022.findings-acl.165/"
    ),
    licence="CC BY 4.0",
)
