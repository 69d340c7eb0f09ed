"""Compress a loaded model, or put in place what the same compression of the same weights left in the cache.

The base is loaded either way, for its weights say whether the two are the same. Kept are the tensors that changed; what
the model holds at the end is hashed as a whole and must be what the evidence says.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from inspect import getsourcefile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import lm_eval_ext
from lm_eval_ext.errors import UserError
from lm_eval_ext.models.checkpoints.kept import CacheError, kept
from lm_eval_ext.models.checkpoints.manifest import file_hash
from lm_eval_ext.models.checkpoints.write import EVIDENCE_FILE, RECIPE_FILE
from lm_eval_ext.models.evidence.canary import canary_ids
from lm_eval_ext.models.evidence.hashes import hash_of, tensor_hashes
from lm_eval_ext.models.evidence.record import Evidence
from lm_eval_ext.models.parts.decoder import unwrap
from lm_eval_ext.models.parts.loaded import Loaded
from lm_eval_ext.models.recipe.calibration import load_calibration
from lm_eval_ext.models.recipe.recipe import Calibration, Recipe
from lm_eval_ext.tokens.positions import model_positions

__all__ = ["code_of", "compressed_once", "release_of"]

log = logging.getLogger(__name__)

# Bytes of tensors in one file, so that writing needs no second copy of a whole model.
_FILE = 2 * 10**9
# The rooms whose code decides what a compression leaves.
_ROOMS = ("native", "recipe", "targets", "parts", "formats", "evidence", "checkpoints")


def compressed_once(loaded: Loaded, recipe: Recipe, compress: Callable[[Loaded], Evidence], cache: Path) -> Evidence:
    """Compress a model in place, or copy into it what an earlier run kept.

    Args:
        loaded: The model, uncompressed.
        recipe: What to do. Without steps nothing is kept.
        compress: Does it.
        cache: Folder of kept checkpoints.

    Returns:
        The evidence; `kept` in it says where the tensors lie and whether they were there. A cache that can't be
        written costs a warning and nothing else.

    Raises:
        UserError: As `compress` does.
    """
    if not recipe.steps:
        return compress(loaded)
    model = loaded.model
    if unwrap(model) is not model or getattr(model, "_hf_peft_config_loaded", False):
        log.warning("cache_compressed: a model under an adapter is compressed anew each time")
        return compress(loaded)
    start = time.perf_counter()
    before = tensor_hashes(model)
    made: list[Evidence] = []

    def write(folder: Path) -> Mapping[str, Any]:
        made.append(compress(loaded))
        changed = [name for name, digest in tensor_hashes(model).items() if before[name] != digest]
        _write_tensors(folder, model, changed)
        (folder / RECIPE_FILE).write_text(recipe.as_yaml(), encoding="utf-8")
        (folder / EVIDENCE_FILE).write_text(json.dumps(made[0].as_dict(), indent=2) + "\n", encoding="utf-8")
        return {"label": recipe.label, "base": loaded.base.get("pretrained"), "tensors": len(changed)}

    try:
        found = kept(cache, _key(loaded, recipe, hash_of(before)), write)
    except CacheError as error:
        log.warning("cache_compressed: %s; the run goes on without", error)
        return made[0] if made else compress(loaded)
    fact = {"path": str(found.path), "reused": found.reused}
    if made:
        return replace(made[0], kept=fact)
    old = Evidence(**json.loads((found.path / EVIDENCE_FILE).read_text(encoding="utf-8")))
    _copy_tensors(found.path, model)
    after = hash_of(tensor_hashes(model))
    if (hash_of(before), after) != (old.weights_hash_before, old.weights_hash_after):
        raise UserError(
            f"{found.path} gave other weights than its evidence says; remove it, or run without cache_compressed"
        )
    log.info("%s taken from %s", recipe.label, found.path)
    return replace(
        old,
        base=loaded.base,
        softmax_dtype=loaded.softmax_dtype,
        device=loaded.device,
        seconds=time.perf_counter() - start,
        kept=fact | {"seconds_to_make": old.seconds},
    )


def _key(loaded: Loaded, recipe: Recipe, weights: str) -> dict[str, Any]:
    """All that decides the bits: weights, config, recipe, calibration text, how the model is run, and by what code."""
    model: Any = loaded.model
    token_hash = None
    runs: dict[str, Any] = {}
    if recipe.needs_calibration:
        calibration = recipe.calibration or Calibration()
        token_hash = load_calibration(calibration, loaded.tokenizer, model_positions(model))[1].token_hash
        # Sums of floating point depend on the device, and on a CPU on the number of threads.
        device = next(model.parameters()).device.type
        runs = {
            "device": torch.cuda.get_device_name() if device == "cuda" else device,
            "threads": torch.get_num_threads() if device == "cpu" else None,
            "attention": str(getattr(model.config, "_attn_implementation", None)),
            "autocast": str(loaded.autocast),
        }
    config = {k: v for k, v in model.config.to_dict().items() if k not in ("_name_or_path", "transformers_version")}
    return {
        "weights": weights,
        "config": hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest(),
        "recipe": recipe.as_dict(),
        "calibration": token_hash,
        "canary": canary_ids(loaded.tokenizer),
        "runs": runs,
        "code": code_of(recipe),
        "versions": {name: release_of(name) for name in ("lm-eval-ext", "torch", "transformers")},
    }


def code_of(recipe: Recipe) -> str:
    """Hash of the sources that compress: ours, and the module of each method, whosever it is."""
    models = Path(__file__).parents[1]
    files = {path for room in _ROOMS for path in (models / room).rglob("*.py")}
    files |= {Path(path) for step in recipe.steps if (path := getsourcefile(type(step))) is not None}
    hashes = sorted(f"{path.name}:{file_hash(path)}" for path in files if path.is_file())
    return hashlib.sha256("|".join(hashes).encode()).hexdigest()


def release_of(name: str) -> str:
    """Version of an installed distribution; of one that is not installed, ours."""
    with suppress(PackageNotFoundError):
        return version(name)
    return lm_eval_ext.__version__


def _write_tensors(folder: Path, model: nn.Module, names: list[str]) -> None:
    """Write tensors by name, as they are in memory, in files of about two gigabytes."""
    from safetensors.torch import save_file

    state = model.state_dict()
    for number, some in enumerate(_parts(state, names)):
        tensors = {name: state[name].detach().cpu().contiguous() for name in some}
        save_file(tensors, folder / f"changed-{number:05}.safetensors")


def _parts(state: Mapping[str, Tensor], names: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    size, seen = 0, set()
    for name in names:
        tensor = state[name]
        if tensor.data_ptr() in seen:  # a tied weight is kept once
            continue
        seen.add(tensor.data_ptr())
        part.append(name)
        size += tensor.numel() * tensor.element_size()
        if size >= _FILE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _copy_tensors(folder: Path, model: nn.Module) -> None:
    """Copy kept tensors into the model, one at a time."""
    from safetensors import safe_open

    state = model.state_dict()
    with torch.no_grad():
        for file in sorted(folder.glob("changed-*.safetensors")):
            with safe_open(str(file), framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118  (a reader, not a dict)
                    state[name].copy_(tensors.get_tensor(name))
