"""Errors that a user can act on, and the one way to ask for an optional dependency."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.util import find_spec

__all__ = ["UserError", "require_extra", "unknown_name"]


class UserError(ValueError):
    """A fault in what the user gave: the message says what was seen, what was expected, and what to do."""


def unknown_name(kind: str, name: str, known: list[str]) -> UserError:
    """Build the error for a name that is not known, with the nearest one that is.

    Args:
        kind: What the name stands for, as a user would say it ("recipe", "key of method rtn").
        name: The name as given.
        known: Every name that would have been accepted.

    Returns:
        The error, for the caller to raise.
    """
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(known))}.")


def require_extra(modules: tuple[str, ...] | list[str], extra: str, purpose: str) -> None:
    """Fail with the install line when an optional dependency is missing.

    Args:
        modules: Import names that must be importable; they are looked for, not imported.
        extra: Name of this distribution's extra that brings them.
        purpose: What needs them, to start the message with ("model compressed_hf").

    Raises:
        UserError: If at least one of the modules cannot be found.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise UserError(
            f"{purpose} needs {', '.join(missing)}, which is not installed here. "
            f"Run: pip install 'lm-eval-ext[{extra}]'"
        )
