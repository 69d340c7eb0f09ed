"""Recipes of llm-compressor: read strictly, what can't work refused, and what they ask for told.

llm-compressor itself skips every key that does not end as it expects, so that a misspelt stage is an empty recipe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval_ext.errors import UserError, seen
from lm_eval_ext.models.recipe.plain_yaml import read_yaml
from lm_eval_ext.models.recipe.reading import read_text

__all__ = ["AWQ", "Modifier", "Weights", "flat_modifiers", "pruned_share", "quantized_weights", "read_modifiers"]

Modifier = tuple[str, dict[str, Any]]
"""Class name of a modifier, and its arguments."""

AWQ = "AWQModifier"
_LARGEST = 65_536
_PRUNERS = ("WandaPruningModifier", "SparseGPTModifier")
_IDLE = {
    "MagnitudePruningModifier": "prunes nothing in one shot: its masks apply on an optimizer's steps; use "
    "method=magnitude",
    "ConstantPruningModifier": "prunes nothing: it holds the zeros of a training; leave it out",
}
_SCHEME = re.compile(r"W([2-8])A(4|8|16)")
# Preset schemes with one scale a row; all others of whole numbers have groups of 128.
_BY_ROW = ("W8A8", "INT8")


class Weights(dict[str, Any]):
    """How weights are quantized: `bits`, and `group_size` (None: a row) where their values can be counted."""


def read_modifiers(recipe: object) -> tuple[Modifier, ...]:
    """The modifiers of one of llm-compressor's recipes.

    Args:
        recipe: Path of a YAML file, or what stands in one.

    Raises:
        UserError: If it can't be read, holds a key that llm-compressor would skip, no modifier, or one that can't work.
    """
    where = "options.recipe"
    if isinstance(recipe, str):
        where = f"llm-compressor's recipe {seen(recipe)}"
        recipe = read_yaml(read_text(recipe, "llm-compressor's recipe", _LARGEST, "give the path of its YAML file"))
    if not isinstance(recipe, Mapping):
        raise UserError(f"{where}: got {seen(recipe)}, expected a mapping of stages, or the path of a YAML file")
    found: list[object] = []
    for stage, groups in recipe.items():
        for group, modifiers in _named(groups, stage, "_stage", where).items():
            found += [{kind: arguments} for kind, arguments in _named(modifiers, group, "_modifiers", where).items()]
    return flat_modifiers(found, where)


def _named(value: object, key: str, end: str, where: str) -> Mapping[str, Any]:
    if not str(key).endswith(end):
        raise UserError(f"{where}: llm-compressor skips the key {seen(key)}; it reads keys that end in {end}")
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: {key}: got {seen(value)}, expected a mapping")
    return value


def flat_modifiers(entries: object, where: str = "modifiers") -> tuple[Modifier, ...]:
    """Modifiers out of a list of {class name: arguments}; raises UserError as `read_modifiers` does."""
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        raise UserError(f"{where}: got {seen(entries)}, expected a list of modifiers, each a mapping of its name")
    found: list[Modifier] = []
    for entry in entries:
        if not isinstance(entry, Mapping) or len(entry) != 1:
            raise UserError(f"{where}: got {seen(entry)}, expected one modifier's name with its arguments")
        kind, arguments = next(iter(entry.items()))
        if arguments is not None and not isinstance(arguments, Mapping):
            raise UserError(f"{where}: {kind}: got {seen(arguments)}, expected a mapping of arguments")
        found.append((str(kind), dict(arguments or {})))
    if not found:
        raise UserError(f"{where} holds no modifier, so nothing would be compressed")
    for kind, arguments in found:
        _refuse(kind, arguments, where)
    if found[-1][0] == AWQ:
        raise UserError(f"{where}: {AWQ} only scales weights; a QuantizationModifier must follow it")
    return tuple(found)


def _refuse(kind: str, arguments: Mapping[str, Any], where: str) -> None:
    """Refuse what llm-compressor would do in silence otherwise than asked."""
    if kind in _IDLE:
        raise UserError(f"{where}: {kind} {_IDLE[kind]}")
    groups = _groups(arguments.get("mask_structure"))
    if kind in _PRUNERS and groups is not None:
        share, asked = groups[0] / groups[1], arguments.get("sparsity")
        if asked is not None and asked != share:
            raise UserError(
                f"{where}: {kind} has sparsity {asked} and mask_structure {groups[0]}:{groups[1]}, which prunes "
                f"{share:g} whatever sparsity says; give {share:g}"
            )
    rotations = arguments.get("rotations") or ()
    online = sorted({str(name).upper() for name in rotations} & {"R3", "R4"})
    if online:
        raise UserError(
            f"{where}: {kind} rotates by {' and '.join(online)} at each pass, which a plain load leaves out"
        )


def pruned_share(modifiers: Sequence[Modifier]) -> tuple[float | None, tuple[int, int] | None]:
    """The share of zeros that modifiers ask for, and the pattern as (N kept, of M); None where they don't say one."""
    pruners = [arguments for kind, arguments in modifiers if kind in _PRUNERS]
    if len(pruners) != 1:
        return None, None
    groups = _groups(pruners[0].get("mask_structure"))
    if groups is not None:
        return groups[0] / groups[1], (groups[1] - groups[0], groups[1])
    share = pruners[0].get("sparsity")
    return (float(share) if isinstance(share, (int, float)) else None), None


def quantized_weights(modifiers: Sequence[Modifier]) -> Weights | None:
    """How modifiers quantize weights, if they say one number of bits for all of them."""
    found = [weights for _, arguments in modifiers for weights in _weights(arguments)]
    if not found or any(weights != found[0] for weights in found):
        return None
    return found[0]


def _weights(arguments: Mapping[str, Any]) -> list[Weights]:
    scheme, groups = arguments.get("scheme"), arguments.get("config_groups")
    if isinstance(groups, Mapping):
        return [_of_group(group) for group in groups.values()]
    if isinstance(scheme, Mapping):
        names = [name for name in scheme if _preset(name) is not None]
        return [w for name in names if (w := _preset(name)) is not None] if names else [_of_group(scheme)]
    found = _preset(scheme)
    return [] if found is None else [found]


def _preset(name: object) -> Weights | None:
    text = str(name).upper().removesuffix("_ASYM")
    match = _SCHEME.fullmatch("W8A8" if text == "INT8" else text)
    if match is None:
        return None
    return Weights(bits=int(match[1]), group_size=None if text in _BY_ROW else 128)


def _of_group(group: Any) -> Weights:
    weights = group.get("weights") if isinstance(group, Mapping) else None
    if not isinstance(weights, Mapping) or str(weights.get("type", "int")) != "int":
        return Weights(bits=None)
    by_group = weights.get("strategy") == "group" or weights.get("group_size")
    return Weights(bits=weights.get("num_bits", 8), group_size=weights.get("group_size") if by_group else None)


def _groups(structure: object) -> tuple[int, int] | None:
    """(N pruned, of M) out of llm-compressor's 'N:M'; None for '0:0'."""
    match = re.fullmatch(r"(\d{1,4}):(\d{1,4})", str(structure))
    return None if match is None or int(match[2]) == 0 else (int(match[1]), int(match[2]))
