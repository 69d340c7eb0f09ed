"""Proof that a model was compressed: hashes, a canary prompt, and the record of every matrix."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.calling import Calling
from lm_eval_ext.models.compress.layers import unwrap
from lm_eval_ext.models.encoding import Encoding
from lm_eval_ext.models.positions import model_positions

__all__ = ["Evidence", "canary_ids", "canary_logits", "compare_canary", "totals", "weights_hash"]

CANARY = "The committee met on Tuesday to discuss the budget, and after two hours it decided to"


@dataclass
class Evidence:
    """What was asked and what was done; written to lm-eval's results under `compression`."""

    label: str
    method: str
    sparsity: float | None
    """Share of zeros that pruning made and that are zeros at the end; see `pipeline.held_sparsity`."""
    bits: float | None
    """Bits a weight that hold at the end; see `pipeline.held_bits`."""
    recipe: dict[str, Any]
    base: dict[str, Any]
    weights_hash_before: str
    weights_hash_after: str
    dtype: str
    softmax_dtype: str
    device: str
    seconds: float = 0.0
    calibration: dict[str, Any] | None = None
    totals: dict[str, Any] = field(default_factory=dict)
    matrices: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    unseen_experts: list[str] = field(default_factory=list)
    canary: dict[str, Any] = field(default_factory=dict)
    save_error: str | None = None
    """Why save_compressed left no checkpoint, if it was asked and did not."""
    schema_version: int = 1

    def as_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)


def weights_hash(model: nn.Module) -> str:
    """sha256 over all saved parameters and buffers: name, dtype, shape and sha256 of the bytes of each, by name.

    One tensor at a time passes through the CPU. A tied parameter is entered under each of its names, so that the hash
    tells of values alone, not of how they are stored.

    Raises:
        UserError: If a weight is offloaded, so that its values are not there.
    """
    digest = hashlib.sha256()
    tensors = unwrap(model).state_dict(keep_vars=True)
    done: dict[int, str] = {}
    for name in sorted(tensors):
        tensor = tensors[name]
        if not isinstance(tensor, Tensor):
            continue
        if tensor.is_meta:
            raise UserError(f"{name} is offloaded (on the meta device); load the model where it fits whole")
        if id(tensor) not in done:
            done[id(tensor)] = _sha256(tensor.detach())
        digest.update(f"{name}|{tensor.dtype}|{list(tensor.shape)}|{done[id(tensor)]}|".encode())
    return digest.hexdigest()


def _sha256(tensor: Tensor) -> str:
    """Hash of the bytes of a tensor; of one that is made of others (torchao's), of their bytes in turn."""
    if type(tensor) is not Tensor and hasattr(tensor, "__tensor_flatten__"):
        parts = [_sha256(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0]]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()
    raw = tensor.contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data
    return hashlib.sha256(raw).hexdigest()


def canary_ids(tokenizer: Any) -> list[int]:
    """The canary prompt as token ids."""
    return Encoding(tokenizer).prompt(CANARY)


def canary_logits(model: nn.Module | Calling, tokenizer: Any) -> Tensor:
    """The next-token logits after a fixed prompt, [vocab] float32 on the CPU, as the run calls its model.

    The prompt is cut to the model's length.

    Raises:
        UserError: If they are not finite.
    """
    call = Calling.of(model)
    ids = torch.tensor([canary_ids(tokenizer)[: model_positions(call.inner)]])
    logits = call(ids, use_cache=False).logits[0, -1]
    logits = logits.float().cpu()
    if not bool(torch.isfinite(logits).all()):
        raise UserError(
            "the model's logits on the canary prompt are not finite; load it in a wider dtype (dtype=float32)"
        )
    assert isinstance(logits, Tensor)
    return logits


def compare_canary(before: Tensor, after: Tensor) -> dict[str, Any]:
    """What compression did to the canary prompt: largest and mean change of a logit, and whether the argmax stayed."""
    change = (after - before).abs()
    return {
        "prompt": CANARY,
        "finite": True,
        "max_abs_change": float(change.max()),
        "mean_abs_change": float(change.mean()),
        "same_argmax": bool(before.argmax() == after.argmax()),
    }


def totals(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sums over the compressed matrices, each counted once however many steps it went through.

    Returns:
        matrices, parameters; achieved_sparsity (share of zeros, of the last step); bits_per_weight (stored bits
        including scales, None without a quantizer); bytes_before; bytes_after (packed, where a quantizer says). Where a
        step follows a pruner also regrown: pruned weights that came back, over all steps.
    """
    last: dict[str, dict[str, Any]] = {}
    for record in records:
        last[record["name"]] = last.get(record["name"], {}) | record
    sizes = {name: r["shape"][0] * r["shape"][1] for name, r in last.items()}
    parameters = sum(sizes.values())
    if not parameters:
        return {"matrices": 0, "parameters": 0}
    quantized = [name for name, record in last.items() if record.get("bits_per_weight") is not None]
    bits = sum(last[name]["bits_per_weight"] * sizes[name] for name in quantized)
    packed = {name: last[name]["bits_per_weight"] * sizes[name] / 8 for name in quantized}
    regrown = [record["regrown"] for record in records if "regrown" in record]
    return {
        "matrices": len(last),
        "parameters": parameters,
        "achieved_sparsity": sum(record["zeros"] for record in last.values()) / parameters,
        "bits_per_weight": bits / sum(sizes[name] for name in quantized) if quantized else None,
        "bytes_before": sum(record["bytes"] for record in last.values()),
        "bytes_after": round(sum(packed.get(name, record["bytes"]) for name, record in last.items())),
    } | ({"regrown": sum(regrown)} if regrown else {})
