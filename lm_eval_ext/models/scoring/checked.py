"""The tree scorer behind lm-eval's request format, used only where it gives what the stock path gives."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compress.layers import unwrap
from lm_eval_ext.models.scoring.engine import TreeScorer
from lm_eval_ext.models.scoring.trie import Query

__all__ = ["ROW_TOKENS", "Request", "TreeScoring", "obstacle", "row_bytes", "rows_per_pass", "stock_rows", "to_query"]

log = logging.getLogger(__name__)

Request = tuple[tuple[str, str] | None, list[int], list[int]]
Answer = tuple[float, bool]
Stock = Callable[[list[Request]], list[Answer]]

ROW_TOKENS = 512
_CHECKED = 6
# Layers that carry a state from token to token, as configs name them.
_STATES = frozenset(("conv", "hybrid", "linear_attention", "mamba", "recurrent"))
# With batch_size=auto on a CPU: rows a thread, between these bounds, in as much memory as the weights take, or this.
_ROWS_A_THREAD, _FEWEST_ROWS, _MOST_ROWS = 2, 4, 32
_LEAST_MEMORY = 2**30
_MOST_LOGITS = 2**26


def to_query(request: Request, max_length: int) -> Query:
    """A request as a query, cut from the left as lm-eval does: at most `max_length` tokens go into the model.

    Raises:
        UserError: If the continuation alone is longer than that.
    """
    _, context, continuation = request
    if len(continuation) > max_length:
        raise UserError(
            f"a continuation of {len(continuation)} tokens does not fit the model's max_length={max_length}; "
            "give a larger one"
        )
    tokens = (context + continuation)[-(max_length + 1) :]
    return Query(inputs=tuple(tokens[:-1]), targets=tuple(continuation))


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
    model: Any = unwrap(lm.model)
    by_logits = _MOST_LOGITS // (tokens * len(model.get_input_embeddings().weight))
    return max(1, min(rows_per_pass(lm) * ROW_TOKENS // tokens, by_logits, int(lm.max_batch_size)))


def row_bytes(model: Any) -> int:
    """Memory that one row of 512 tokens needs during a pass, an estimate from the model's shape, in bytes.

    Numbers a token: 8 hidden states (residual, normed, queries, keys, values before and after rotation, output), 3 of
    the MLP's width for each expert that a token goes to, keys and values of all layers, 512 for the mask, and 1,024 for
    each attention head (scores and their softmax, which sdpa mostly avoids). Each has the size of the model's dtype.
    Logits are not among them: the engine bounds those by itself.
    """
    config = model.config.get_text_config()
    hidden, heads = int(config.hidden_size), int(getattr(config, "num_attention_heads", None) or 1)
    width = int(getattr(config, "intermediate_size", None) or getattr(config, "ffn_dim", None) or 4 * hidden)
    experts = int(getattr(config, "num_experts_per_tok", None) or 1)
    head_dim = int(getattr(config, "head_dim", None) or hidden // heads)
    key_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    cached = 2 * int(config.num_hidden_layers) * key_heads * head_dim
    numbers = 8 * hidden + 3 * experts * width + cached + ROW_TOKENS * (1 + 2 * heads)
    size: int = model.get_input_embeddings().weight.element_size()
    return ROW_TOKENS * numbers * size


def _cuda_devices(model: Any) -> set[torch.device]:
    return {parameter.device for parameter in model.parameters() if parameter.is_cuda}


def _free(device: torch.device) -> int:
    """Bytes that can still be had on a CUDA device, with those that torch has reserved and does not use."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free: int = torch.cuda.mem_get_info(device)[0]
    return free + unused


class TreeScoring:
    """Scores lm-eval's tokenised requests by prefix trees, after seeing that this model allows it.

    A model may ignore a 4-D mask, derive positions in its own way, or carry a state from token to token. Not all of
    that can be told from a config, so a handful of the real requests, the longest among them, is scored both ways
    first, and again when a longer one comes (a window shows only in prompts that exceed it). Where the results differ,
    or the model raises, the stock path is taken for good, and one line says why.
    """

    def __init__(self, lm: Any) -> None:
        self._lm = lm
        self._scorer: TreeScorer | None = None
        self._usable: bool | None = None
        self._longest = 0

    def usable(self, requests: Sequence[Request], stock: Stock) -> bool:
        """Whether to score these requests by trees; checked against the stock path where none so long has been yet."""
        if not requests or requests[0][0] is None:
            return False  # rolling log-likelihoods share nothing
        longest = max(map(_length, requests))
        if self._usable is None or (self._usable and longest > self._longest):
            self._usable = self._check(requests, stock, min(longest, self._lm.max_length))
            self._longest = longest
        return self._usable

    def score(self, requests: Sequence[Request], done: Callable[[int], object]) -> list[Answer]:
        """Score requests, in their order."""
        queries = [to_query(request, self._lm.max_length) for request in requests]
        return [(score.log_likelihood, score.greedy) for score in self._tree().score(queries, done)]

    def _tree(self) -> TreeScorer:
        if self._scorer is None:
            rows = rows_per_pass(self._lm)
            log.info("batch_size=%s: %d rows of %d tokens in a pass", self._lm.batch_size, rows, ROW_TOKENS)
            self._scorer = TreeScorer(
                unwrap(self._lm.model), softmax_dtype=self._lm.softmax_dtype, row_tokens=ROW_TOKENS, rows=rows
            )
        return self._scorer

    def _check(self, requests: Sequence[Request], stock: Stock, longest: int) -> bool:
        name = type(unwrap(self._lm.model)).__name__
        reason = obstacle(self._lm, longest)
        if reason is not None:
            log.warning("%s %s; every prompt is run on its own", name, reason)
            return False
        step = max(1, len(requests) // _CHECKED)
        some = sorted(requests, key=lambda request: (request[1], request[2]))[::step][:_CHECKED]
        some = [max(requests, key=_length), *some]
        try:
            found = [value for value, _ in self.score(some, lambda count: None)]
            apart = self._stretched(some)
        except UserError:
            raise  # a fault of the request, not of the model
        except (TypeError, ValueError, RuntimeError, AttributeError, KeyError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            log.warning("%s can't be scored by prefix trees (%s); every prompt is run on its own", name, reason)
            return False
        narrow = self._tree().narrow
        for request, value in [*zip(some, found, strict=True), apart]:
            # Alone: what a model makes of a batch (padding, the longest of it) is not to agree by chance.
            ((other, _),) = stock([request])
            # Rounding alone, in the model's dtype, against a mask that is not obeyed: whole nats.
            allowed = 0.25 + 0.02 * abs(other) if narrow else 1e-3 * max(1.0, abs(other))
            if not abs(value - other) <= allowed:
                log.warning(
                    "%s gives %.4f by prefix trees and %.4f on its own; every prompt is run on its own",
                    name,
                    value,
                    other,
                )
                return False
        return True

    def _stretched(self, requests: Sequence[Request]) -> tuple[Request, float]:
        """A request and its score with other branches between the halves of its prompt, which fill the row.

        Whoever takes distances from the order of tokens in a row, rather than from their depth, gets it wrong.
        """
        fitting = [request for request in requests if _length(request) <= ROW_TOKENS // 2]
        request = max(fitting, key=_length) if fitting else min(requests, key=_length)
        query = to_query(request, self._lm.max_length)
        stem = query.inputs[: len(query.inputs) // 2]
        room = min(ROW_TOKENS - len(query.inputs), self._lm.vocab_size)
        # Below token 0, which is the first of a node's children, and no deeper than the prompt itself.
        between = [Query((*stem, 0, token), (0,)) for token in range(max(0, room - 1))]
        return request, self._tree().score([query, *between], row_length=ROW_TOKENS)[0].log_likelihood


def _length(request: Request) -> int:
    return len(request[1]) + len(request[2])


def obstacle(lm: Any, longest: int) -> str | None:
    """Why a model can't be run by prefix trees, as far as its class and config tell.

    Args:
        lm: The lm-eval model.
        longest: Tokens of the longest sequence to be run.

    Returns:
        What the model does, to be read behind its name; None leaves the question to a comparison of results.
    """
    if lm.backend != "causal":
        return "is an encoder-decoder model, which prefix trees are not made for"
    model = unwrap(lm.model)
    config: Any = model.config
    config = config.get_text_config()
    attention = getattr(config, "_attn_implementation", None)
    if attention not in (None, "eager", "sdpa"):
        return f"runs with attn_implementation={attention}, which takes no mask of prefix trees (sdpa and eager do)"
    if getattr(model, "_is_stateful", False) or _STATES.intersection(getattr(config, "layer_types", None) or ()):
        return "carries a state from token to token"
    if config.model_type == "bloom" or getattr(getattr(config, "attn_config", config), "alibi", False):
        return "takes the distance of tokens from their order in the row (ALiBi)"
    chunk = getattr(config, "attention_chunk_size", None)
    if chunk is not None and longest > chunk:
        return f"cuts attention into chunks of {chunk} tokens"
    if "local" in (getattr(config, "attention_layers", None) or ()) and config.window_size < max(longest, ROW_TOKENS):
        return f"attends within {config.window_size} tokens by their order in the row"  # GPT-Neo
    rope = getattr(config, "rope_parameters", None) or {}
    for values in [rope, *(part for part in rope.values() if isinstance(part, dict))]:
        kind = values.get("rope_type")
        if kind not in ("dynamic", "longrope"):
            continue
        bound = values.get("original_max_position_embeddings") or config.max_position_embeddings
        if longest > bound:
            return f"scales positions by the longest prompt of a batch ({kind} rotary embedding, over {bound} tokens)"
    return None
