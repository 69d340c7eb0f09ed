"""From `--model_args` to a recipe: by name with overrides, or inline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lm_eval_ext.errors import UserError, seen, unknown_name
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.recipe.catalogue import METHODS, method_class
from lm_eval_ext.models.recipe.files import load_recipe, recipe_names
from lm_eval_ext.models.recipe.kv import KV_KEYS, make_kv
from lm_eval_ext.models.recipe.recipe import Calibration, Recipe, make_calibration
from lm_eval_ext.models.recipe.step import LibraryStep, Step

__all__ = ["CALIBRATION_KEYS", "DENSE", "recipe_keys", "resolve", "step_classes"]

DENSE = Recipe(name="dense", description="The model as it is: the baseline.", steps=())

CALIBRATION_KEYS = {
    "calibration": "source",
    "samples": "samples",
    "seqlen": "seqlen",
    "seed": "seed",
    "short": "short",
}
"""How the calibration's fields are called among the model arguments."""


def recipe_keys(recipe: str | None = None, method: str | None = None) -> set[str]:
    """Every model argument that belongs to a recipe rather than to the model's loader.

    Args:
        recipe: The recipe asked for; the keys of its methods count, wherever they come from.
        method: The methods asked for, likewise.

    Returns:
        The keys of our methods, of those asked for, of the calibration and of the KV cache. A method of another package
        that nobody asked for is not loaded, so that a faulty package stands in no other's way.

    Raises:
        UserError: As `load_recipe` and `method_class` do.
    """
    return {"recipe", *CALIBRATION_KEYS, *KV_KEYS}.union(*(cls.model_fields for cls in _classes(recipe, method)))


def step_classes(recipe: str | None, method: str | None) -> dict[str, type[Step]]:
    """The config classes that model arguments ask for, by the method's name; raises UserError as `resolve` does."""
    names = [step.method for step in load_recipe(recipe).steps] if recipe is not None else []
    return {name: method_class(name) for name in [*names, *_split(method)]}


def _classes(recipe: str | None, method: str | None) -> list[type[Step]]:
    return [*(method_class(name) for name in METHODS), *step_classes(recipe, method).values()]


def _split(method: object) -> list[str]:
    return [] if method is None else str(method).split("+")


def resolve(recipe: str | None = None, method: str | None = None, **keys: Any) -> Recipe:
    """Build the recipe that model arguments ask for.

    Args:
        recipe: Packaged name or path of a YAML file; further keys override its values.
        method: Name of a method, or several joined by '+', instead of a recipe.
        **keys: Fields of the methods, and calibration, samples, seqlen, seed, short. A key goes to every
            step that has such a field, `seed` to the calibration as well. kv, kv_group_size and kv_residual go with any
            recipe or method, and with none.

    Returns:
        The resolved recipe, named after what it does; without recipe, method and kv, the dense baseline.

    Raises:
        UserError: On both or neither of recipe and method with keys left over, an unknown name or key
            (with the nearest), a value out of range, or calibration keys for methods that see no data.
    """
    keys = {key: value for key, value in keys.items() if value is not None}
    if recipe is not None and method is not None:
        raise UserError(f"give recipe={seen(recipe)} or method={seen(method)}, not both")
    cache = {key: keys.pop(key) for key in KV_KEYS if key in keys}
    return _with_kv(_of_weights(recipe, method, keys), cache)


def _with_kv(base: Recipe, keys: Mapping[str, Any]) -> Recipe:
    """The recipe with another KV cache, under the name of what it has become."""
    kv = make_kv(base.kv, keys)
    if kv == base.kv:
        return base
    assert kv is not None
    weights = base.weights
    found = weights.model_copy(update={"kv": kv})
    twin = _packaged_twin(found)
    if twin is not None:
        return twin
    name = f"{weights.name}+{kv.label}" if weights.steps else kv.label
    return found.model_copy(update={"name": name, "description": f"{weights.name} with a KV cache in {kv.format}"})


def _of_weights(recipe: str | None, method: str | None, keys: dict[str, Any]) -> Recipe:
    """What is done to the weights, and to the KV cache where a recipe's file says so."""
    if recipe is None and method is None:
        if keys:
            raise UserError(f"{', '.join(sorted(keys))} given without a method; add method=NAME or recipe=NAME")
        return DENSE
    if recipe is not None:
        return _override(load_recipe(recipe), keys)
    names = _split(method)
    classes = [method_class(name) for name in names]
    _refuse_left_over(keys, classes)
    steps = [
        make_step({"method": name} | {k: v for k, v in keys.items() if k in cls.model_fields})
        for name, cls in zip(names, classes, strict=True)
    ]
    calibration = _calibration(None, keys, steps)
    return Recipe(name=_label(steps, calibration), steps=tuple(steps), calibration=calibration)


def _override(base: Recipe, keys: Mapping[str, Any]) -> Recipe:
    """The recipe with keys changed, under a name that is true of what came out.

    Another text or seed leaves the name and stands in brackets behind it. Another step takes the name away: the recipe
    gets that of the packaged one that it has become, or is named after what it does, as an inline one.
    """
    _refuse_left_over(keys, [type(step) for step in base.steps])
    steps = _changed(base.steps, keys)
    calibration = _calibration(base.calibration, keys, steps)
    if steps == base.steps and calibration == _calibration(base.calibration, {}, steps):
        return base
    texts = {key: value for key, value in keys.items() if key in CALIBRATION_KEYS}
    others = _changed(base.steps, {key: value for key, value in keys.items() if key not in texts})
    name = base.name + _brackets({key: keys[key] for key in _ordered(keys) if _visible(key, keys[key], base)})
    if others != base.steps:
        twin = _packaged_twin(base.model_copy(update={"steps": others}))
        if twin is not None:
            return _override(twin, texts)
        name = _label(steps, calibration)
    change = ", ".join(f"{key}={keys[key]}" for key in _ordered(keys))
    return base.model_copy(
        update={
            "name": name,
            "description": f"{base.name} with {change}",
            "source": f"changed from {base.name}" + (f" ({base.source})" if base.source else ""),
            "steps": steps,
            "calibration": calibration,
        }
    )


def _changed(steps: tuple[Step, ...], keys: Mapping[str, Any]) -> tuple[Step, ...]:
    """The steps, each with those of the keys that it has."""
    changed = []
    for step in steps:
        old = step.model_dump(mode="json", exclude_unset=True) | {"method": step.method}
        given = make_step(old | {k: v for k, v in keys.items() if k in type(step).model_fields})
        changed.append(_with_options(step, given))
    return tuple(changed)


def _with_options(step: Step, changed: Step) -> Step:
    """The changed step, with those of the old options that the new ones don't replace."""
    if not isinstance(step, LibraryStep) or not isinstance(changed, LibraryStep):
        return changed
    options = step.options | changed.options
    return changed if options == changed.options else make_step(changed.model_dump(mode="json") | {"options": options})


def _packaged_twin(recipe: Recipe) -> Recipe | None:
    """The packaged recipe that does the same, if there is one; of several, the one whose name comes first."""
    for packaged in _packaged_recipes():
        if packaged.content == recipe.content:
            return packaged
    return None


@cache
def _packaged_recipes() -> tuple[Recipe, ...]:
    """All packaged recipes but those whose files are faulty, which must not stand in the way of the others."""
    recipes = []
    for name in recipe_names():
        with suppress(UserError):
            recipes.append(load_recipe(name))
    return tuple(recipes)


def _ordered(keys: Mapping[str, Any]) -> list[str]:
    """Keys in the order in which names show them, whatever the order that they were given in."""
    return sorted(keys.keys() - CALIBRATION_KEYS.keys()) + [key for key in CALIBRATION_KEYS if key in keys]


def _visible(key: str, value: object, base: Recipe) -> bool:
    """Whether an override differs from what the recipe says already."""
    said = [getattr(step, key) for step in base.steps if key in type(step).model_fields]
    if key in CALIBRATION_KEYS and base.needs_calibration:
        said.append(getattr(base.calibration or Calibration(), CALIBRATION_KEYS[key]))
    return any(value != old for old in said)


def _calibration(base: Calibration | None, keys: Mapping[str, Any], steps: Sequence[Step]) -> Calibration | None:
    if not any(step.needs_calibration for step in steps):
        return None
    given = {field: keys[key] for key, field in CALIBRATION_KEYS.items() if key in keys}
    if "source" in given:
        given["source"] = str(given["source"])
    return make_calibration((base or Calibration()).model_dump() | given)


def _refuse_left_over(keys: Mapping[str, Any], classes: list[type[Step]]) -> None:
    """Refuse a key that none of the methods has, before a missing or bad value of another is complained of."""
    known = {field for cls in classes for field in cls.model_fields} - {"method"}
    if any(cls.needs_calibration for cls in classes):
        known |= set(CALIBRATION_KEYS)
    names = "+".join(str(cls.model_fields["method"].default) for cls in classes) or "the dense model"
    for key in keys:
        if key in known:
            continue
        if key in CALIBRATION_KEYS:
            raise UserError(f"{key} given, but {names} looks at no data; remove {key}")
        raise unknown_name(f"key of {names}", key, sorted(known))


def _label(steps: Sequence[Step], calibration: Calibration | None) -> str:
    """Name an inline recipe: method and level, then in brackets whatever differs from the defaults."""
    parts = []
    for step in steps:
        keys = sorted(step.model_fields_set - {"method", *step.level_keys})
        shown = {key: getattr(step, key) for key in keys if _matters(step, key)}
        if calibration is not None and step is steps[-1]:
            plain = Calibration()
            pairs = {
                key: (getattr(calibration, field), getattr(plain, field)) for key, field in CALIBRATION_KEYS.items()
            }
            shown |= {key: value for key, (value, default) in pairs.items() if value != default}
        parts.append(step.method + step.level + _brackets(shown))
    return "+".join(parts)


def _matters(step: Step, key: str) -> bool:
    """Whether the step would be another one without this key."""
    values = {name: getattr(step, name) for name in step.model_fields_set | {"method"} if name != key}
    try:
        return bool(getattr(type(step).model_validate(values), key) != getattr(step, key))
    except ValidationError:
        return True


def _brackets(values: Mapping[str, Any]) -> str:
    """'(key=value,...)', a path shown by its last part; empty for no values."""
    shown = [f"{key}={_shown(value)}" for key, value in values.items()]
    return f"({','.join(shown)})" if shown else ""


def _shown(value: object) -> str:
    """A value in a name: a path by its last part, several values joined by '+' as the command line takes them."""
    if isinstance(value, Mapping):
        return "+".join(f"{key}:{_shown(entry)}" for key, entry in value.items())
    if isinstance(value, (tuple, list)):
        return "+".join(map(str, value))
    return Path(value).name if isinstance(value, str) else str(value)
