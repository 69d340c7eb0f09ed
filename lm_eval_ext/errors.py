"""Errors that a user can act on, and the one way to ask for an optional dependency."""

from __future__ import annotations

import os
import reprlib
import sys
from collections.abc import Callable
from contextlib import suppress
from difflib import get_close_matches
from importlib.util import find_spec
from math import log10
from pathlib import Path
from types import TracebackType

from lm_eval_ext.media import for_terminal

__all__ = [
    "UserError",
    "debugging",
    "give_up_stdout",
    "one_line",
    "require_extra",
    "require_text",
    "seen",
    "show_in_one_line",
    "unknown_name",
]

_Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]
# A message may list names; a longer one is cut.
_LINE = 4000
# A longer list of names hides the one that was meant.
_LISTED = 50
_SEEN = 160
_NO_TEXT = "name holds bytes that are no text here; rename it, or set PYTHONUTF8=1 if the locale (LC_ALL) is at fault"


class UserError(ValueError):
    """A fault in what the user gave: the message says what was seen, what was expected, and what to do."""

    def __str__(self) -> str:
        """The message, with escapes for what a name in it could do to a terminal."""
        return "\n".join(map(for_terminal, super().__str__().split("\n")))


class _Short(reprlib.Repr):
    """A repr that costs and takes little, whatever it is of."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, _SEEN // 2, _SEEN // 2
        self.maxlist = self.maxtuple = self.maxset = self.maxdict = 6

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write a number of thousands of digits, and nobody reads one of fifty."""
        return repr(x) if x.bit_length() < 160 else f"a number of about {round(x.bit_length() * log10(2))} digits"


def seen(value: object) -> str:
    """A value as messages show it: its repr in at most 160 characters, whatever its size and depth."""
    text = _SHORT.repr(value)
    return text if len(text) <= _SEEN else f"{text[: _SEEN - 40]} ... {text[-35:]}"


_SHORT = _Short()


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
        return UserError(f"unknown {kind} {seen(name)}; there are none")
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near and len(known) > _LISTED:
        return UserError(f"unknown {kind} {seen(name)}. Did you mean {near[0]!r}?")
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(f"unknown {kind} {seen(name)}.{hint} Known: {', '.join(sorted(known))}.")


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


def require_text(name: str, path: str | Path) -> None:
    """Refuse a path that can't be written into a file of results.

    Args:
        name: The option that gave it, to start the message with.
        path: Under a C locale its accents are lone surrogates, as are bytes that are no UTF-8 anywhere. Its absolute
            form counts, since that is what gets written.

    Raises:
        UserError: If it is no text.
    """
    try:
        str(Path(path).absolute()).encode()
    except UnicodeEncodeError:
        raise UserError(f"{name} {str(path)!a} is in a folder whose {_NO_TEXT}") from None


def one_line(error: BaseException) -> str | None:
    """What a user is told of an exception that ends a command, or None if its traceback says more.

    Args:
        error: A UserError, an error of the system (a disk that is full, a file that may not be read), text that can't
            be written, or an interrupt.

    Returns:
        One line without "error: ". None for every other exception: a fault of ours, or of a library.
    """
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, UserError):
        return for_terminal(" ".join(str(error).split()), _LINE)
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object[error.start : error.end]!a} can't be written as {error.encoding}: {_NO_TEXT}"
    if isinstance(error, OSError):
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        said = f"{error.strerror}: {' -> '.join(names)}" if error.strerror and names else error.strerror or str(error)
        return (
            f"{for_terminal(' '.join(said.split()), _LINE) or type(error).__name__} (LM_EVAL_EXT_DEBUG=1 shows where)"
        )
    return None


def debugging() -> bool:
    """Whether tracebacks are wanted: LM_EVAL_EXT_DEBUG=1."""
    return os.environ.get("LM_EVAL_EXT_DEBUG") == "1"


def give_up_stdout() -> None:
    """Point standard output at nothing, so that what it still holds raises no second error when Python ends."""
    with suppress(Exception):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


def show_in_one_line() -> None:
    """Let an exception that a user can act on end lm_eval with its message alone, not with a traceback.

    The stock lm_eval command knows nothing of UserError; this gives its users one line too. Where the program is
    another one, UserError alone is treated so. Exit code 1, as for any uncaught exception. LM_EVAL_EXT_DEBUG=1 keeps
    the traceback. Calling it again changes nothing.
    """
    if not isinstance(sys.excepthook, _OneLine):
        sys.excepthook = _OneLine(sys.excepthook)


class _OneLine:
    """An excepthook of its own type, so that it is set only once."""

    def __init__(self, before: _Hook) -> None:
        self._before = before

    def __call__(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        line = one_line(error) if isinstance(error, UserError) or _is_lm_eval() else None
        if line is None or debugging():
            self._before(kind, error, trace)
            return
        if isinstance(error, OSError):
            give_up_stdout()
        if not isinstance(error, BrokenPipeError):  # whoever read our output wants no more of it
            sys.stderr.write(f"error: {line}\n")


def _is_lm_eval() -> bool:
    """Whether this process is lm_eval's command: its script, or python -m lm_eval."""
    path = Path(sys.argv[0]) if sys.argv and sys.argv[0] else Path()
    return path.stem in {"lm_eval", "lm-eval"} or (path.name == "__main__.py" and path.parent.name == "lm_eval")
