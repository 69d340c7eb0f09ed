"""Every method by its name: the config class is loaded when it is asked for, not before."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lm_eval_ext.errors import UserError, unknown_name
from lm_eval_ext.models.recipe.step import Step

__all__ = ["METHODS", "method_class", "method_names"]

_NATIVE = "lm_eval_ext.models.native.methods"

METHODS = {
    "magnitude": f"{_NATIVE}.magnitude:Magnitude",
    "mlx_affine": f"{_NATIVE}.mlx_affine:MlxAffine",
    "random": f"{_NATIVE}.random:Random",
    "rtn": f"{_NATIVE}.rtn:RoundToNearest",
    "wanda": f"{_NATIVE}.wanda:Wanda",
}
"""Where the config class of each method is, as module:class. Named rather than imported: a list of names costs nothing,
and a recipe needs to know nothing of the code that carries it out."""


def method_names() -> list[str]:
    """Names of all methods, sorted."""
    return sorted(METHODS)


def method_class(name: object) -> type[Step]:
    """The config class of a method.

    Raises:
        UserError: If there is no method of this name; the message gives the nearest and lists all.
    """
    if not isinstance(name, str):
        raise UserError(f"method must be a name, got {name!r}. Known: {', '.join(method_names())}.")
    if name not in METHODS:
        raise unknown_name("method", name, method_names())
    module, _, attribute = METHODS[name].partition(":")
    found: Any = getattr(import_module(module), attribute)
    assert isinstance(found, type), found
    assert issubclass(found, Step), found
    return found
