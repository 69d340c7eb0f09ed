"""Which runs were compressed by one method, and what it is called: the resolved steps decide, not the recipe's name."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from ..logs.labels import base_groups
from ..logs.results import RunLog

__all__ = ["asked_recipe", "base_method", "method_names", "variant_of"]

_DOSE = ("sparsity", "bits")
_SEED = "seed"
_LONGEST = 80
_BRACKETS = re.compile(r"([^()]*)(?:\((.*)\))?")


def asked_recipe(run: RunLog) -> str | None:
    """The recipe that was asked for, as it was given; its logged name where the log has no model arguments."""
    given: str | None = run.facts["recipe_args"]
    if given is not None or run.facts["method_args"] is not None:
        return given
    name = run.facts["recipe_values"].get("name")
    return name if isinstance(name, str) else None


def variant_of(run: RunLog) -> str | None:
    """What a run's method is, as JSON, without level and seed; runs that share it differ in these alone.

    It holds each step's keys but sparsity, bits and seed, the calibration but its seed (its length as it came out),
    the dtype that the recipe sets, and the key-value cache (without its format where that is the level). A key that is
    null, false or empty is left out, so that a key that a later version brings changes nothing for those who don't use
    it. None for a run whose log has no recipe, and without compression.
    """
    steps, cache = _steps(run), _cache(run)
    if not steps and not cache:
        return None
    recipe, seen = run.facts["recipe_values"], run.facts["calibration_values"]
    asked = recipe.get("calibration")
    calibration = {**(asked if isinstance(asked, dict) else {})}
    calibration |= {key: seen[key] for key in ("source", "samples", "seqlen") if key in seen}
    parts = {
        "steps": [_told(step, (*_DOSE, _SEED)) for step in steps],
        "calibration": _told(calibration, (_SEED,)),
        "dtype": recipe.get("dtype"),
        "kv": _told(cache, ("format", "bits") if run.facts["method"] == "kv" else ()),
    }
    return json.dumps(_told(parts, ()), sort_keys=True)


def method_names(runs: Mapping[str, RunLog]) -> dict[str, str]:
    """A name for each run's method, by label: runs of one base model share it if method and variant are the same.

    The plain name ("wanda") belongs to the variant whose recipes say nothing more ("wanda-50", "wanda-30"). Another is
    named after its recipes' family or settings: "wanda (rath)", "wanda (samples=64)", "magnitude 2:4". Of several names
    for one variant the shortest is taken. Two variants of one base model that claim one name get a mark each:
    "wanda #3f2a91". "none" without compression; the run's method where the log has no recipe, "unverified ..." where
    nobody proved one.
    """
    leaders = base_groups(runs.values())
    kinds = {label: (leaders[run.base_model], run.method, variant_of(run) or "") for label, run in runs.items()}
    wished: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for label, kind in kinds.items():
        wished[kind].add(_wish(runs[label]))
    named = {kind: min(names, key=lambda name: (len(name), name)) for kind, names in wished.items()}
    takers: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (base, _, variant), name in named.items():
        takers[base, name].append(variant)
    return {
        label: named[kind] + (f" #{_mark(kind[2])}" if len(takers[kind[0], named[kind]]) > 1 else "")
        for label, kind in kinds.items()
    }


def base_method(name: str) -> str:
    """The method that a name of `method_names` is a variant of: "wanda" for "wanda (rath)" and "wanda 2:4"."""
    return re.sub(r" (\([^()]*\)|[0-9]+:[0-9]+|#[0-9a-f]+)", "", name)


def _steps(run: RunLog) -> list[dict[str, Any]]:
    """The resolved steps, if they are those of the logged method."""
    steps = run.facts["recipe_values"].get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return []
    joined = "+".join(str(step.get("method")) for step in steps)
    return steps if run.facts["method"] in (joined, f"{joined}+kv_{_cache(run).get('format')}") else []


def _cache(run: RunLog) -> dict[str, Any]:
    """What was asked of the key-value cache; empty where it was left alone."""
    cache = run.facts["recipe_values"].get("kv")
    return cache if isinstance(cache, dict) else {}


def _told(values: Mapping[str, Any], without: tuple[str, ...]) -> dict[str, Any]:
    """The keys that say something."""
    return {
        key: value
        for key, value in values.items()
        if key not in without and value is not None and value is not False and value not in ("", [], {})
    }


def _mark(variant: str) -> str:
    return hashlib.sha256(variant.encode("utf-8", "replace")).hexdigest()[:6]


def _wish(run: RunLog) -> str:
    """The name that a run's recipe would give its method."""
    steps, name, cache = _steps(run), run.facts["recipe_values"].get("name"), _cache(run)
    plain = run.method
    if (not steps and not cache) or not isinstance(name, str):
        return plain
    # Patterns of an `exclude` are joined by '+' too, but inside brackets.
    parts = re.split(r"\+(?![^()]*\))", name)
    kept = _cache_part(parts.pop(), plain) if cache else None
    if not steps:
        wish = str(kept)
    elif len(parts) == len(steps):
        wish = "+".join(
            [*(_part(part, [step]) for part, step in zip(parts, steps, strict=True)), *([kept] if kept else [])]
        )
    else:
        wish = "+".join([_part("+".join(parts), steps), *([kept] if kept else [])])
    return wish if len(wish) <= _LONGEST and wish.isprintable() else f"{plain} #{_mark(variant_of(run) or name)}"


def _cache_part(name: str, method: str) -> str:
    """The method's name of a quantized key-value cache, with what its label says beside the format in brackets."""
    found = _BRACKETS.fullmatch(name)
    return method.rsplit("+", 1)[-1] + (f" ({found[2]})" if found and found[2] else "")


def _part(name: str, steps: list[dict[str, Any]]) -> str:
    """Method, pattern, and in brackets what a name says beside level and seed."""
    method = "+".join(str(step["method"]) for step in steps)
    label = "+".join(f"{step['method']} {step['pattern']}" if step.get("pattern") else step["method"] for step in steps)
    found = _BRACKETS.fullmatch(name)
    head, inside = (found[1], found[2] or "") if found else (name, "")
    for level in (text for step in steps for text in _levels(step)):
        head = head.removesuffix(f"-{level}")
    # "mlx" is mlx_affine, "rath-wanda" is a wanda of a family "rath".
    rest = "" if method.startswith(head) else head.replace(method, "", 1).strip("-_. ")
    dose = tuple(f"{key}=" for key in (*_DOSE, "pattern", _SEED))
    told = [rest, *(entry for entry in inside.split(",") if not entry.startswith(dose))]
    more = ", ".join(entry for entry in told if entry)
    return f"{label} ({more})" if more else label


def _levels(step: Mapping[str, Any]) -> list[str]:
    """How names say a step's level."""
    sparsity, bits, pattern = (step.get(key) for key in (*_DOSE, "pattern"))
    out = [str(pattern), str(pattern).replace(":", "-")] if pattern else []
    out += [f"{100 * sparsity:g}"] if isinstance(sparsity, (int, float)) else []
    return out + ([f"{bits:g}"] if isinstance(bits, (int, float)) else [])
