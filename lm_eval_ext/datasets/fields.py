"""Fields of published rows, checked one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval_ext.errors import UserError

__all__ = ["Fields"]


class Fields:
    """One row, read by its fields' names; every fault names the row."""

    def __init__(self, raw: Mapping[str, Any], where: str) -> None:
        """Take a row.

        Args:
            raw: The row.
            where: Where it stands, to start messages with.
        """
        self._raw, self.where = raw, where

    def text(self, name: str) -> str:
        """A text, trimmed.

        Raises:
            UserError: If the row lacks it, or it is no text or empty.
        """
        value = self._get(name)
        if not isinstance(value, str) or not value.strip():
            raise self.fault(name, "text", value)
        return value.strip()

    def one_of(self, name: str, allowed: Sequence[str]) -> str:
        """One of a few texts.

        Raises:
            UserError: If the row lacks it, or it is none of them.
        """
        value = self._get(name)
        if value not in allowed:
            raise self.fault(name, " or ".join(allowed), value)
        return str(value)

    def number(self, name: str, most: int | None = None) -> int:
        """A whole number from 0 on, which a table may hold as text.

        Args:
            name: Of the field.
            most: The largest that is allowed.

        Raises:
            UserError: If the row lacks it, or it is none.
        """
        value = self._get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # as a table with missing values holds it
        if isinstance(value, bool) or not str(value).isdecimal() or (most is not None and int(value) > most):
            raise self.fault(name, "a whole number" + ("" if most is None else f" up to {most}"), value)
        return int(value)

    def texts(self, name: str) -> list[str]:
        """A list of texts.

        Raises:
            UserError: If the row lacks it, or it is none.
        """
        value = self._get(name)
        if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
            raise self.fault(name, "a list of texts", value)
        return list(value)

    def missing(self, name: str) -> bool:
        """Whether a field that the row has holds nothing.

        Raises:
            UserError: If the row lacks it.
        """
        return self._get(name) is None

    def get(self, name: str) -> Any:
        """What the row holds; None where it holds nothing."""
        return self._raw.get(name)

    def inner(self, name: str) -> Fields:
        """A mapping inside the row.

        Raises:
            UserError: If the row lacks it, or it is none.
        """
        value = self._get(name)
        if not isinstance(value, Mapping):
            raise self.fault(name, "named values", value)
        return Fields(value, f"{self.where}, {name}")

    def fault(self, name: str, expected: str, value: Any) -> UserError:
        """The error for a field that holds something else, for the caller to raise."""
        return UserError(f"{self.where}: {name}: expected {expected}, got {str(value)[:80]!r}.")

    def _get(self, name: str) -> Any:
        if name not in self._raw:
            raise UserError(f"{self.where}: the row lacks the field {name!r}.")
        return self._raw[name]
