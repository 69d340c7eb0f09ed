"""Lists of groups as one string a column can hold, and back."""

from __future__ import annotations

from typing import Any

from .values import LogError, text

__all__ = ["decode_groups", "decode_options", "encode_groups", "encode_options"]

_GROUP, _OPTION = " | ", " || "


def encode_groups(groups: Any) -> str | None:
    """The groups of an item, sorted and joined by " | "; missing where there are none.

    Raises:
        LogError: If it is no list of strings, or a name holds "|", which would not come back.
    """
    return _GROUP.join(sorted(_names(groups))) or None


def encode_options(options: Any) -> str | None:
    """The groups of each option, joined by " | ", the options by " || "; missing where no option has groups.

    Raises:
        LogError: As `encode_groups`, for a list of such lists.
    """
    if not isinstance(options, list) and options is not None:
        raise LogError("expected a list of the options' groups")
    named = [_GROUP.join(_names(groups)) for groups in options or ()]
    return _OPTION.join(named) if any(named) else None


def decode_groups(groups: str | None) -> tuple[str, ...]:
    """The groups that a string of the column `stereotyped_groups` names; none for None."""
    return tuple(groups.split(_GROUP)) if groups else ()


def decode_options(options: str | None) -> tuple[tuple[str, ...], ...]:
    """The groups of each option that a string of the column `option_groups` names, in the options' order.

    None, which says nothing of the options, gives an empty tuple.
    """
    return () if options is None else tuple(decode_groups(option) for option in options.split(_OPTION))


def _names(groups: Any) -> list[str]:
    if not groups and (groups is None or isinstance(groups, list)):
        return []
    try:
        joined = "".join(groups) if isinstance(groups, list) else "|"
    except TypeError:
        joined = "|"
    if "|" in joined:
        raise LogError("expected a list of names without '|'")
    return groups if joined.isascii() else [text(name) or "" for name in groups]
