"""What can be named in a recipe or a task: ours, and what other packages bring by entry points.

A package declares `[project.entry-points."lm_eval_ext.methods"]` (or `.backends`, `.datasets`) with lines
`name = "module:object"`. Names are read from the packages' metadata; nothing is imported before it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

import lm_eval_ext
from lm_eval_ext.errors import UserError, seen, unknown_name

__all__ = ["GROUPS", "Entry", "Kind", "entries", "find"]

Kind = Literal["method", "backend", "data set"]

GROUPS: dict[Kind, str] = {
    "method": "lm_eval_ext.methods",
    "backend": "lm_eval_ext.backends",
    "data set": "lm_eval_ext.datasets",
}
"""Entry-point group of each kind."""

_OURS = f"lm-eval-ext {lm_eval_ext.__version__}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A name, where its object is, and whose it is."""

    kind: Kind
    name: str
    target: str
    """module:object."""
    package: str
    """Distribution and version."""
    rivals: tuple[str, ...] = ()
    """Other packages that offer the same name."""

    @property
    def is_ours(self) -> bool:
        """Whether the object is in this package."""
        return self.package == _OURS

    def load(self) -> Any:
        """Import the object.

        Raises:
            UserError: If several packages offer this name, or a package's module can't be imported or has no such
                object. A fault of our own modules keeps its exception.
        """
        if self.rivals:
            raise self.clash()
        point = EntryPoint(name=self.name, value=self.target, group=GROUPS[self.kind])
        if self.is_ours:
            return point.load()
        try:
            return point.load()
        except Exception as error:
            reason = " ".join(str(error).split())
            raise self.fault(f"can't be loaded ({type(error).__name__}: {reason})") from error

    def clash(self) -> UserError:
        """The error for a name that several packages offer."""
        owners = " and by ".join([self.package, *self.rivals])
        return UserError(f"{self.kind} {self.name!r} is offered by {owners}; uninstall all but one")

    def fault(self, what: str) -> UserError:
        """An error that names the package: `what` goes on from the name of the object."""
        return UserError(f"package {self.package}: {self.kind} {self.name!r} ({self.target}) {what}")


def entries(kind: Kind, own: Mapping[str, str]) -> dict[str, Entry]:
    """All that there is of one kind, by name, sorted.

    Args:
        kind: The kind.
        own: What this package has: name to module:object.
    """
    offers: dict[str, dict[str, str]] = {name: {_OURS: target} for name, target in own.items()}
    for name, target, package in _found(GROUPS[kind], tuple(sys.path)):
        offers.setdefault(name, {}).setdefault(package, target)
    return {
        name: Entry(kind=kind, name=name, target=targets[first], package=first, rivals=tuple(rest))
        for name, targets in sorted(offers.items())
        for first, *rest in [list(targets)]
    }


def find(name: object, among: Mapping[str, Entry], kind: Kind) -> Entry:
    """One entry by name.

    Raises:
        UserError: If there is none; the message gives the nearest name and lists all.
    """
    if not isinstance(name, str):
        raise UserError(f"{kind} must be a name, got {seen(name)}. Known: {', '.join(among)}.")
    if name not in among:
        raise unknown_name(kind, name, list(among))
    return among[name]


@cache
def _found(group: str, path: tuple[str, ...]) -> tuple[tuple[str, str, str], ...]:
    """Name, target and package of every entry point of a group that lies on this `sys.path`."""
    return tuple((point.name, point.value, _package(point)) for point in entry_points(group=group))


def _package(point: EntryPoint) -> str:
    dist = point.dist
    return f"{dist.name} {dist.version}" if dist is not None else point.value
