"""From the names that mlx_lm gives to weights back to those of Hugging Face's model of the same architecture."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

__all__ = ["hf_names", "text_only"]

_EXPERTS = re.compile(r"^(?P<start>.*)\.switch_mlp\.(?P<map>gate_proj|up_proj|down_proj)\.weight$")
# Mixtral's own names of an expert's three maps.
_MIXTRAL = {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}


def hf_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names that Hugging Face's checkpoints have.

    mlx_lm stacks the experts of a layer ([experts, rows, cols] under switch_mlp); here each is a matrix again. All
    other names of the Llama, Qwen, Mistral, Gemma and Phi families are Hugging Face's already.
    """
    named: dict[str, Tensor] = {}
    for name, weight in weights.items():
        found = _EXPERTS.match(name)
        if found is None or weight.ndim != 3:
            named[name] = weight
            continue
        start, part = found["start"], found["map"]
        part = _MIXTRAL[part] if start.endswith("block_sparse_moe") else part
        named |= {f"{start}.experts.{index}.{part}.weight": expert for index, expert in enumerate(weight)}
    return named


def text_only(weights: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """The language model's weights under their own names, where mlx_lm kept that part of a larger model alone.

    Returns:
        None where the weights are not of this kind: some lie outside `language_model`.
    """
    start = "language_model."
    if not weights or not all(name.startswith(start) for name in weights):
        return None
    return {name.removeprefix(start): weight for name, weight in weights.items()}
