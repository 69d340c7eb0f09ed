"""Forward passes over packed rows: masks, positions, caches, and log-probabilities where something is scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from lm_eval_ext.models.parts.calling import Calling
from lm_eval_ext.models.scoring.memory import vocabulary
from lm_eval_ext.models.scoring.rows import Row
from lm_eval_ext.models.scoring.trie import Forest, Ints

__all__ = ["PackedModel"]


class PackedModel:
    """A decoder-only transformers model that takes 4-D masks and `position_ids`, as packed rows need it."""

    def __init__(self, call: Calling, softmax_dtype: torch.dtype | None) -> None:
        """Prepare, without running anything.

        Args:
            call: How the run calls its model.
            softmax_dtype: Dtype of the log-softmax; None is the logits' own.
        """
        self._call = call
        self._model = call.inner
        self._softmax_dtype = softmax_dtype
        config = self._model.config
        self._text = config.get_text_config() if hasattr(config, "get_text_config") else config
        self._head: nn.Module = self._model.get_output_embeddings()
        self._vocabulary = vocabulary(self._model)
        self._device, self._dtype = call.device, self._model.get_input_embeddings().weight.dtype

    def _prefill(self, forest: Forest, prefix: Ints) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of a prefix, one pair a layer; empty for no prefix."""
        if not len(prefix):
            return []
        ids = torch.from_numpy(forest.tokens[prefix])[None].to(self._device)
        positions = torch.arange(len(prefix))[None]
        visible = torch.ones(len(prefix), len(prefix), dtype=torch.bool).tril()[None]
        cache = DynamicCache()
        self._forward(ids, visible, positions, positions, cache, keep=None)
        return [(layer.keys, layer.values) for layer in cache.layers]

    def _pass(
        self, rows: Sequence[Row], past: list[tuple[Tensor, Tensor]], cache: DynamicCache | None = None
    ) -> Tensor | None:
        """One forward pass over rows; log-probabilities at their scored nodes, [nodes, vocabulary].

        An empty `cache` holds the rows' keys and values afterwards, those of the prefix first.
        """
        length, count = max(len(row.tokens) for row in rows), len(rows)
        before = past[0][0].shape[-2] if past else 0
        ids = torch.zeros(count, length, dtype=torch.long)
        positions = torch.zeros(count, length, dtype=torch.long)
        visible = torch.zeros(count, length, before + length, dtype=torch.bool)
        # Padding sees itself alone: a row of a softmax over nothing would be NaN, and NaN spreads.
        visible[:, range(length), range(before, before + length)] = True
        for index, row in enumerate(rows):
            size = len(row.tokens)
            ids[index, :size], positions[index, :size] = row.tokens, row.positions
            visible[index, :size, before : before + size] = row.visible
            visible[index, :size, :before] = True
        keep = torch.tensor([i * length + place for i, row in enumerate(rows) for place, _ in row.scored])
        if past:
            cache = DynamicCache() if cache is None else cache
            for layer, (keys, values) in enumerate(past):
                cache.update(keys.expand(count, -1, -1, -1), values.expand(count, -1, -1, -1), layer)
        key_positions = torch.cat([torch.arange(before).expand(count, -1), positions], dim=1)
        device = self._device
        logits = self._forward(ids.to(device), visible, positions, key_positions, cache, keep=keep)
        return None if logits is None else logits.log_softmax(-1, dtype=self._softmax_dtype)

    def _forward(
        self,
        ids: Tensor,
        visible: Tensor,
        positions: Tensor,
        key_positions: Tensor,
        cache: DynamicCache | None,
        keep: Tensor | None,
    ) -> Tensor | None:
        """Run the model; logits at the kept places of the flattened batch, [places, vocabulary]; None for none.

        The output layer is given the kept hidden states alone, so logits exist only where they are needed, and
        whatever the model does to logits afterwards (soft-capping, scaling) is its own code.
        """
        masks = self._masks(visible, positions, key_positions)
        selected = torch.zeros(0, dtype=torch.long) if keep is None else keep

        def gather(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            hidden = args[0]
            return (hidden.reshape(-1, hidden.shape[-1])[selected.to(hidden.device)][None],)

        handle = self._head.register_forward_pre_hook(gather)
        try:
            output = self._call(
                ids,
                attention_mask=masks,
                position_ids=positions.to(self._device),
                past_key_values=cache,
                use_cache=cache is not None,
            )
        finally:
            handle.remove()
        return output.logits[0] if len(selected) else None

    def _masks(self, visible: Tensor, positions: Tensor, key_positions: Tensor) -> Any:
        """The mask, or one a layer type, [rows, 1, queries, keys], additive in the model's dtype.

        In a sliding window a node sees its ancestors of the last `sliding_window` positions.
        """
        window = getattr(self._text, "sliding_window", None)
        kinds = set(getattr(self._text, "layer_types", None) or ())
        near = visible
        if window is not None:
            near = visible & (positions[:, :, None] - key_positions[:, None, :] < window)
        if len(kinds) > 1:
            return {kind: self._additive(near if kind == "sliding_attention" else visible) for kind in kinds}
        return self._additive(near if kinds in ({"sliding_attention"}, set()) else visible)

    def _additive(self, visible: Tensor) -> Tensor:
        mask = torch.zeros(visible.shape, dtype=self._dtype)
        # Autocast narrows the mask too: the least number of the wider dtype would become an infinity.
        mask.masked_fill_(~visible, torch.finfo(self._call.narrowest).min)
        return mask[:, None].to(self._device)
