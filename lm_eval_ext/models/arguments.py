"""Which model arguments somebody knows: the recipe, lm_eval's hf model, transformers' loader."""

from __future__ import annotations

import inspect
from typing import Any

from lm_eval.models.huggingface import HFLM

from lm_eval_ext.errors import unknown_name
from lm_eval_ext.models.recipe.resolve import recipe_keys

__all__ = ["refuse_unknown"]

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


def refuse_unknown(kwargs: dict[str, Any]) -> None:
    """Raise UserError for a model argument that nobody knows, with the nearest one that somebody does."""
    known = [name for name in inspect.signature(HFLM.__init__).parameters if name not in {"self", "kwargs"}]
    known.append("rolling_bos")
    ours = sorted({*recipe_keys(), "save_compressed"})
    for key in kwargs:
        if key not in known and key not in _LOADER_KEYS:
            raise unknown_name("model argument", key, [*ours, *known, *_LOADER_KEYS])
