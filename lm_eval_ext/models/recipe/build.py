"""From plain values to a checked object: every fault is one line that names the value and the nearest known key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from lm_eval_ext.errors import UserError, seen, unknown_name
from lm_eval_ext.models.recipe.catalogue import method_class
from lm_eval_ext.models.recipe.step import Step

__all__ = ["build", "make_step"]


def _readable(where: str, error: ValidationError) -> UserError:
    """One line out of pydantic's report: every fault with the value seen."""
    faults = []
    for fault in error.errors():
        cause = fault.get("ctx", {}).get("error")
        if isinstance(cause, UserError):
            return cause
        key = ".".join(str(part) for part in fault["loc"])
        if isinstance(cause, ValueError):
            faults.append(f"{key}: {cause}" if key else str(cause))
            continue
        if fault["type"] == "missing":
            faults.append(f"{key} is missing")
            continue
        faults.append(f"{key}={seen(fault['input'])}: {fault['msg'][:1].lower()}{fault['msg'][1:]}")
    return UserError(f"{where}: {'; '.join(faults)}")


def build(model: type[BaseModel], where: str, values: Mapping[str, Any]) -> Any:
    """Validate with our messages: an unknown key gets the nearest known one."""
    for key in values:
        if key not in model.model_fields:
            raise unknown_name(f"key of {where}", str(key), list(model.model_fields))
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _readable(where, error) from None


def make_step(values: object) -> Step:
    """Build one step from its plain form.

    Args:
        values: A mapping with `method` and the keys of that method's config.

    Raises:
        UserError: On an unknown method or key (with the nearest one) or a value out of its range.
    """
    if not isinstance(values, Mapping) or "method" not in values:
        raise UserError(f"a step must be a mapping with a method, got {seen(values)}")
    cls = method_class(values["method"])
    step: Step = build(cls, f"method {cls.model_fields['method'].default}", values)
    return step
