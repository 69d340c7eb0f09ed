"""Looks at a model before and after llm-compressor; for run_llmcompressor.py, beside which it lies."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import torch
from script_parts import COEFFICIENTS, RefusedError
from torch import nn

EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
# They rotate the whole model: embedding and output layer change with it.
ROTATIONS = ("SpinQuantModifier", "QuIPModifier")
# Largest change of a logit, as a share of the largest one, that a change of nothing but rounding may make.
SAME = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.3}


def linear_maps(model: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Linear maps of the decoder blocks by name, and those to leave alone with the reason."""
    from transformers.pytorch_utils import Conv1D

    config = model.config.get_text_config()
    count = config.num_hidden_layers
    lists = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.ModuleList) and len(m) == count]
    if not lists:
        raise RefusedError(f"no list of {count} decoder blocks was found in {type(model).__name__}")
    start, blocks = lists[0]
    experts = {getattr(config, key) for key in EXPERTS if isinstance(getattr(config, key, None), int)}
    found: dict[str, Any] = {}
    left: dict[str, str] = {}
    for inside, module in blocks.named_modules():
        name = f"{start}.{inside}"
        if isinstance(module, Conv1D):
            raise RefusedError(
                f"{name} is a Conv1D, which llm-compressor leaves as it is and does not say so; use rtn, magnitude "
                "or wanda"
            )
        if isinstance(module, nn.Linear):
            last = name.rpartition(".")[2]
            if module.out_features in experts and re.search("gate|router|wg", last) and last != "gate_proj":
                left[name] = "router"
            elif min(module.weight.shape) < COEFFICIENTS:
                left[name] = "coefficients"
            else:
                found[name] = module
    return found, left


def logits(model: Any, rows: list[list[int]], *, quantized: bool = True) -> Any:
    """Of the first tokens of the first sample, or of a few low ids; on request by weights that are not rounded."""
    from compressed_tensors.quantization import disable_quantization, enable_quantization

    ids = torch.tensor([rows[0][:64] if rows else list(range(3, 19))], device=model.device)
    model.apply(enable_quantization if quantized else disable_quantization)
    with torch.no_grad():
        found = model(input_ids=ids, use_cache=False).logits.float().cpu()
    model.apply(enable_quantization)
    return found


def same_function(before: Any, after: Any, name: str, dtype: Any) -> float:
    """Largest change of a logit, as a share of the largest; raises if a transform changes what the model computes."""
    change = float((after - before).abs().max() / before.abs().max())
    if not change <= SAME.get(dtype, 0.3):
        raise RefusedError(
            f"{name} should leave the model's answers as they are, but moved its logits by {change:.2g} of their range"
        )
    return change


def ends(model: Any) -> dict[str, str]:
    """Hashes of the embedding and the output layer."""
    found = {"embedding": model.get_input_embeddings(), "lm_head": model.get_output_embeddings()}
    return {
        name: hashlib.sha256(
            m.weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        ).hexdigest()
        for name, m in found.items()
        if m is not None
    }


def check_ends(model: Any, before: dict[str, str], steps: list[dict[str, Any]]) -> None:
    """Refuse a changed embedding or output layer that nobody asked for."""
    if any(kind in ROTATIONS for step in steps for kind, _ in step["modifiers"]):
        return
    after = ends(model)
    asked = {"lm_head"} if any(step["lm_head"] for step in steps) else set()
    changed = [name for name in before if after[name] != before[name] and name not in asked]
    if changed:
        raise RefusedError(f"llm-compressor changed the {' and the '.join(changed)}, which nobody asked for")


def schemes(model: Any) -> dict[str, dict[str, Any]]:
    """How many modules are quantized in each way that they say."""
    found: dict[str, dict[str, Any]] = {}
    for module in model.modules():
        scheme: Any = getattr(module, "quantization_scheme", None)
        weights = getattr(scheme, "weights", None)
        if weights is None:
            continue
        inputs = scheme.input_activations
        shape = {
            "bits": weights.num_bits,
            "type": str(getattr(weights.type, "value", weights.type)),
            "strategy": str(getattr(weights.strategy, "value", weights.strategy)),
            "group_size": weights.group_size,
            "symmetric": weights.symmetric,
            "input_bits": None if inputs is None else inputs.num_bits,
        }
        entry = found.setdefault(json.dumps(shape, sort_keys=True), {**shape, "modules": 0})
        entry["modules"] += 1
    return found
