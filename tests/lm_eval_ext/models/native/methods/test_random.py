"""Random pruning: exact counts, masks that depend on seed and matrix alone, and honest draws."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.native.methods.random import Random
from lm_eval_ext.models.native.workbench import Workbench
from lm_eval_ext.models.recipe.resolve import resolve
from lm_eval_ext.models.targets.find import find_targets
from tests.helpers.compress import expected, matrix, snapshot
from tests.helpers.tiny import tiny_model


def masks(model: Any, family: str = "llama") -> dict[str, Tensor]:
    weights = snapshot(model)
    return {name: matrix(weights, name, family) == 0 for name in expected(family)}


def pruned(tokenizer: Any, family: str = "llama", dtype: torch.dtype = torch.float32, **keys: Any) -> dict[str, Tensor]:
    model = tiny_model(family, dtype=dtype)
    assert not any(bool(mask.any()) for mask in masks(model, family).values())
    compress_(model, tokenizer, resolve(method="random", **keys))
    return masks(model, family)


@pytest.mark.parametrize("sparsity", [0.1, 0.37, 0.5, 0.9])
def test_exact_count_in_every_matrix(tokenizer: Any, sparsity: float) -> None:
    for name, mask in pruned(tokenizer, sparsity=sparsity).items():
        # Whole weights of a matrix, rounded down: 0.37 * 2048 = 757.76 gives 757.
        assert int(mask.sum()) == int(mask.numel() * sparsity), name


def test_pattern_leaves_two_of_every_four(tokenizer: Any) -> None:
    for mask in pruned(tokenizer, "gpt2", pattern="2:4").values():
        assert bool((mask.reshape(-1, 4).sum(dim=1) == 2).all())


def test_seeds_and_matrices_have_streams_of_their_own(tokenizer: Any) -> None:
    first, again, other, last = (pruned(tokenizer, sparsity=0.5, seed=seed) for seed in (0, 0, 1, 2**32 - 1))
    flat = torch.cat([mask.reshape(-1) for mask in first.values()])
    n = flat.numel()
    assert n == 2 * (3 * 64 * 64 - 64 * 64 + 2 * 32 * 64 + 3 * 64 * 128) == 73_728
    assert all(torch.equal(first[name], again[name]) for name in first)
    for different in (other, last):
        # Two independent halves share a quarter of all weights, with a standard deviation of sqrt(n * 3/16).
        both = int((flat & torch.cat([mask.reshape(-1) for mask in different.values()])).sum())
        assert abs(both - n / 4) < 6 * (n * 3 / 16) ** 0.5
    q, up = first["model.layers.0.self_attn.q_proj.weight"], first["model.layers.0.self_attn.o_proj.weight"]
    assert abs(int((q & up).sum()) - 1024) < 6 * (4096 * 3 / 16) ** 0.5


def test_dtype_does_not_change_the_mask(tokenizer: Any) -> None:
    wide, narrow = (pruned(tokenizer, sparsity=0.3, seed=5, dtype=dtype) for dtype in (torch.float32, torch.bfloat16))
    assert all(torch.equal(wide[name], narrow[name]) for name in wide)


@pytest.mark.parametrize("exact", [True, False])
def test_order_of_the_matrices_does_not_change_the_mask(exact: bool) -> None:
    step = Random(sparsity=0.5, seed=3, exact=exact)
    results = []
    for turn in (1, -1):
        model = tiny_model("gpt2")
        targets, skips = find_targets(model, step)
        bench = Workbench(model, step, targets[::turn], skips, [])
        step.run(bench)
        bench.finish()
        results.append(masks(model, "gpt2"))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_the_stream_is_that_of_seed_and_name(tokenizer: Any) -> None:
    # The rule in words: numpy's default generator of the seed and the eight 32-bit words of the name's sha256,
    # float32, row by row; the int(n * sparsity) smallest draws go.
    name = "model.layers.0.self_attn.k_proj.weight"
    mask = pruned(tokenizer, sparsity=0.5, seed=11)[name]
    digest = hashlib.sha256(name.encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4)]
    draws = np.random.default_rng([11, *words]).random((32, 64), dtype=np.float32)
    expected_mask = np.zeros(2048, dtype=bool)
    expected_mask[np.argsort(draws.reshape(-1), kind="stable")[:1024]] = True
    assert np.array_equal(mask.numpy().reshape(-1), expected_mask)


@pytest.mark.parametrize("also", [{"lm_head": True}, {"embeddings": True}, {"exclude": "*.q_proj"}])
def test_what_else_is_pruned_does_not_change_the_mask(tokenizer: Any, also: dict[str, Any]) -> None:
    alone, beside = pruned(tokenizer, sparsity=0.5), pruned(tokenizer, sparsity=0.5, **also)
    for name, mask in alone.items():
        if not (name.endswith("q_proj.weight") and "exclude" in also):
            assert torch.equal(mask, beside[name]), name


def test_bernoulli_strays_as_independent_draws_do(tokenizer: Any) -> None:
    counts = pruned(tokenizer, sparsity=0.3, exact=False)
    standard = [(int(mask.sum()) - 0.3 * mask.numel()) / (0.21 * mask.numel()) ** 0.5 for mask in counts.values()]
    assert len(standard) == 14
    assert max(map(abs, standard)) < 6
    # Fourteen exact counts would all stray by less than one weight, which is 0.07 of a standard deviation here.
    assert max(map(abs, standard)) > 0.3


def test_zero_changes_nothing(tokenizer: Any) -> None:
    for exact in (True, False):
        assert not any(bool(mask.any()) for mask in pruned(tokenizer, sparsity=0.0, exact=exact).values())


def test_small_bernoulli_matrices_pass_their_own_check(tokenizer: Any) -> None:
    # One matrix of 2,048 weights strays by more than a column's worth one time in seven or so.
    keys = {"sparsity": 0.5, "exact": False, "exclude": "*.q_proj+*.v_proj+*.o_proj+*.mlp.*+model.layers.1.*"}
    for seed in range(12):
        compress_(tiny_model("llama"), tokenizer, resolve(method="random", seed=seed, **keys))


@pytest.mark.gpu
def test_device_does_not_change_the_mask(tokenizer: Any) -> None:
    for keys in ({"sparsity": 0.37}, {"sparsity": 0.5, "exact": False}, {"pattern": "2:4"}):
        model = tiny_model("llama").to("cuda")
        compress_(model, tokenizer, resolve(method="random", **keys))
        on_cpu = pruned(tokenizer, **keys)
        assert all(torch.equal(mask.cpu(), on_cpu[name]) for name, mask in masks(model).items())
