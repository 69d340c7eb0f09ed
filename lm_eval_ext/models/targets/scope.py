"""How far a step reaches: what the search for its matrices asks of it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Scope"]


class Scope(Protocol):
    """Whatever says which matrices are meant; every method does."""

    @property
    def method(self) -> str:
        """Whose matrices they are, for messages."""

    @property
    def exclude(self) -> tuple[str, ...]:
        """Shell patterns of names to leave alone; see `excludes.split_excluded`."""

    @property
    def targets_embeddings(self) -> bool:
        """Whether the input embedding is among the targets."""

    @property
    def targets_lm_head(self) -> bool:
        """Whether the output layer is among the targets."""
