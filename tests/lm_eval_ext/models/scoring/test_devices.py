"""Layers on two devices: the meta device, which computes nothing but refuses to mix, stands for the second."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from transformers import DynamicCache

from lm_eval_ext.models.scoring.draws import Branch
from lm_eval_ext.models.scoring.engine import TreeScorer
from lm_eval_ext.models.scoring.rows import Row
from lm_eval_ext.models.scoring.sampling import TreeSampler
from lm_eval_ext.models.scoring.trie import build_forest
from tests.helpers.tiny import tiny_model

PREFIX, LENGTH = 5, 10


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_keys_and_values_stay_where_their_layer_is(family: str) -> None:
    model: Any = tiny_model(family)
    for part in [*model.model.layers[1:], model.model.norm, model.lm_head]:
        part.to("meta")
        # As accelerate's device_map does: inputs follow the layer.
        add_hook_to_module(part, AlignDevicesHook(execution_device=torch.device("meta"), skip_keys="past_key_values"))
    sampler = TreeSampler(model, softmax_dtype=torch.float32, row_tokens=64, rows=2)
    devices = ["cpu", *["meta"] * (len(model.model.layers) - 1)]
    forest = build_forest([tuple(range(3, 20))])
    row = Row(
        torch.zeros(LENGTH, dtype=torch.long),
        torch.arange(PREFIX, PREFIX + LENGTH),
        torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril(),
        [(8, 8), (9, 9)],
    )
    cache = DynamicCache()
    with torch.no_grad():
        past = sampler._prefill(forest, np.arange(PREFIX))
        assert [keys.device.type for keys, _ in past] == devices
        logprobs = TreeScorer._pass(sampler, [row, row], past, cache)
        assert logprobs is not None
        assert (logprobs.shape, logprobs.device.type) == ((4, 300), "meta")
        assert [layer.keys.device.type for layer in cache.layers] == devices
        columns = PREFIX + LENGTH
        seen = torch.ones(columns, dtype=torch.bool)
        branches = [Branch(0, (0,), (5,)), Branch(0, (1,), (6,))]
        spots = [(number, columns, seen) for number in (0, 1)]
        after, keys, _ = sampler._append(branches, spots, torch.zeros(2, columns, dtype=torch.long), cache)
    assert (after.shape, after.device.type) == ((2, 300), "meta")
    assert keys.shape == (2, columns + 1)
