"""The record of a compression: what was asked, what was done to every matrix, and the sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Evidence", "totals"]


@dataclass
class Evidence:
    """What was asked and what was done; written to lm-eval's results under `compression`."""

    label: str
    """Short name in tables; ends in "(unverified)" where nobody proved what was asked."""
    method: str
    """Methods joined by '+'; "none" for the dense model; the family (`formats.form.Came`) for one that came compressed,
    "unverified" where its form could not be read."""
    sparsity: float | None
    """Share of zeros that pruning made and that are zeros at the end; see `pipeline.held_sparsity`."""
    bits: float | None
    """Bits a weight that hold at the end; see `pipeline.held_bits`. Of a model that came compressed the mean width of a
    code over the quantized matrices of the decoder, scales not counted; with `kv` alone, bits of a key or value."""
    recipe: dict[str, Any]
    base: dict[str, Any]
    weights_hash_before: str | None
    """None for a checkpoint that was made elsewhere: its source was not loaded."""
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
    status: Literal["dense", "proved", "measured", "unverified"] = "proved"
    """dense: nothing was asked and the weights are plain. proved: every matrix was measured and is as asked. measured:
    the model came compressed, nothing was asked of us, and the form of every matrix was read from what was loaded.
    unverified: compressed, but some of it can't be measured; see `doubts`."""
    doubts: list[str] = field(default_factory=list)
    """What could not be measured, one line each."""
    backend: str = "native"
    """Who carried out the recipe; several joined by '+'."""
    stages: list[dict[str, Any]] = field(default_factory=list)
    """Of a recipe of several backends: what was measured behind each stage. Empty where one backend did all."""
    claim: dict[str, Any] | None = None
    """What the backend said of a checkpoint that it made; not evidence."""
    loaded: str | None = None
    """What was loaded, where it is not the base itself."""
    packed_hash: str | None = None
    """Hash of the same weights in the packed form in which they were exported, as it loads."""
    kv: dict[str, Any] | None = None
    """Of a quantized KV cache: format, bits, group_size, residual, head_widths, bits_per_value (groups included),
    attention, layers that read it, and what it did to the canary prompt. None without one."""
    kept: dict[str, Any] | None = None
    """With cache_compressed: `path` of what is kept, `reused`, and `seconds_to_make` of what was there already."""
    reading: dict[str, Any] | None = None
    """How the form of a model that came compressed was read, and what its config says."""
    origin: dict[str, Any] | None = None
    """Of a model that came compressed: `base_model`, its uncompressed original, and `told_by` (recipe, config, card),
    both None where nothing names it."""
    schema_version: int = 4
    """4: status "measured", `reading`, `origin`, `kv`, `kept`; matrices of a model that came compressed are listed.
    3: `totals` has sums over all matrices of the decoder (`whole.decoder_totals`).
    2: `sparsity` and `bits` say what holds at the end (in 1, what was asked of the last step); `status`, `doubts`,
    `backend`, `claim` and `loaded` are new, and `weights_hash_before` may be missing."""

    def as_dict(self) -> dict[str, Any]:
        """Plain types, ready for JSON."""
        return asdict(self)


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
