"""GGUF: the types that a file's tensors have, and the values that they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lm_eval_ext.errors import require_extra
from lm_eval_ext.models.formats.dequantized import Expected
from lm_eval_ext.models.formats.form import Came, Form

__all__ = ["read_gguf"]

_PLAIN = ("F64", "F32", "F16", "BF16")
# Weights of a row that share a scale, where it is not the whole block of the type.
_SUB = {"Q2_K": 16, "Q3_K": 16, "Q4_K": 32, "Q5_K": 32, "Q6_K": 16, "IQ4_XS": 32}
_BLOCK = re.compile(r"^blk\.(\d+)\.(.+)\.weight$")
_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_ENDS = {"token_embd.weight": "model.embed_tokens.weight", "output.weight": "lm_head.weight"}


def read_gguf(file: Path) -> Expected:
    """The quantized tensors of a file.

    The bits of a matrix are those of its type in the file; `levels` are the most different values in the weights that
    share a scale, in 8 rows. Bits a weight are the type's whole size.

    Raises:
        UserError: If the package `gguf` is missing.
    """
    require_extra(("gguf",), "demo", "reading a GGUF file")
    import gguf

    tensors = [t for t in gguf.GGUFReader(str(file)).tensors if t.tensor_type.name not in _PLAIN and len(t.shape) == 2]

    def values() -> Iterator[tuple[str, Tensor]]:
        for tensor in tensors:
            yield _name(tensor.name), torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type))

    forms = [
        _form(name, tensor, decoded, gguf.GGML_QUANT_SIZES[tensor.tensor_type])
        for tensor, (name, decoded) in zip(tensors, values(), strict=True)
    ]
    doubts = [
        f"{form.name} is {form.kind}, and some of its groups have {form.levels} values"
        for form in forms
        if form.levels is not None and form.levels > 2**form.bits
    ]
    facts: dict[str, Any] = {
        "read": "types of the file's tensors, values a group, and the sums of what was loaded held against them",
        "types": _counted(forms),
    }
    return Expected(came=Came(method="gguf", forms=forms, facts=facts, doubts=doubts), values=values)


def _form(name: str, tensor: Any, values: Tensor, sizes: tuple[int, int]) -> Form:
    kind, (block, octets) = tensor.tensor_type.name, sizes
    size = _SUB.get(kind, block)
    digits = re.search(r"\d", kind)
    sample = values[torch.linspace(0, values.shape[0] - 1, min(8, values.shape[0])).long()]
    ordered = sample.reshape(-1, size).sort(dim=1).values
    return Form(
        name=name,
        shape=(values.shape[0], values.shape[1]),
        method="gguf",
        kind=kind,
        bits=int(digits.group()) if digits else 8,
        levels=1 + int((ordered.diff(dim=1) != 0).sum(dim=1).max()),
        group_size=size,
        symmetric=None,
        bits_per_weight=8 * octets / block,
        zeros=int((values == 0).sum()),
        finite=bool(torch.isfinite(values).all()),
    )


def _name(name: str) -> str:
    """Hugging Face's name where the Llama family's rule gives one; GGUF's own otherwise."""
    found = _BLOCK.match(name)
    if found is None:
        return _ENDS.get(name, name)
    part = _NAMES.get(found.group(2))
    return name if part is None else f"model.layers.{found.group(1)}.{part}.weight"


def _counted(forms: list[Form]) -> dict[str, int]:
    kinds = sorted({form.kind for form in forms})
    return {kind: sum(form.kind == kind for form in forms) for kind in kinds}
