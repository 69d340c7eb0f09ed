"""Whether a packed model computes what its packed weights say: every kernel beside plain arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.canary import canary_logits
from lm_eval_ext.models.formats.matrix import PackedMatrix
from lm_eval_ext.models.parts.loaded import Loaded

__all__ = ["TOLERANCE", "TOLERANCE_8", "decoded_logits", "tolerance"]

TOLERANCE = 0.02
"""Most that a kernel's output may differ from that of the decoded weights on the same input, as a share of its size
(2-norms). Kernels that compute in bfloat16 differ by 0.003 here; one that is wrong, by 0.5 and more."""
TOLERANCE_8 = 0.1
"""The same for a kernel that rounds its input to 8 bits, which makes about 0.01 by itself."""


def tolerance(matrix: PackedMatrix) -> float | None:
    """Most relative difference of a module's output; None where it rounds its input to fewer than 8 bits."""
    if matrix.activation_bits is None:
        return TOLERANCE
    return TOLERANCE_8 if matrix.activation_bits >= 8 else None


def decoded_logits(loaded: Loaded, matrices: list[PackedMatrix]) -> tuple[Tensor, dict[str, Any]]:
    """Run the canary prompt by the decoded weights, and each kernel on the same inputs beside them.

    Args:
        loaded: The model, before its first forward pass.
        matrices: Its packed matrices; one at a time is decoded.

    Returns:
        The logits that the decoded weights give, [vocab] float32; and facts: how many matrices the prompt reached
        (an expert may see no token) and the largest relative difference.

    Raises:
        UserError: If a kernel computes something else than its packed weights say, or the logits are not finite.
    """
    found: dict[str, float] = {}
    hooks = [matrix.module.register_forward_hook(_beside(matrix, found)) for matrix in matrices]
    try:
        logits = canary_logits(loaded.call, loaded.tokenizer)
    finally:
        for hook in hooks:
            hook.remove()
    limits = {matrix.name: tolerance(matrix) for matrix in matrices}
    wrong = [name for name, off in found.items() if (limit := limits[name]) is not None and not off <= limit]
    if wrong:
        worst = max(wrong, key=lambda name: found[name])
        kernel = next(type(matrix.module).__name__ for matrix in matrices if matrix.name == worst)
        raise UserError(
            f"{len(wrong)} of {len(matrices)} packed matrices compute something else than their weights say: {worst} "
            f"({kernel}) is off by {found[worst]:.0%} of its output, where rounding makes at most "
            f"{limits[worst]:.0%}; load the model in another dtype (dtype=bfloat16) or on another device"
        )
    return logits, {"kernels_compared": len(found), "kernels_off_by": max(found.values(), default=None)}


def _beside(matrix: PackedMatrix, found: dict[str, float]) -> Callable[[nn.Module, Any, Any], Any]:
    def compare(module: nn.Module, arguments: Any, output: Any) -> Any:
        given = arguments[0]
        if not isinstance(given, Tensor) or not isinstance(output, Tensor) or not given.numel():
            return None
        bias = getattr(module, "bias", None)
        weight = matrix.read().values.to(given.device)
        expected = nn.functional.linear(given.float(), weight, None if bias is None else bias.float())
        size = float(torch.linalg.vector_norm(expected))
        off = float(torch.linalg.vector_norm(output.float() - expected))
        # A kernel that ends in NaN is never within a limit.
        ratio = off / size if size else (0.0 if off == 0.0 else float("inf"))
        found[matrix.name] = max(found.get(matrix.name, 0.0), ratio) if ratio == ratio else float("inf")
        return expected.to(output.dtype)

    return compare
