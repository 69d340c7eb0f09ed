"""The two people of a BBQ row and the groups that they are of, whatever the row's spelling."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..values import LogError
from .item import entries, words_of

__all__ = ["Person", "people_of", "second_traits"]

_INCOME, _GENDER = frozenset({"lowSES", "highSES"}), frozenset({"F", "M"})
_ONE_SPELLING = {
    **dict.fromkeys(("woman", "women", "girl", "girls", "female"), "F"),
    **dict.fromkeys(("man", "men", "boy", "boys", "male"), "M"),
    **dict.fromkeys(("transgender women", "transgender men"), "trans"),
    "latina": "Latino",
    "low ses": "lowSES",
    "high ses": "highSES",
}
_IN_WORDS = (
    # Longest first, so that "African American" is not read as "African", nor "woman" as "man".
    *("African American", "Native American", "South American", "Middle Eastern", "Caucasian", "European", "Hispanic"),
    *("African", "Jewish", "Latina", "Latino", "female", "Asian", "Black", "White", "women", "woman", "Arab", "Roma"),
    *("girl", "male", "men", "man", "boy"),
)
_FIND = re.compile(r"\b(" + "|".join(_IN_WORDS) + r")\b", re.IGNORECASE)
_PUBLISHED = {name.lower(): name for name in _IN_WORDS}


@dataclass(frozen=True)
class Person:
    """One of the two options that name somebody."""

    option: int
    """Its place in the row."""
    groups: tuple[str, ...]

    def is_one_of(self, targets: frozenset[str]) -> bool:
        """Whether one of the groups is among some, which are as `spelt` gives them."""
        return any(group.lower() in targets for group in self.groups)

    @staticmethod
    def spelt(groups: Iterable[str]) -> frozenset[str]:
        """Names of groups in the one spelling of `groups`, in lower case."""
        return frozenset(_spelt(group).lower() for group in groups)


def second_traits(category: str) -> frozenset[str]:
    """What people of an intersectional category differ in besides race; nothing for the other categories."""
    return {"Race_x_gender": _GENDER, "Race_x_SES": _INCOME}.get(category, frozenset())


def people_of(doc: Mapping[str, Any], unknown: int) -> tuple[Person, Person]:
    """The people of a row, in its order.

    Where the published label is empty, or that of both people though they are named differently in nothing, the words
    of the option decide: a trait that they tell takes the place of the labelled one of its kind.

    Args:
        doc: The row.
        unknown: The option that names nobody.

    Raises:
        LogError: If the row lacks a field.
    """
    info = doc.get("answer_info")
    if not isinstance(info, dict):
        raise LogError("doc.answer_info: missing")
    first, second = (option for option in range(3) if option != unknown)
    named = {option: _named(entries(info, f"ans{option}")) for option in (first, second)}
    doubtful = named[first] == named[second] or not all(label for _, label in named.values())
    nationality = words_of(doc, "category") == "Nationality"
    return (
        Person(first, _groups(words_of(doc, f"ans{first}"), *named[first], nationality, doubtful)),
        Person(second, _groups(words_of(doc, f"ans{second}"), *named[second], nationality, doubtful)),
    )


def _named(entry: list[str]) -> tuple[str, str]:
    """How a person is named, and of which groups, as published; either may be empty."""
    name, label = (entry[place].strip() if len(entry) > place else "" for place in (0, 1))
    return name, label


def _groups(words: str, name: str, label: str, nationality: bool, doubtful: bool) -> tuple[str, ...]:
    labelled = [_spelt(part) for part in re.split(r"[-_]", label) if part]
    if nationality and name:
        labelled.insert(0, name)
    if not doubtful:
        return tuple(labelled)
    told = [_spelt(_PUBLISHED[found.lower()]) for found in _FIND.findall(words)]
    kinds = {_kind(group) for group in told}
    return tuple(dict.fromkeys([group for group in labelled if _kind(group) not in kinds] + told))


def _spelt(group: str) -> str:
    group = group.strip()
    return _ONE_SPELLING.get(group.lower(), group)


def _kind(group: str) -> str:
    return "income" if group in _INCOME else "gender" if group in _GENDER else "other"
