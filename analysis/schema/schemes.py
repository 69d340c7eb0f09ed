"""What a benchmark's roles mean: each lies on an axis, and the analysis computes on axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["AXES", "BBQ", "UNDETERMINED", "Scheme", "scheme_of"]

AXES = ("toward", "against", "neutral", "off")
"""Toward the stereotype, against it, neither, or no answer to the question."""
UNDETERMINED = "undetermined"
"""What the column `axis` says of a role that is declared to lie on none."""
_NONE = "none"
"""How the text of a scheme writes that a role lies on no axis."""


@dataclass(frozen=True)
class Scheme:
    """The roles of a benchmark and their axes."""

    name: str
    """The benchmark's, without ':'."""
    axes: Mapping[str, str | None]
    """By role (a name without '=' and ','), one of AXES; None for a role that is declared to lie on none."""

    @property
    def text(self) -> str:
        """As the column `scheme` holds it: "bbq: stereotype=toward, ..., undetermined=none"."""
        return f"{self.name}: " + ", ".join(f"{role}={axis or _NONE}" for role, axis in self.axes.items())

    def axis(self, role: str) -> str:
        """Axis of a role, UNDETERMINED for one on none. Raises KeyError for a role that the scheme lacks."""
        return self.axes[role] or UNDETERMINED

    def roles(self, axis: str) -> tuple[str, ...]:
        """The roles on an axis (or UNDETERMINED), in the scheme's order."""
        return tuple(role for role in self.axes if self.axis(role) == axis)


BBQ = Scheme("bbq", {"stereotype": "toward", "anti_stereotype": "against", "unknown": "neutral", "undetermined": None})
"""BBQ's own, which is also that of logs whose items have these roles and no scheme."""


@lru_cache(maxsize=1024)
def scheme_of(text: str) -> Scheme:
    """The scheme that a text of the column `scheme` holds.

    Raises:
        ValueError: If it is no such text.
    """
    name, colon, rest = text.partition(": ")
    pairs = [pair.partition("=") for pair in rest.split(", ")]
    if not colon or any(axis not in (*AXES, _NONE) for _, _, axis in pairs):
        raise ValueError(f"expected 'name: role=axis, ...' with axes of {', '.join(AXES)}, {_NONE}; got {text!r}")
    return Scheme(name, {role: None if axis == _NONE else axis for role, _, axis in pairs})
