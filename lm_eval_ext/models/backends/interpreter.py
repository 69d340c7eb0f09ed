"""Steps of a library that may live in an environment of its own: `options: {python: /path/to/python}`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

from pydantic import field_validator

from lm_eval_ext.errors import UserError, require_extra, seen
from lm_eval_ext.models.recipe.step import LibraryStep, Step

__all__ = ["OWN_OPTIONS", "InterpreterStep", "interpreter_of", "versions_in"]

OWN_OPTIONS = frozenset({"python"})
"""Options that are the backend's, not the library's."""

_VERSIONS = """
import importlib.metadata as m, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        found[name] = None
print(json.dumps(found))
"""


class InterpreterStep(LibraryStep):
    """A step that is carried out by a script, by this interpreter or by the one that `options.python` names."""

    loading: ClassVar[tuple[str, ...]] = ()
    """Import names that must be here to load what the step makes, whichever interpreter made it."""

    @field_validator("options")
    @classmethod
    def _check_python(cls, value: dict[str, object]) -> dict[str, object]:
        python = value.get("python")
        if python is not None and not (isinstance(python, str) and os.path.isabs(os.path.expanduser(python))):
            raise ValueError(f"python: got {seen(python)}, expected the whole path of an interpreter")
        return value

    @property
    def python(self) -> str | None:
        """The interpreter asked for, or None for this one."""
        python = self.options.get("python")
        return None if python is None else os.path.expanduser(python)

    def check_installed(self) -> None:
        """Raise UserError with the install line if a library is missing here; another interpreter is asked later."""
        needed = self.modules if self.python is None else self.loading
        if needed:
            require_extra(needed, self.extra or self.method, f"method {self.method}")


def interpreter_of(steps: Sequence[Step]) -> str | None:
    """The one interpreter that steps ask for; None for this one.

    Raises:
        UserError: If they ask for several.
    """
    asked = {step.python for step in steps if isinstance(step, InterpreterStep)}
    if len(asked) > 1:
        names = ", ".join(sorted(str(name or sys.executable) for name in asked))
        raise UserError(f"steps of one backend that follow each other run in one interpreter, these ask for {names}")
    return next(iter(asked), None)


def versions_in(python: str | None, names: Sequence[str], method: str) -> dict[str, str | None]:
    """Versions of distributions as an interpreter sees them.

    Args:
        python: Interpreter; None for this one.
        names: Distributions; the first must be there.
        method: Whose library it is, for the message.

    Returns:
        Each with its version; None for one that is not installed there.

    Raises:
        UserError: If the interpreter can't be run, or the first distribution is not installed there.
    """
    interpreter = python or sys.executable
    if python is None:
        return _told({name: _version(name) for name in names}, names[0], method, interpreter)
    try:
        done = subprocess.run(
            [interpreter, "-c", _VERSIONS, *names], capture_output=True, text=True, check=True, timeout=120
        )
        found: dict[str, str | None] = json.loads(done.stdout)
    except OSError as error:
        raise UserError(f"the interpreter {interpreter} can't be started: {error.strerror}") from None
    except (subprocess.SubprocessError, json.JSONDecodeError):
        raise UserError(f"the interpreter {interpreter} does not answer as a Python of 3.8 or later does") from None
    return _told(found, names[0], method, interpreter)


def _told(found: dict[str, str | None], first: str, method: str, interpreter: str) -> dict[str, str | None]:
    if found[first] is None:
        raise UserError(f"method {method}: {first} is not installed for {interpreter}; install it there")
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
