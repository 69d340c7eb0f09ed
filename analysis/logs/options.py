"""What an item says of its options: their roles, the axes these lie on, and which answers go with them.

Both readers ask here, and what was made for some roles, scheme and key is made once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from ..schema.schemes import AXES, BBQ, Scheme
from .table import OUTCOMES
from .values import LogError, text

__all__ = ["PROBLEMS", "STATUSES", "VERSION", "Options", "Problem", "options_of"]

VERSION = 2
"""Version of the item record; one without a version is of the first, whose key is named `correct`."""
STATUSES = ("answered", "unparsed", "unscored")

PROBLEMS = {
    "unknown_roles": "roles that the item's scheme does not name: {seen}. Name them under scheme.axes, with null where "
    "they lie on no axis",
    "roles_without_scheme": "roles without a scheme that tells what they mean: {seen}. Give the items a scheme, as "
    '{{"name": "mine", "axes": {{"biased": "toward", "unbiased": "against", "unsure": "neutral"}}}}; with empty axes '
    "if they have no direction",
    "bad_scheme": "a scheme that can't be read: {seen}. Expected a name and axes, each role on one of "
    f"{', '.join(AXES)}, or null",
    "item_version": f"items of version {{seen}}, which this release does not know (it reads 1 and {VERSION}). Upgrade "
    "lm-eval-ext",
    "stock_document": "documents or answers that are not those of lm_eval's task of this name: {seen}. They are read "
    "as those of a task without items",
}
"""What keeps a line out of the tables by role, by kind of issue."""


class Problem(NamedTuple):
    """Why nothing can be said of an item's direction."""

    kind: str
    """A key of PROBLEMS."""
    seen: tuple[str, ...]
    """The names, versions or faults seen."""


@dataclass(frozen=True, eq=False)
class Options:
    """The options of an item."""

    size: int | None
    """How many there are; None if the log does not tell."""
    roles: tuple[str, ...]
    """Of each option; empty where options have none."""
    key: int | None
    direction: Scheme | None
    """None for an item without a direction, or whose direction can't be told: `problem` says why."""
    problem: Problem | None
    axes: tuple[str | None, ...] = field(init=False)
    """Of each option's role."""
    facts: dict[str, Any] = field(init=False)
    """What the columns hold of it: the places under `$options`."""
    outcomes: dict[tuple[Any, ...], tuple[Any, ...]] = field(init=False)
    """By status, choice and role that go together, the answer's values in the order of their columns."""
    _places: tuple[tuple[int, ...], ...] = field(init=False)
    """By axis, the options that lie on it; then the keyed one."""
    _only: Callable[[list[float | None]], tuple[float | None, ...]] | None = field(init=False)
    """Where no axis has two options: picks each axis's from the options' values and one more, which stands for none."""

    def __post_init__(self) -> None:
        """Work out what is the same for every line with these options."""
        scheme = self.direction
        axes = tuple(None if scheme is None else scheme.axis(role) for role in self.roles)
        told = None if scheme is None else "toward" in axes and "undetermined" not in axes
        self._set("axes", axes)
        lie = None if scheme is None else " | ".join(axis or "" for axis in axes)
        text = None if scheme is None else scheme.text
        metric = None if self.key is None else "acc"
        self._set("facts", {"scheme": text, "axes": lie, "determined": told, "metric": metric})
        places = tuple(tuple(i for i, found in enumerate(axes) if found == axis) for axis in AXES)
        # Last, the keyed option's own; an index outside of the options is none of them.
        keyed = () if self.key is None or self.size is None or not 0 <= self.key < self.size else (self.key,)
        places = (*places, keyed)
        once = all(len(at) < 2 for at in places)
        self._set("_places", places)
        self._set("_only", itemgetter(*(at[0] if at else -1 for at in places)) if once else None)
        fitting: list[tuple[str, int | None, str | None]] = [(status, None, None) for status in STATUSES[1:]]
        fitting += [(STATUSES[0], i, self._role(i)) for i in range(self.size or 0)]
        names = [entry.ours.removeprefix("$answer.") for entry in OUTCOMES]
        made = {given: self.answer(*given) for given in fitting}
        self._set("outcomes", {given: tuple(values[name] for name in names) for given, values in made.items()})

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _role(self, choice: int) -> str | None:
        return self.roles[choice] if self.roles else None

    def answer(self, status: Any, choice: int | None, role: Any) -> dict[str, Any]:
        """What the columns hold of an answer (the places under `$answer`).

        Raises:
            LogError: If status, choice and role do not go together, or not with these options.
        """
        if status not in STATUSES:
            raise LogError(f"answer.status: expected one of {', '.join(STATUSES)}, got {status!r}")
        if (choice is not None) != (status == "answered"):
            raise LogError(f"answer.choice: {choice} does not go with status {status!r}")
        if choice is not None and not 0 <= choice < (choice + 1 if self.size is None else self.size):
            raise LogError(f"answer.choice: expected 0 to {(self.size or 1) - 1}, got {choice}")
        expected = None if choice is None else self._role(choice)
        if role != expected:
            raise LogError(f"answer.role: option {choice} has role {expected!r} in the item, but {role!r} is logged")
        return {
            "status": status,
            "choice": choice,
            "role": role,
            "axis": None if choice is None or not self.roles else self.axes[choice],
            "correct": None if self.key is None else choice == self.key,
        }

    def shares(self, probabilities: Sequence[float | None] | None) -> tuple[float | None, ...]:
        """Probability of each of AXES, summed over its options, and of the keyed option.

        Args:
            probabilities: Of each option; None within stands for one that is not known.

        Returns:
            None for an axis without options, or with one whose probability is not known, and without a key.

        Raises:
            LogError: If there are more or fewer probabilities than options.
        """
        if probabilities is None:
            return _UNKNOWN
        if self.size is not None and len(probabilities) != self.size:
            raise LogError(f"answer.probs: expected {self.size} probabilities, got {list(probabilities)!r}")
        if self._only is not None:
            return self._only([*probabilities, None])
        return tuple(_sum([probabilities[i] for i in at]) for at in self._places)

    def check_right(self, right: float | None, choices: list[Any]) -> None:
        """See that what a line says of right or wrong follows from its choices.

        Args:
            right: The line's `acc`: the share of choices that are the key; None where it does not say.
            choices: Of each text, or the only one.

        Raises:
            LogError: If it does not.
        """
        if right is None or self.key is None or not choices:
            return
        share = choices.count(self.key) / len(choices)
        if abs(share - right) > 1e-6:
            raise LogError(f"acc: {right:.6g}, but the answer's share of right choices is {share:.6g}")


_UNKNOWN = (None,) * (len(AXES) + 1)


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None


@lru_cache(maxsize=4096)
def options_of(
    version: int | None, roles: tuple[str, ...], scheme: bytes, key: int | None, size: int | None
) -> Options:
    """The options of an item record.

    Args:
        version: Its version; None for the first.
        roles: A name for each option, or nothing: where the list is empty, or every name.
        scheme: The scheme as it stands in the log, as JSON; b"null" without one.
        key: Index of the right option.
        size: How many options the document lists; None if it does not.

    Raises:
        LogError: If roles or key do not go with the number of options.
    """
    if roles and size is not None and len(roles) != size:
        raise LogError(f"doc.item.roles: {len(roles)} roles for {size} options")
    size = len(roles) if size is None and roles else size
    if key is not None and size is not None and not 0 <= key < size:
        raise LogError(f"doc.item.key: expected 0 to {size - 1}, got {key}")
    if not any(roles):
        roles = ()
    found, problem = _direction(version, roles, scheme)
    return Options(size, roles, key, found, problem)


def _direction(version: int | None, roles: tuple[str, ...], raw: bytes) -> tuple[Scheme | None, Problem | None]:
    """The scheme that some roles lie in, or why there is none; neither where nothing has a direction."""
    if version is not None and not 1 <= version <= VERSION:
        return None, Problem("item_version", (str(version),))
    if not roles:
        return None, None
    try:
        scheme = _scheme(json.loads(raw))
    except LogError as fault:
        return None, Problem("bad_scheme", (str(fault),))
    if scheme is None and version in (None, 1) and all(role in BBQ.axes for role in roles):
        scheme = BBQ
    if scheme is None:
        return None, Problem("roles_without_scheme", tuple(sorted(set(roles))))
    if not scheme.axes:
        return None, None
    if unknown := tuple(sorted(set(roles) - set(scheme.axes))):
        return None, Problem("unknown_roles", unknown)
    return scheme, None


def _scheme(record: Any) -> Scheme | None:
    """A scheme as it stands in an item; None for null. Raises LogError if it is none."""
    if record is None:
        return None
    name = text(record.get("name")) if isinstance(record, Mapping) else None
    axes = record.get("axes") if isinstance(record, Mapping) else None
    if not name or ":" in name or not isinstance(axes, dict):
        raise LogError("no name (without ':') or no axes")
    for role, axis in axes.items():
        if axis is not None and axis not in AXES:
            raise LogError(f"role {role!r} on axis {axis!r}")
        if not role or "=" in role or "," in role:
            raise LogError(f"role {role!r}, which is empty or holds '=' or ','")
    return Scheme(name, {text(role) or "": axis for role, axis in axes.items()})
