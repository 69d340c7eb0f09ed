"""Find a method's config class by name."""

from __future__ import annotations

from lm_eval_ext.errors import UserError, unknown_name
from lm_eval_ext.models.compress import methods  # importing them is what registers them
from lm_eval_ext.models.compress.registry import METHODS, Method

__all__ = ["method_class", "method_names"]

assert methods.__all__


def method_names() -> list[str]:
    """Names of all methods, sorted."""
    return sorted(METHODS)


def method_class(name: object) -> type[Method]:
    """The config class of a method.

    Raises:
        UserError: If there is no method of this name; the message gives the nearest and lists all.
    """
    if not isinstance(name, str):
        raise UserError(f"method must be a name, got {name!r}. Known: {', '.join(method_names())}.")
    if name not in METHODS:
        raise unknown_name("method", name, method_names())
    return METHODS[name]
