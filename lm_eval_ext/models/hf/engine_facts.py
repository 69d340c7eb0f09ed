"""What a run of compressed_hf was computed by: engine, releases, dtype, how its weights are kept, parallelism."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from lm_eval_ext.models.evidence.record import Evidence

__all__ = ["engine_facts"]


def engine_facts(run: Any, evidence: Evidence) -> dict[str, Any]:
    """The facts of a run that a comparison goes by, for `config.engine` of lm-eval's results.

    Args:
        run: The model of lm-eval, loaded.
        evidence: Its evidence.

    Returns:
        name, version (of this package, transformers and torch), dtype (of the weights, with the autocast's),
        quantization (the label of a model that runs on packed weights; None for plain ones, whatever made them),
        kv_cache (None: in the dtype of the model), parallel ("tp=2", "device_map=auto", "dp=4" or None),
        batch_invariant (None: nobody promises it), seeds ("own": texts are drawn by our sampler), threads (torch's on
        a CPU; None elsewhere).
    """
    releases = [f"{name} {_version(name)}" for name in ("lm-eval-ext", "transformers", "torch")]
    return {
        "name": "compressed_hf",
        "version": ", ".join(releases),
        "dtype": evidence.dtype,
        "quantization": evidence.label.split("+kv-")[0] if "kernels_compared" in evidence.canary else _unread(evidence),
        "kv_cache": _kv(evidence),
        "parallel": _parallel(run),
        "batch_invariant": None,
        "seeds": "own",
        "threads": torch.get_num_threads() if evidence.device.startswith("cpu") else None,
    }


def _unread(evidence: Evidence) -> str | None:
    """A name for packed weights that could not be read."""
    return "unknown" if evidence.method == "unverified" else None


def _kv(evidence: Evidence) -> str | None:
    """The KV cache's form, as its quantization says it."""
    if not evidence.kv:
        return None
    return str(evidence.kv.get("format") or f"int{evidence.kv.get('bits')}")


def _parallel(run: Any) -> str | None:
    """How the model or the documents are spread; None for one process with the whole model on one device."""
    mesh = getattr(getattr(run, "model", None), "_device_mesh", None)
    if mesh is not None:
        return f"tp={mesh.size()}"
    places = {str(place) for place in (getattr(run.model, "hf_device_map", None) or {}).values()}
    parts = [f"devices={len(places)}"] if len(places) > 1 else []
    parts += [f"dp={run.world_size}"] if run.world_size > 1 else []
    return ",".join(parts) or None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"
