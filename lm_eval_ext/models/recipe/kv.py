"""KV-cache quantization as part of a recipe: in which form attention finds the keys and values that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from lm_eval_ext.errors import UserError, seen
from lm_eval_ext.models.recipe.build import build
from lm_eval_ext.models.recipe.plain import Plain

__all__ = ["KV_KEYS", "KvCache", "make_kv"]

KV_KEYS = {"kv": "format", "kv_group_size": "group_size", "kv_residual": "residual"}
"""How the fields are called among the model arguments."""

_BITS = {"int8": 8, "int4": 4, "int2": 2, "fp8_e4m3": 8, "fp8_e5m2": 8}


class KvCache(Plain):
    """Form of the keys and values that attention reads."""

    format: Literal["int8", "int4", "int2", "fp8_e4m3", "fp8_e5m2"]
    """int: evenly spaced values between the least and the greatest of a group, in a token's head. fp8: 8-bit floats."""
    group_size: int | None = Field(default=None, ge=8)
    """Values of one head of one token that share a scale; 64 if not given, or the head's width where that is less. Only
    for int."""
    residual: int = Field(default=0, ge=0)
    """How many of the last tokens that a token sees, itself among them, it finds in full precision."""

    @model_validator(mode="after")
    def _check_group_size(self) -> KvCache:
        if self.group_size is not None and not self.format.startswith("int"):
            raise ValueError(f"got group_size={self.group_size} with {self.format}, which has no groups; leave it out")
        return self

    @property
    def bits(self) -> int:
        """Bits a key or value, scales not counted."""
        return _BITS[self.format]

    @property
    def method(self) -> str:
        """What runs with nothing else done to them are compared by: `kv` for the formats that differ in bits alone."""
        return "kv" if self.format.startswith("int") else f"kv_{self.format}"

    @property
    def label(self) -> str:
        """Short name in tables: kv-int4, or kv-int4(residual=128)."""
        said = {"group_size": self.group_size, "residual": self.residual or None}
        shown = ",".join(f"{key}={value}" for key, value in said.items() if value is not None)
        return f"kv-{self.format.replace('_', '-')}" + (f"({shown})" if shown else "")


def make_kv(base: KvCache | None, keys: Mapping[str, Any]) -> KvCache | None:
    """The KV cache that a recipe has, with what model arguments change in it.

    Args:
        base: The recipe's own, if it has one.
        keys: Those of KV_KEYS that were given.

    Raises:
        UserError: On a group size or residual without a format, and on bad values.
    """
    if not keys:
        return base
    if base is None and "kv" not in keys:
        raise UserError(f"{', '.join(sorted(keys))} given without kv; add kv=int8, int4, int2, fp8_e4m3 or fp8_e5m2")
    given = {KV_KEYS[key]: value for key, value in keys.items()}
    if not isinstance(given.get("format", ""), str):
        raise UserError(f"kv={seen(given['format'])}: expected int8, int4, int2, fp8_e4m3 or fp8_e5m2")
    old = {} if base is None else base.model_dump(exclude_unset=True)
    kv: KvCache = build(KvCache, "kv", old | given)
    return kv
