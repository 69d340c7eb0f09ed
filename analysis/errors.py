"""Errors that a user can act on."""

from __future__ import annotations

__all__ = ["UserError"]


class UserError(ValueError):
    """A fault in what the user gave: the message says what was seen, what was expected, and what to do."""
