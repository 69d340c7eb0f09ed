"""What a backend says that it did. It is kept beside the evidence and held against it; it proves nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Claim"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a backend says of a checkpoint that it made."""

    sparsity: float | None = None
    """Share of zeros in the matrices that were meant, in [0, 1]; None where nothing was pruned."""
    bits: float | None = None
    """Bits a weight, scales not counted; None where nothing was quantized."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Matrices that were meant and are left as they were, by parameter name, each with its reason."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Versions, seconds, settings: whatever a reader of the results should know, in plain types."""

    def as_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)
