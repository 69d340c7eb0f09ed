"""One row of BBQ's published JSON lines format, checked and made the same whatever source it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lm_eval_ext.errors import UserError

__all__ = ["CATEGORIES", "BbqRow", "parse_row"]

CATEGORIES = (
    "Age",
    "Disability_status",
    "Gender_identity",
    "Nationality",
    "Physical_appearance",
    "Race_ethnicity",
    "Race_x_SES",
    "Race_x_gender",
    "Religion",
    "SES",
    "Sexual_orientation",
)
"""The eleven categories of BBQ, spelt as in its files; the hub's split names are these in lower case."""

_UNKNOWN_WORDINGS = frozenset(
    {
        "unknown",
        "cannot be determined",
        "can't be determined",
        "not answerable",
        "not known",
        "not enough info",
        "not enough information",
        "cannot answer",
        "can't answer",
        "undetermined",
    }
)
_POLARITIES = ("neg", "nonneg")
_CONDITIONS = ("ambig", "disambig")


@dataclass(frozen=True, kw_only=True, slots=True)
class BbqRow:
    """A BBQ row after checking. The three options keep the published order."""

    example_id: int
    """Unique within a category only."""
    question_index: str
    """The template that the row was made from, unique within a category."""
    polarity: str
    """"neg" asks for the harmful answer, "nonneg" for its counterpart."""
    condition: str
    """"ambig": the context does not tell; "disambig": it does."""
    category: str
    subcategory: str
    """Empty where BBQ has none (its files say "None")."""
    stereotyped_groups: tuple[str, ...]
    context: str
    question: str
    options: tuple[str, str, str]
    names: tuple[str, str, str]
    """First entry of answer_info: how the option is named ("grandfather"); may be empty."""
    labels: tuple[str, str, str]
    """Second entry of answer_info: the group ("old", "F-Black", "lowSES-M-Latino"); may be empty."""
    unknown: int
    """Index of the option that says the answer cannot be known."""
    label: int
    """Index of the keyed option."""
    target_label: int | None
    """Index of the stereotype-consistent option where the source gives it, polarity already applied."""

    @property
    def persons(self) -> tuple[int, int]:
        """Indices of the two options that name someone."""
        first, second = (i for i in range(3) if i != self.unknown)
        return first, second

    @property
    def cluster(self) -> str:
        """The template, "Age/1": rows of one template are not independent of each other."""
        return f"{self.category}/{self.question_index}"


def parse_row(raw: Mapping[str, Any], where: str) -> BbqRow:
    """Check one row of BBQ's format, from its files or from the hub.

    Args:
        raw: The row. The keyed option is `label` in BBQ's files and `answer_label` on the hub; `target_label`
            is there on the hub only, -1 where it is not known.
        where: Where the row stands, for messages ("Age.jsonl line 12").

    Returns:
        The checked row.

    Raises:
        UserError: If a field is missing or holds something that BBQ's format does not allow.
    """
    try:
        meta, info = raw["additional_metadata"], raw["answer_info"]
        answers = [list(info[f"ans{i}"]) for i in range(3)]
        options = tuple(_text(raw[f"ans{i}"]) for i in range(3))
        label = raw["label"] if "label" in raw else raw["answer_label"]
        target = raw.get("target_label")
        row = BbqRow(
            example_id=int(raw["example_id"]),
            question_index=str(raw["question_index"]),
            polarity=_one_of(raw, "question_polarity", _POLARITIES),
            condition=_one_of(raw, "context_condition", _CONDITIONS),
            category=_text(raw["category"]),
            subcategory=_or_empty(meta.get("subcategory")),
            stereotyped_groups=tuple(_text(g) for g in meta["stereotyped_groups"]),
            context=_text(raw["context"]),
            question=_text(raw["question"]),
            options=(options[0], options[1], options[2]),
            names=_entries(answers, 0),
            labels=_entries(answers, 1),
            unknown=_unknown_option(answers, options),
            label=_index(label),
            target_label=None if target is None or int(target) < 0 else _index(target),
        )
    except KeyError as missing:
        raise UserError(f"{where}: a BBQ row lacks the field {missing}.") from None
    except (TypeError, ValueError, AttributeError) as fault:
        raise UserError(f"{where}: not a BBQ row: {fault}.") from None
    return row


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"text was expected, {value!r} was found")
    return value


def _or_empty(value: Any) -> str:
    return "" if value in (None, "None") else _text(value)


def _one_of(raw: Mapping[str, Any], field: str, allowed: tuple[str, ...]) -> str:
    value = raw[field]
    if value not in allowed:
        raise ValueError(f"{field} is {value!r}, expected {' or '.join(allowed)}")
    return str(value)


def _index(value: Any) -> int:
    if isinstance(value, bool) or int(value) not in (0, 1, 2):
        raise ValueError(f"an option's index is {value!r}, expected 0, 1 or 2")
    return int(value)


def _entries(answers: list[list[Any]], position: int) -> tuple[str, str, str]:
    """One entry of answer_info for each option; some published rows leave it empty, some leave it out."""
    first, second, third = (_text(a[position]).strip() if len(a) > position else "" for a in answers)
    return first, second, third


def _unknown_option(answers: list[list[Any]], options: tuple[str, ...]) -> int:
    marked = [i for i, entries in enumerate(answers) if len(entries) > 1 and entries[1] == "unknown"]
    found = marked or [i for i, text in enumerate(options) if text.strip().lower() in _UNKNOWN_WORDINGS]
    if len(found) != 1:
        raise ValueError(f"{len(found)} of its options mean 'unknown', expected exactly one")
    return found[0]
