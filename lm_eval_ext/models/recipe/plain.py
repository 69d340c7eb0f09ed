"""The base of everything that a recipe holds: a value is of the kind that it looks like."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from lm_eval_ext.errors import seen

__all__ = ["Plain"]

# The next whole number is no longer a float of its own.
_EXACT = 2.0**53


class Plain(BaseModel):
    """Frozen; an unknown key is an error, and so is a value that would have to be turned into one of another kind.

    `true` is no number, `1` is not true, `"4"` and `4` are not the same. A whole number may be written as a float
    (`1e3`), and stands for a float where one is expected. A recipe, model arguments and Python are treated alike.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: object, info: ValidationInfo) -> object:
        kinds = _kinds(cls.model_fields[str(info.field_name)].annotation)
        return _checked(value, kinds) if kinds <= {str, int, float, bool, NoneType} else value


def _kinds(annotation: Any) -> set[Any]:
    """The plain types that an annotation allows; words of a Literal are left to it, its numbers are numbers."""
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return set().union(*map(_kinds, get_args(annotation)))
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if isinstance(annotation, type):
        return {annotation}
    values = {type(value) for value in get_args(annotation)}
    return {object} if not values or str in values else values


def _checked(value: object, kinds: set[Any]) -> object:
    """The value, as a whole number where only these are allowed.

    Raises:
        ValueError: If it is of another kind; the message says how it is written.
    """
    numbers = bool(kinds & {int, float})
    if isinstance(value, bool):
        fits = bool in kinds
    elif isinstance(value, (int, float)):
        fits = numbers
    elif isinstance(value, str):
        fits = str in kinds
    else:
        # Lists, mappings and the like: pydantic says what it expects. It would decode bytes.
        fits = not isinstance(value, (bytes, bytearray))
    if not fits:
        raise ValueError(f"got {seen(value)}, expected {_expected(value, kinds, numbers=numbers)}")
    if isinstance(value, float) and float not in kinds and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


def _expected(value: object, kinds: set[Any], *, numbers: bool) -> str:
    if str in kinds:
        return "text; write it in quotes"
    if not numbers:
        return "true or false"
    return "a number, without quotes and in decimal digits" if isinstance(value, str) else "a number"
