"""Which model arguments somebody knows: the recipe, lm_eval's hf model, transformers' loader."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from lm_eval.models.huggingface import HFLM

from lm_eval_ext.errors import unknown_name
from lm_eval_ext.models.recipe.catalogue import method_entries
from lm_eval_ext.models.recipe.kv import KV_KEYS
from lm_eval_ext.models.recipe.resolve import CALIBRATION_KEYS, recipe_keys, step_classes
from lm_eval_ext.models.recipe.step import Step

__all__ = ["OWN_KEYS", "loader_keys", "refuse_stolen_keys", "refuse_unknown", "take_recipe_keys"]

# What from_pretrained and the models' configs take besides HFLM's own arguments.
_LOADER_KEYS = (
    "attn_implementation",
    "cache_dir",
    "code_revision",
    "device_map",
    "experts_implementation",
    "force_download",
    "generation_config",
    "key_mapping",
    "local_files_only",
    "low_cpu_mem_usage",
    "max_memory",
    "max_position_embeddings",
    "offload_buffers",
    "offload_state_dict",
    "proxies",
    "quantization_config",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "sliding_window",
    "token",
    "torch_dtype",
    "use_safetensors",
    "variant",
    "weights_only",
)


OWN_KEYS = ("cache_compressed", "save_compressed", "rolling_bos")
"""Arguments of `compressed_hf` that are neither a recipe's nor the hf model's."""


def loader_keys() -> set[str]:
    """Every argument that belongs to lm_eval's hf model, or that it hands on to transformers."""
    own = set(inspect.signature(HFLM.__init__).parameters) - {"self", "kwargs"}
    return own | set(_LOADER_KEYS)


def take_recipe_keys(recipe: str | None, method: str | None, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Take the keys of a recipe out of model arguments.

    Args:
        recipe: The recipe asked for, if one is.
        method: The methods asked for, likewise.
        kwargs: All other arguments; what is left in them belongs to the loader.

    Returns:
        What was taken out.

    Raises:
        UserError: As `refuse_stolen_keys`, `refuse_unknown`, `load_recipe` and `method_class` do.
    """
    refuse_stolen_keys(step_classes(recipe, method))
    known = recipe_keys(recipe, method)
    taken = {key: kwargs.pop(key) for key in known.intersection(kwargs)}
    refuse_unknown(kwargs, known)
    return taken


def refuse_unknown(kwargs: dict[str, Any], recipes: Iterable[str]) -> None:
    """Raise UserError for a model argument that nobody knows, with the nearest one that somebody does.

    Args:
        kwargs: The arguments that are no recipe's.
        recipes: Those that are.
    """
    known = loader_keys() | set(OWN_KEYS)
    for key in kwargs:
        if key not in known:
            raise unknown_name("model argument", key, sorted({*recipes, *known}))


def refuse_stolen_keys(steps: Mapping[str, type[Step]]) -> None:
    """Raise UserError if a method has a key that is an argument of the hf model, or one of ours.

    `device=cpu` would go to the method, and the model would be loaded as if nothing had been said.

    Args:
        steps: Config classes by the method's name.
    """
    taken = loader_keys() | set(OWN_KEYS) | {"recipe", *CALIBRATION_KEYS, *KV_KEYS} - {"seed"}
    for name, step in steps.items():
        stolen = sorted((set(step.model_fields) - {"method"}) & taken)
        if stolen:
            raise method_entries()[name].fault(
                f"has the key {', '.join(stolen)}, which is a model argument already: it must be renamed, or go under "
                "options"
            )
