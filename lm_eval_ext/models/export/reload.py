"""Load what was written as any user would, and hold it against what was in memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.canary import canary_ids, canary_logits
from lm_eval_ext.models.evidence.hashes import weights_hash
from lm_eval_ext.models.evidence.record import Evidence

__all__ = ["Expected", "check_reload", "expected_of"]

# Logits of the same weights on the same machine; a kernel may sum in another order once it is loaded from a file.
_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a reload must show."""

    ids: list[int]
    """The canary prompt by the tokenizer in memory."""
    logits: Tensor
    """[vocab] float32, on the CPU."""
    dtype: torch.dtype
    device: str
    hash: str | None
    """Of all weights, where they are plain; None for what a library packed."""


def expected_of(model: nn.Module, tokenizer: Any, evidence: Evidence | None) -> Expected:
    """Look at a model in memory; `evidence` where its hash is that of a plain checkpoint."""
    first = next(model.parameters())
    return Expected(
        ids=canary_ids(tokenizer),
        logits=canary_logits(model, tokenizer),
        dtype=first.dtype,
        device=str(first.device),
        hash=None if evidence is None else evidence.weights_hash_after,
    )


def check_reload(folder: Path, expected: Expected, *, trust_remote_code: bool = False) -> tuple[float, str]:
    """Load a folder with transformers.

    Args:
        folder: What was written.
        expected: What was in memory.
        trust_remote_code: As transformers takes it.

    Returns:
        The largest difference of a logit of the canary prompt, and the hash of the weights as they load.

    Raises:
        UserError: If it can't be loaded, its weights or logits are others, or its tokenizer reads another prompt.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    packed = "quantization_config" in (folder / "config.json").read_text(encoding="utf-8")
    options: dict[str, Any] = {"dtype": expected.dtype, "trust_remote_code": trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
        model = AutoModelForCausalLM.from_pretrained(folder, **options).to(expected.device).eval()
    except Exception as error:
        raise UserError(
            f"what was written does not load ({type(error).__name__}: {' '.join(str(error).split())})"
        ) from error
    if canary_ids(tokenizer) != expected.ids:
        raise UserError("the tokenizer that was written reads the canary prompt otherwise")
    # Before the first pass: some libraries unpack their weights during it.
    found = weights_hash(model)
    if expected.hash is not None and not packed and found != expected.hash:
        raise UserError("the weights that were written are not those in memory")
    difference = float((canary_logits(model, tokenizer) - expected.logits).abs().max())
    if not difference <= _TOLERANCE * max(1.0, float(expected.logits.abs().max())):
        raise UserError(f"the model that was written has other logits (by up to {difference:.3g})")
    return difference, found
