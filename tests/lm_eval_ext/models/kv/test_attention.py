"""Attention over a quantized cache against a slow one in float64: one query and one key at a time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lm_eval_ext.models.kv.attention import as_computed, register
from lm_eval_ext.models.kv.levels import read_back
from lm_eval_ext.models.recipe.kv import KvCache
from tests.helpers.tiny import tiny_model

HEADS, KEY_HEADS, WIDTH = 4, 2, 16


@pytest.fixture(scope="module")
def module() -> Any:
    """An attention module with 4 heads over 2 key heads."""
    return tiny_model("llama").model.layers[0].self_attn


def slow(query: Tensor, key: Tensor, value: Tensor, visible: Tensor, kv: KvCache) -> Tensor:
    """[batch, queries, heads, width] float64."""
    read_keys, read_values = (read_back(part, kv).double() for part in (key, value))
    keys, values, queries = key.double(), value.double(), query.double()
    out = torch.zeros(query.shape[0], query.shape[2], HEADS, WIDTH, dtype=torch.float64)
    for batch in range(query.shape[0]):
        for place in range(query.shape[2]):
            seen = visible[batch, place].nonzero().flatten().tolist()
            near = set(seen[max(0, len(seen) - kv.residual) :]) if kv.residual else set()
            for head in range(HEADS):
                own = head // (HEADS // KEY_HEADS)
                scores = torch.stack(
                    [
                        queries[batch, head, place]
                        @ (keys if k in near else read_keys)[batch, own, k]
                        / math.sqrt(WIDTH)
                        for k in seen
                    ]
                )
                taken = torch.stack([(values if k in near else read_values)[batch, own, k] for k in seen])
                out[batch, place, head] = scores.softmax(0) @ taken
    return out


def parts(queries: int, keys: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return (
        torch.randn(2, HEADS, queries, WIDTH, generator=generator),
        torch.randn(2, KEY_HEADS, keys, WIDTH, generator=generator),
        torch.randn(2, KEY_HEADS, keys, WIDTH, generator=generator),
    )


@pytest.mark.parametrize("base", ["sdpa", "eager"])
@pytest.mark.parametrize("residual", [0, 1, 3, 100])
@pytest.mark.parametrize("masked", ["none", "bool", "added"])
def test_against_one_query_at_a_time(module: Any, base: str, residual: int, masked: str) -> None:
    if masked == "none" and base == "eager":
        pytest.skip("eager attention has no causal mask of its own")
    kv = KvCache(format="int2", group_size=8, residual=residual)
    query, key, value = parts(5, 5)
    visible = torch.ones(5, 5, dtype=torch.bool).tril().expand(2, 5, 5).clone()
    if masked != "none":
        # Branches of a tree: the fourth token does not see the third, the fifth sees neither.
        visible[:, 3, 2] = visible[:, 4, 2] = visible[:, 4, 3] = False
    mask = None if masked == "none" else visible[:, None]
    if masked == "added" or base == "eager":
        mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.bfloat16).min)[:, None]
    reader = register(kv, base)
    found, _ = reader(module, query, key, value, mask, scaling=WIDTH**-0.5, dropout=0.0)
    torch.testing.assert_close(found.double(), slow(query, key, value, visible, kv), rtol=1e-5, atol=1e-5)


def test_queries_behind_a_cache_without_a_mask(module: Any) -> None:
    kv = KvCache(format="int4", group_size=8, residual=2)
    query, key, value = parts(1, 6)
    found, _ = register(kv, "sdpa")(module, query, key, value, None, scaling=WIDTH**-0.5)
    visible = torch.ones(2, 1, 6, dtype=torch.bool)
    torch.testing.assert_close(found.double(), slow(query, key, value, visible, kv), rtol=1e-5, atol=1e-5)


def test_suspended_it_is_the_models_own() -> None:
    model = tiny_model("llama").eval()
    ids = torch.arange(10, 40)[None]
    with torch.no_grad():
        plain = model(ids).logits
        reader = register(KvCache(format="int2"), "sdpa")
        model.set_attn_implementation(reader.name)
        assert not torch.allclose(model(ids).logits, plain, atol=1e-4)
        with as_computed(model) as rounds:
            assert rounds
            assert torch.equal(model(ids).logits, plain)
        assert not torch.allclose(model(ids).logits, plain, atol=1e-4)
        model.set_attn_implementation("sdpa")
        with as_computed(model) as rounds:
            assert not rounds
