"""What a compression comes to over the whole decoder, beside what it comes to where it was meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.targets.find import decoder_matrices
from lm_eval_ext.models.targets.target import Target

__all__ = ["decoder_totals"]


def decoder_totals(model: nn.Module, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sums over all matrices of the decoder blocks, those among them that a recipe excludes.

    Embedding, output layer, routers and norms are not among them, whatever the recipe does to the first two.

    Args:
        model: The compressed model.
        records: The records of its compressed matrices.

    Returns:
        decoder_matrices, decoder_parameters; decoder_sparsity, the share of zeros that they hold now;
        decoder_bits_per_weight, where something was quantized: stored bits including scales, and the dtype's for a
        matrix that was not. Empty where nothing was compressed, or the weights can't be read as plain numbers.
    """
    if not records:
        return {}
    try:
        targets = decoder_matrices(model)
    except UserError:
        return {}
    if not targets or not all(map(_plain, targets)):
        return {}
    stored = {r["name"]: r["bits_per_weight"] for r in records if r.get("bits_per_weight") is not None}
    parameters = zeros = 0
    bits = 0.0
    for target in targets:
        weight = target.view()
        parameters += weight.numel()
        zeros += int((weight == 0).sum())
        bits += weight.numel() * stored.get(target.info.name, 8 * weight.element_size())
    return {
        "decoder_matrices": len(targets),
        "decoder_parameters": parameters,
        "decoder_sparsity": zeros / parameters,
        "decoder_bits_per_weight": bits / parameters if stored else None,
    }


def _plain(target: Target) -> bool:
    weight = getattr(target.module, target.parameter)
    return not weight.is_meta and type(weight.data) is Tensor and weight.is_floating_point() and weight.numel() > 0
