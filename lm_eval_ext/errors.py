"""Errors that a user can act on, and the one way to ask for an optional dependency."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from difflib import get_close_matches
from importlib.util import find_spec
from types import TracebackType

__all__ = ["UserError", "require_extra", "show_in_one_line", "unknown_name"]

_Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]
# A longer list of names hides the one that was meant.
_LISTED = 50


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
    if not known:
        return UserError(f"unknown {kind} {name!r}; there are none")
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near and len(known) > _LISTED:
        return UserError(f"unknown {kind} {name!r}. Did you mean {near[0]!r}?")
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


def show_in_one_line() -> None:
    """Let a UserError that nobody catches end a program with its message alone, not with a traceback.

    The stock lm_eval command knows nothing of UserError; this gives its users one line too. Exit code 1, as for any
    uncaught exception. LM_EVAL_EXT_DEBUG=1 keeps the traceback. Calling it again changes nothing.
    """
    if not isinstance(sys.excepthook, _OneLine):
        sys.excepthook = _OneLine(sys.excepthook)


class _OneLine:
    """An excepthook of its own type, so that it is set only once."""

    def __init__(self, before: _Hook) -> None:
        self._before = before

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, UserError) and os.environ.get("LM_EVAL_EXT_DEBUG") != "1":
            sys.stderr.write(f"error: {' '.join(str(error).splitlines())}\n")
        else:
            self._before(kind, error, trace)
