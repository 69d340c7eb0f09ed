"""The scheme of a benchmark's roles: on which axis each of them lies.

A role is what an option is in its benchmark ("stereotype", "sent_less", "yes"). A benchmark with a direction says of
each of its roles whether it goes toward the stereotype, against it, is neutral, or off (no answer to the question).
One without a direction says nothing of its roles: there are choices, and right and wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypedDict, get_args

from lm_eval_ext.errors import UserError

__all__ = ["AXES", "Axis", "Scheme", "SchemeRecord"]

Axis = Literal["toward", "against", "neutral", "off"]
AXES: tuple[Axis, ...] = get_args(Axis)
_NAME = re.compile(r"[^\s,:=|]([^,:=|]*[^\s,:=|])?")
"""Names are joined to one text in tables, by these characters."""


class SchemeRecord(TypedDict):
    """A scheme as it is logged with every item."""

    name: str
    axes: dict[str, Axis | None]


@dataclass(frozen=True)
class Scheme:
    """Which axis each role of a benchmark lies on."""

    name: str
    """Of the benchmark: "bbq"."""
    axes: Mapping[str, Axis | None] = field(default_factory=dict)
    """By role. None: an item of this role has no direction that could be told. Empty: the benchmark has none."""

    def __post_init__(self) -> None:
        """Check the names and axes.

        Raises:
            UserError: If a name can't stand in a table, an axis is none of the four, or none or all of the axes are
                toward or against.
        """
        for name in (self.name, *self.axes):
            if not isinstance(name, str) or _NAME.fullmatch(name) is None:
                raise UserError(f"scheme {self.name!r}: expected names of text without , : = |, got {name!r}")
        for role, axis in self.axes.items():
            if axis is not None and axis not in AXES:
                raise UserError(
                    f"scheme {self.name}: role {role!r} lies on {axis!r}, expected {', '.join(AXES)} or None"
                )
        if self.axes and not {"toward", "against"} <= set(self.axes.values()):
            raise UserError(
                f"scheme {self.name}: a direction needs a role toward the stereotype and one against it, got "
                f"{dict(self.axes)}; a benchmark without a direction has no axes"
            )
        object.__setattr__(self, "axes", MappingProxyType(dict(self.axes)))

    @property
    def directed(self) -> bool:
        """Whether its benchmark has a direction."""
        return bool(self.axes)

    def check(self, roles: Sequence[str], where: str) -> None:
        """Refuse roles that the scheme does not place.

        Args:
            roles: The roles of an item's options.
            where: The item, to start the message with.

        Raises:
            UserError: If the benchmark has a direction and a role is none of its own, or a role can't be named.
        """
        strange = [role for role in roles if self.directed and role not in self.axes]
        if strange:
            raise UserError(
                f"{where}: the scheme {self.name!r} places no role {', '.join(map(repr, dict.fromkeys(strange)))}, "
                f"only {', '.join(self.axes)}"
            )
        for role in roles:
            if _NAME.fullmatch(role) is None:
                raise UserError(f"{where}: expected roles without , : = |, got {role!r}")

    def to_record(self) -> SchemeRecord:
        """The scheme as it is logged."""
        return SchemeRecord(name=self.name, axes=dict(self.axes))

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Scheme:
        """Read a logged scheme.

        Raises:
            UserError: If it is none.
        """
        try:
            return cls(record["name"], dict(record["axes"]))
        except (KeyError, TypeError, ValueError) as fault:
            if isinstance(fault, UserError):
                raise
            raise UserError(f"not a scheme of roles: expected a name and axes, got {str(record)[:80]}") from None
