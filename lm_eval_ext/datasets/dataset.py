"""What a data set is to the rest: a name, a scheme of roles, and a way to its items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lm_eval_ext.contract.item import Doc
from lm_eval_ext.contract.scheme import Scheme

__all__ = ["Dataset"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A benchmark: everything else is general."""

    name: str
    """As tasks name it: "crows_pairs"."""
    scheme: Scheme
    load: Callable[[Mapping[str, Any]], Sequence[Doc]]
    """From the user's metadata, the model arguments and the task's own settings (named `task_...`) to documents in
    their published order. Made by `document`; what it does not know it leaves alone."""
    people: str = ""
    """Which people its options name, in a few words; empty if they name none."""
    citation: str
    """Title, authors, year, and where to find it."""
    licence: str
    """Of the items."""
    tasks: Mapping[str, str] = field(default_factory=dict)
    """Tasks to be made for it without YAML: name to protocol (letters, text, cyclic, sampled). Ours have YAML."""
    version: float = 1.0
    """Of those tasks: a change of a document or a prompt raises it."""
