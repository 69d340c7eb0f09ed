"""Every packed matrix of a loaded model, whichever library holds it, and what all of them together are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from lm_eval_ext.models.formats import bnb, ct, fp8, gptq, subclasses
from lm_eval_ext.models.formats.form import Came, Form, form_of, unused
from lm_eval_ext.models.formats.matrix import PackedMatrix
from lm_eval_ext.models.targets.packed import packed_modules

__all__ = ["packed_matrices", "read_modules"]

_READERS: tuple[Callable[[str, Any], PackedMatrix | None], ...] = (
    gptq.packed_matrix,
    ct.packed_matrix,
    bnb.packed_matrix,
    subclasses.packed_matrix,
    fp8.packed_matrix,
)


def packed_matrices(inner: nn.Module) -> list[PackedMatrix]:
    """The packed matrices that can be read, in the order of the model.

    Call it before the first forward pass: some libraries rearrange or unpack their weights during it. What is packed
    stays readable afterwards, for as long as the list is kept.
    """
    found = []
    for name, module in inner.named_modules():
        for reader in _READERS:
            if (matrix := reader(name, module)) is not None:
                found.append(matrix)
                break
    return found


def read_modules(inner: nn.Module, matrices: list[PackedMatrix]) -> Came | None:
    """Decode every packed matrix once.

    Args:
        inner: The model, before its first forward pass.
        matrices: See `packed_matrices`.

    Returns:
        Its forms, with a doubt for every packed module that can't be read; None where none can.
    """
    if not matrices:
        return None
    forms: list[Form] = [form_of(matrix.name, matrix.method, matrix.read()) for matrix in matrices]
    known = {matrix.name.removesuffix(".weight") for matrix in matrices}
    unread = [
        what
        for what in packed_modules(inner, inner, "")
        if not any(what.startswith((f"{name} ", f"{name}.")) for name in known)
    ]
    methods = sorted({matrix.method for matrix in matrices})
    facts: dict[str, Any] = {"read": "codes of the packed weights, before the first forward pass"}
    bits = {matrix.activation_bits for matrix in matrices}
    if (activations := bits.pop() if len(bits) == 1 else None) is not None:
        facts["activation_bits"] = activations
    return Came(method="+".join(methods), forms=forms, facts=facts, doubts=[*unread[:3], *unused(forms)])
