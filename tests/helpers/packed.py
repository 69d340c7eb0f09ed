"""Tiny checkpoints in packed formats, written by hand from each format's public layout; no packer of any library."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.helpers.tiny import tiny_model, tiny_tokenizer

WIDE = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2}


@dataclass
class Packed:
    """A checkpoint in a packed format, and what its packed matrices stand for."""

    folder: Path
    weights: dict[str, Tensor] = field(default_factory=dict)
    """[rows, cols] float32, by the names of a plain model."""


def quantized(weight: Tensor, bits: int, size: int, *, symmetric: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Round to nearest in groups along a row: codes [rows, cols], scales and zero points [rows, groups], float16."""
    groups = weight.float().reshape(weight.shape[0], -1, size)
    if symmetric:
        scales = (groups.abs().amax(-1) / (2 ** (bits - 1) - 0.5)).half().float()
        zeros = torch.full_like(scales, 2 ** (bits - 1))
    else:
        low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
        scales = ((high - low) / (2**bits - 1)).half().float()
        zeros = (-low / scales).round()
    codes = (groups / scales.unsqueeze(-1) + zeros.unsqueeze(-1)).round().clamp(0, 2**bits - 1)
    return codes.reshape(weight.shape).to(torch.int64), scales, zeros.to(torch.int64)


def values(codes: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
    """What codes stand for, [rows, cols] float32."""
    size = codes.shape[1] // scales.shape[1]
    wide = [t.repeat_interleave(size, dim=1) for t in (scales, zeros)]
    return (codes - wide[1]) * wide[0]


def words(codes: Tensor, bits: int) -> Tensor:
    """Codes along the last dimension as a stream of bits, lowest first, in int32 words."""
    flat = codes.reshape(-1, codes.shape[-1])
    stream = ((flat.unsqueeze(-1) >> torch.arange(bits)) & 1).reshape(flat.shape[0], -1, 32)
    packed = (stream.to(torch.int64) << torch.arange(32)).sum(-1)
    return torch.where(packed >= 2**31, packed - 2**32, packed).to(torch.int32).reshape(*codes.shape[:-1], -1)


def write(
    folder: Path,
    config: dict[str, Any],
    pack: Callable[[str, Tensor], tuple[dict[str, Tensor], Tensor]],
    *,
    family: str = "llama",
    dtype: torch.dtype = torch.float16,
    **changes: Any,
) -> Packed:
    """A tiny model whose decoder's linear maps are packed, each by `pack`: module name, weight -> tensors, values."""
    from safetensors.torch import save_file

    model = tiny_model(family, dtype=dtype, **(WIDE | changes))
    packed = Packed(folder)
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        module = name.removesuffix(".weight")
        if ".layers." in name and name.endswith("_proj.weight"):
            made, stands = pack(module, tensor.float())
            tensors |= {f"{module}.{key}": value.contiguous() for key, value in made.items()}
            packed.weights[name] = stands
        else:
            tensors[name] = tensor.clone().contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.architectures = [type(model).__name__]
    said = model.config.to_dict() | {"quantization_config": config, "dtype": str(dtype).removeprefix("torch.")}
    (folder / "config.json").write_text(json.dumps(said))
    tiny_tokenizer().save_pretrained(folder)
    return packed


def write_gptq(folder: Path, *, bits: int = 4, size: int = 64, symmetric: bool = True, **changes: Any) -> Packed:
    """GPTQ (v1): words along a column, zero points less one, an index of each input's group."""

    def pack(module: str, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        codes, scales, zeros = quantized(weight, bits, size, symmetric=symmetric)
        made = {
            "qweight": words(codes, bits).t(),
            "qzeros": words((zeros - 1).t() & (2**bits - 1), bits),
            "scales": scales.t().half(),
            "g_idx": torch.arange(weight.shape[1], dtype=torch.int32) // size,
        }
        return made, values(codes, scales, zeros)

    said = {"quant_method": "gptq", "bits": bits, "group_size": size, "sym": symmetric, "desc_act": False}
    return write(folder, said | {"checkpoint_format": "gptq", "lm_head": False}, pack, **changes)


# AWQ's order of eight columns in a word.
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)


def write_awq(folder: Path, *, size: int = 64, **changes: Any) -> Packed:
    """AWQ (gemm): four bits, words along a row of [inputs, outputs], eight outputs a word in AWQ's order."""

    def interleaved(codes: Tensor) -> Tensor:
        return words(codes.reshape(codes.shape[0], -1, 8)[..., list(AWQ_ORDER)].reshape(codes.shape), 4)

    def pack(module: str, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        codes, scales, zeros = quantized(weight, 4, size, symmetric=False)
        made = {"qweight": interleaved(codes.t()), "qzeros": interleaved(zeros.t()), "scales": scales.t().half()}
        return made, values(codes, scales, zeros)

    said = {"quant_method": "awq", "bits": 4, "group_size": size, "zero_point": True, "version": "gemm"}
    return write(folder, said, pack, **changes)


def write_fp8(folder: Path, *, block: int = 64, **changes: Any) -> Packed:
    """FineGrainedFP8: float8_e4m3fn and one inverse scale a block of a matrix."""

    def pack(module: str, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        rows, cols = weight.shape
        blocks = weight.reshape(rows // block, block, cols // block, block)
        scales = blocks.abs().amax(dim=(1, 3)) / 448
        spread = scales.repeat_interleave(block, 0).repeat_interleave(block, 1)
        codes = (weight / spread).to(torch.float8_e4m3fn)
        return {"weight": codes, "weight_scale_inv": scales}, codes.float() * spread

    said = {"quant_method": "fp8", "weight_block_size": [block, block], "activation_scheme": "dynamic"}
    return write(folder, said, pack, **({"dtype": torch.bfloat16} | changes))
