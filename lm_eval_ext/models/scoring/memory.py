"""How many rows go through a model at once, by the memory that they need."""

from __future__ import annotations

from typing import Any

import torch

from lm_eval_ext.models.parts.decoder import unwrap

__all__ = ["ROW_TOKENS", "attention_width", "row_bytes", "rows_per_pass", "size_of", "stock_rows", "vocabulary"]

ROW_TOKENS = 512
# With batch_size=auto on a CPU: rows a thread, between these bounds, in as much memory as the weights take, or this.
_ROWS_A_THREAD, _FEWEST_ROWS, _MOST_ROWS = 2, 4, 32
_LEAST_MEMORY = 2**30
_MOST_LOGITS = 2**26


def rows_per_pass(lm: Any) -> int:
    """Rows of 512 tokens that run together: the batch size, or for "auto" what the device takes.

    auto is the memory that may be used over the memory of a row, between 1 and lm-eval's `max_batch_size` (64):

    - CUDA: half of what is free on the fullest of the model's devices, counting what torch holds unused.
    - CPU: as much as the weights take, or 1 GiB where they are smaller; and no more than 2 rows a thread (but 4 at
      least, 32 at most).
    - Other devices: 8 rows.

    The memory of a row is an estimate (`row_bytes`). A CUDA device that runs out of memory all the same is given half
    as many rows from then on. The number changes no result but by rounding.
    """
    given = lm.batch_size
    if isinstance(given, int):
        return max(1, given)
    model = unwrap(lm.model)
    rows: int
    kind = torch.device(lm.device).type
    if kind == "cuda":
        rows = min(_free(device) for device in _cuda_devices(model)) // 2 // row_bytes(model)
    elif kind == "cpu":
        weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        by_memory = max(weights, _LEAST_MEMORY) // row_bytes(model)
        rows = min(by_memory, max(_FEWEST_ROWS, min(_ROWS_A_THREAD * torch.get_num_threads(), _MOST_ROWS)))
    else:
        rows = 8
    return max(1, min(rows, int(lm.max_batch_size)))


def stock_rows(lm: Any, tokens: int) -> int:
    """Rows of a pass in lm-eval's own code on a CPU with batch_size=auto, for sequences of so many tokens.

    As many tokens as in a pass of ours, and logits of at most 64 million numbers (256 MB in float32), which that code
    computes for every token; one row at least.
    """
    by_logits = _MOST_LOGITS // (tokens * vocabulary(unwrap(lm.model)))
    return max(1, min(rows_per_pass(lm) * ROW_TOKENS // tokens, by_logits, int(lm.max_batch_size)))


def row_bytes(model: Any) -> int:
    """Memory that one row of 512 tokens needs during a pass, an estimate from the model's shape, in bytes.

    Numbers a token: 8 hidden states (residual, normed, queries, keys, values before and after rotation, output), 3 of
    the MLP's width for each expert that a token goes to, keys and values of all layers, 512 for the mask, and 1,024 for
    each attention head (scores and their softmax, which sdpa mostly avoids). Each has the size of the model's dtype.
    Logits are not among them: the engine bounds those by itself. What a config doesn't tell is taken as usual: an MLP
    of four times the hidden size, one expert a token.
    """
    config = _text_config(model)
    hidden = size_of(config, ("hidden_size", "d_model", "n_embd"), _embedding(model).shape[-1])
    heads, head_dim, layers = _attention(config, hidden)
    width = size_of(config, ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size"), 4 * hidden)
    experts = size_of(config, ("num_experts_per_tok", "moe_top_k", "num_experts_per_token", "top_k_experts"), 1)
    key_heads = size_of(config, ("num_key_value_heads", "kv_n_heads", "num_kv_heads"), heads)
    cached = 2 * layers * key_heads * head_dim
    numbers = 8 * hidden + 3 * experts * width + cached + ROW_TOKENS * (1 + 2 * heads)
    size: int = _embedding(model).element_size()
    return ROW_TOKENS * numbers * size


def attention_width(model: Any) -> int:
    """Channels of all heads and layers together."""
    config = _text_config(model)
    heads, head_dim, layers = _attention(config, size_of(config, ("hidden_size",), _embedding(model).shape[-1]))
    return heads * head_dim * layers


def vocabulary(model: Any) -> int:
    """Logits a token at most: rows of the output layer or of the embedding."""
    head = getattr(model.get_output_embeddings(), "weight", None)
    return max(int(weight.shape[0]) for weight in (_embedding(model), head) if weight is not None)


def size_of(config: Any, names: tuple[str, ...], default: int) -> int:
    """The first of these that a config tells, itself or in a config within it: the largest where it differs by layer.

    Args:
        config: A model's config, of any family.
        names: What families call the size.
        default: Where none has a whole number above 0.
    """
    # DBRX keeps the sizes of its MLP in ffn_config, MPT those of its heads in attn_config.
    within = [getattr(config, name, None) for name in ("ffn_config", "attn_config")]
    for part in (config, *within):
        for name in names:
            value = getattr(part, name, None)
            values = value if isinstance(value, list | tuple) else [value]
            sizes = [int(one) for one in values if isinstance(one, int) and not isinstance(one, bool) and one > 0]
            if sizes:
                return max(sizes)
    return default


def _attention(config: Any, hidden: int) -> tuple[int, int, int]:
    """Heads, channels a head, layers."""
    heads = size_of(config, ("num_attention_heads", "n_heads", "n_head", "num_heads"), 1)
    head_dim = size_of(config, ("head_dim", "attention_head_dim"), max(1, hidden // heads))
    return heads, head_dim, size_of(config, ("num_hidden_layers", "n_layers", "n_layer", "num_layers"), 1)


def _text_config(model: Any) -> Any:
    config = model.config
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _embedding(model: Any) -> torch.Tensor:
    weight: torch.Tensor = model.get_input_embeddings().weight
    return weight


def _cuda_devices(model: Any) -> set[torch.device]:
    return {parameter.device for parameter in model.parameters() if parameter.is_cuda}


def _free(device: torch.device) -> int:
    """Bytes that can still be had on a CUDA device, with those that torch has reserved and does not use."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free: int = torch.cuda.mem_get_info(device)[0]
    return free + unused
