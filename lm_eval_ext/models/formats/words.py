"""Codes of 2 to 8 bits in words: a stream of bits, lowest first, as MLX, GPTQ and compressed-tensors pack them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["unpack"]


def unpack(words: Tensor, bits: int, count: int | None = None) -> Tensor:
    """The codes in packed words.

    Args:
        words: [rows, n] uint32 or int32; a code may lie across two words.
        bits: 1 to 8.
        count: Codes of a row; all that fit by default.

    Returns:
        [rows, count], uint8.
    """
    octets = words.contiguous().view(torch.uint8).reshape(words.shape[0], -1)
    # Whatever the bits, 8 codes take exactly `bits` bytes.
    if octets.shape[1] % bits:
        octets = torch.nn.functional.pad(octets, (0, bits - octets.shape[1] % bits))
    grouped = octets.reshape(words.shape[0], -1, bits).to(torch.int64)
    places = torch.arange(bits, device=words.device)
    streams = (grouped << (8 * places)).sum(dim=-1, keepdim=True)
    codes = (streams >> (bits * torch.arange(8, device=words.device))) & (2**bits - 1)
    whole: Tensor = codes.to(torch.uint8).reshape(words.shape[0], -1)
    return whole[:, :count]
