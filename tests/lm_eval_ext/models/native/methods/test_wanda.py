"""Wanda against a slow float64 reference of the published procedure, written with plain hooks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.record import Evidence
from lm_eval_ext.models.native import workbench
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.native.workbench import Workbench
from lm_eval_ext.models.recipe.resolve import resolve
from lm_eval_ext.models.targets.find import find_targets
from tests.helpers.compress import changed, expected, matrix, snapshot
from tests.helpers.tiny import tiny_model

EQUAL, UNEQUAL = (48, 48, 48, 48), (40, 23, 64, 5)


def samples(lengths: Sequence[int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(4)
    return [torch.randint(3, 300, (1, length), generator=generator) for length in lengths]


def pruned_row(scores: Tensor, sparsity: float, pattern: tuple[int, int] | None) -> Tensor:
    """Mask of one output row: True for what goes. Ascending stable sort, the first int(columns * ratio) go."""
    mask = torch.zeros(len(scores), dtype=torch.bool)
    if pattern is None:
        order = np.argsort(scores.numpy(), kind="stable")
        mask[order[: int(len(scores) * sparsity)].tolist()] = True
        return mask
    kept, size = pattern
    for start in range(0, len(scores), size):
        order = np.argsort(scores[start : start + size].numpy(), kind="stable")
        mask[[start + int(place) for place in order[: size - kept]]] = True
    return mask


def reference(
    model: Any,
    ids: Sequence[Tensor],
    sparsity: float = 0.5,
    pattern: tuple[int, int] | None = None,
    dense: bool = False,
) -> None:
    """The published procedure on a Llama, in place.

    Block by block: collect the squared inputs of every linear layer over all tokens, prune all of them, go on behind
    the pruned block. With `dense`, all statistics first, as the pruning study has it.
    """
    blocks = list(model.model.layers)
    for group in [blocks] if dense else [[block] for block in blocks]:
        layers = [module for block in group for module in block.modules() if type(module) is nn.Linear]
        sums = {id(layer): torch.zeros(layer.in_features, dtype=torch.float64) for layer in layers}

        def collect(layer: nn.Module, args: tuple[Tensor, ...], sums: dict[int, Tensor] = sums) -> None:
            for token in args[0].double().reshape(-1, args[0].shape[-1]):
                sums[id(layer)] += token**2

        handles = [layer.register_forward_pre_hook(collect) for layer in layers]
        with torch.no_grad():
            for sample in ids:
                model(input_ids=sample)
            for handle in handles:
                handle.remove()
            for layer in layers:
                norm = sums[id(layer)].sqrt()
                for row in layer.weight:
                    row[pruned_row(row.double().abs() * norm, sparsity, pattern)] = 0


def ours(model: Any, ids: Sequence[Tensor], **keys: Any) -> Workbench:
    """Wanda on given token ids, without a tokenizer."""
    step = resolve(method="wanda", **keys).steps[0]
    targets, skips = find_targets(model, step)
    bench = Workbench(model, step, targets, skips, ids)
    step.run(bench)
    bench.finish()
    return bench


def run(model: Any, tokenizer: Any, text: Path, **keys: Any) -> Evidence:
    recipe = resolve(**({"samples": 4, "seqlen": 32, "calibration": str(text)} | keys))
    return compress_(model, tokenizer, recipe)


@pytest.mark.parametrize("lengths", [EQUAL, UNEQUAL], ids=["equal", "unequal"])
@pytest.mark.parametrize(
    ("keys", "published"),
    [
        ({"sparsity": 0.5}, {"sparsity": 0.5}),
        ({"sparsity": 0.37}, {"sparsity": 0.37}),
        ({"pattern": "2:4"}, {"pattern": (2, 4)}),
        ({"pattern": "1:8"}, {"pattern": (1, 8)}),
        ({"sparsity": 0.5, "sequential": False}, {"sparsity": 0.5, "dense": True}),
        ({"pattern": "4:8", "sequential": False}, {"pattern": (4, 8), "dense": True}),
    ],
)
def test_against_the_published_procedure(
    keys: dict[str, Any], published: dict[str, Any], lengths: Sequence[int]
) -> None:
    model, slow = tiny_model("llama"), tiny_model("llama")
    ours(model, samples(lengths), **keys)
    reference(slow, samples(lengths), **published)
    wanted = snapshot(slow)
    for name, weight in snapshot(model).items():
        assert torch.equal(weight, wanted[name]), name


def test_sequential_and_dense_differ_behind_the_first_block() -> None:
    # Otherwise the test above could not tell them apart.
    sequential, dense = tiny_model("llama"), tiny_model("llama")
    ours(sequential, samples(EQUAL), sparsity=0.5)
    ours(dense, samples(EQUAL), sparsity=0.5, sequential=False)
    assert changed(snapshot(dense), sequential) == {name for name in expected("llama") if ".layers.1." in name}


def test_padding_would_change_the_masks() -> None:
    # Samples are given as long as they are; the same ones padded with zeros are other data.
    plain, padded = tiny_model("llama"), tiny_model("llama")
    ids = samples(UNEQUAL)
    ours(plain, ids, sparsity=0.5)
    ours(padded, [nn.functional.pad(sample, (0, 64 - sample.shape[1])) for sample in ids], sparsity=0.5)
    assert changed(snapshot(plain), padded)


@pytest.mark.parametrize("family", ["qwen2", "gemma2", "phi3", "opt", "gpt2", "mixtral"])
@pytest.mark.parametrize("keys", [{"sparsity": 0.37}, {"pattern": "2:4"}], ids=["rows", "pattern"])
def test_counts_in_every_row_and_group(family: str, keys: dict[str, Any]) -> None:
    model = tiny_model(family)
    before = snapshot(model)
    ours(model, samples(UNEQUAL), **keys)
    after = snapshot(model)
    assert changed(before, model) == set(expected(family))
    for name, (rows, cols) in expected(family).items():
        gone = matrix(after, name, family) == 0
        assert gone.shape == (rows, cols)
        if "pattern" in keys:
            assert bool((gone.reshape(rows, cols // 4, 4).sum(dim=2) == 2).all())
        else:
            assert gone.sum(dim=1).tolist() == [int(cols * 0.37)] * rows
        assert torch.equal(matrix(after, name, family)[~gone], matrix(before, name, family)[~gone])


def test_gpt2_ranks_by_inputs() -> None:
    # By hand on the first linear map: GPT-2's Conv1D keeps its weight as [inputs, outputs].
    model = tiny_model("gpt2")
    seen: list[Tensor] = []
    layer = model.transformer.h[0].attn.c_attn
    handle = layer.register_forward_pre_hook(lambda module, args: seen.append(args[0][0].double()))
    with torch.no_grad():
        for sample in samples(EQUAL):
            model(input_ids=sample)
    handle.remove()
    norm = torch.cat(seen).square().sum(dim=0).sqrt()
    before = layer.weight.detach().clone()
    ours(model, samples(EQUAL), sparsity=0.5)
    for output in range(192):
        scores = before[:, output].double().abs() * norm
        assert torch.equal(layer.weight[:, output] == 0, pruned_row(scores, 0.5, None))


def test_unrouted_experts_are_named_and_ranked_by_magnitude(tokenizer: Any, text_file: Path) -> None:
    # Router rows v, -v, 0, 0 and one expert a token: experts 2 and 3 never see one.
    model = tiny_model("mixtral", num_experts_per_tok=1)
    for block in model.model.layers:
        weight = block.mlp.gate.weight.data
        weight[1], weight[2:] = -weight[0], 0
    before = snapshot(model)
    evidence = run(model, tokenizer, text_file, method="wanda", sparsity=0.5)
    unseen = {
        f"model.layers.{block}.mlp.experts.{name}[{expert}]"
        for block in range(2) for name in ("gate_up_proj", "down_proj") for expert in (2, 3)
    }  # fmt: skip
    assert set(evidence.unseen_experts) == unseen
    after = snapshot(model)
    for record in evidence.matrices:
        assert ("ranked_by" in record) == (record["name"] in unseen)
        assert (record["tokens"] == 0) == (record["name"] in unseen)
    for name in unseen:
        was, now = matrix(before, name, "mixtral"), matrix(after, name, "mixtral")
        for row, pruned in zip(was, now, strict=True):
            assert torch.equal(pruned == 0, pruned_row(row.double().abs(), 0.5, None))
    # The routers are as they were, and said to be skipped.
    assert {skip["name"] for skip in evidence.skipped} == {f"model.layers.{b}.mlp.gate.weight" for b in range(2)}
    assert all(torch.equal(after[skip["name"]], before[skip["name"]]) for skip in evidence.skipped)


def test_tokens_are_counted_in_the_evidence(tokenizer: Any, text_file: Path) -> None:
    evidence = run(tiny_model("llama"), tokenizer, text_file, method="wanda", sparsity=0.5)
    assert {record["tokens"] for record in evidence.matrices} == {4 * 32}
    assert evidence.calibration is not None
    assert evidence.calibration["tokens"] == 4 * 32


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_the_studys_variant_leaves_two_projections_dense(family: str, tokenizer: Any, text_file: Path) -> None:
    model = tiny_model(family)
    before = snapshot(model)
    evidence = run(model, tokenizer, text_file, recipe="rath-wanda-50")
    left = {name for name in expected(family) if name.endswith(("o_proj.weight", "down_proj.weight"))}
    assert len(left) == 4
    assert changed(before, model) == set(expected(family)) - left
    assert {skip["name"]: skip["reason"] for skip in evidence.skipped} == dict.fromkeys(left, "excluded by the recipe")
    assert evidence.label.startswith("rath-wanda-50")
    assert evidence.sparsity == 0.5
    # Half of what was targeted; less than half of what a reader of "50 %" would think.
    assert evidence.totals["achieved_sparsity"] == 0.5
    assert (
        evidence.totals["parameters"]
        == {"llama": 2 * (64 * 64 + 2 * 32 * 64 + 2 * 128 * 64), "phi3": 2 * (128 * 64 + 256 * 64)}[family]
    )


def test_the_studys_variant_wants_its_projections(tokenizer: Any, text_file: Path) -> None:
    # OPT calls them out_proj and fc2: the recipe would prune everything there and still carry its name.
    with pytest.raises(UserError, match=r"exclude='\*.o_proj' matches no module of OPTForCausalLM"):
        run(tiny_model("opt"), tokenizer, text_file, recipe="rath-wanda-50")


@pytest.mark.parametrize("sequential", [True, False])
def test_output_layer_on_request(sequential: bool) -> None:
    model = tiny_model("llama")
    seen: list[Tensor] = []
    before = model.lm_head.weight.detach().clone()
    bench = ours(model, samples(EQUAL), sparsity=0.5, lm_head=True, sequential=sequential)
    assert bench.records[-1]["name"] == "lm_head.weight"
    assert bench.records[-1]["tokens"] == sum(EQUAL)
    # Its inputs come from the pruned blocks, or from the dense ones.
    other = model if sequential else tiny_model("llama")
    other.lm_head.register_forward_pre_hook(lambda module, args: seen.append(args[0][0].double()))
    with torch.no_grad():
        for sample in samples(EQUAL):
            other(input_ids=sample)
    norm = torch.cat(seen).square().sum(dim=0).sqrt()
    for was, now in zip(before, model.lm_head.weight, strict=True):
        assert torch.equal(now == 0, pruned_row(was.double().abs() * norm, 0.5, None))


@pytest.mark.parametrize("method", ["random", "magnitude"])
def test_one_module_used_as_two_blocks_is_pruned_once(method: str, tokenizer: Any) -> None:
    model = tiny_model("llama")
    model.model.layers[1] = model.model.layers[0]
    evidence = compress_(model, tokenizer, resolve(method=method, sparsity=0.5))
    assert [record["zeros"] / (record["shape"][0] * record["shape"][1]) for record in evidence.matrices] == [0.5] * 7
    assert all(record["aliases"] == [record["name"].replace("layers.0.", "layers.1.")] for record in evidence.matrices)


def test_one_module_used_as_two_blocks_needs_dense_statistics(tokenizer: Any, text_file: Path) -> None:
    model = tiny_model("llama")
    model.model.layers[1] = model.model.layers[0]
    before = snapshot(model)
    with pytest.raises(UserError, match="uses one module as several blocks"):
        run(model, tokenizer, text_file, method="wanda", sparsity=0.5)
    assert not changed(before, model)
    evidence = run(model, tokenizer, text_file, method="wanda", sparsity=0.5, sequential=False)
    # Both uses give statistics: twice the tokens.
    assert {record["tokens"] for record in evidence.matrices} == {2 * 4 * 32}


def test_matrices_with_one_storage_are_pruned_once(tokenizer: Any, text_file: Path) -> None:
    model = tiny_model("llama")
    model.model.layers[1].mlp.up_proj.weight = model.model.layers[0].mlp.up_proj.weight
    evidence = run(model, tokenizer, text_file, method="wanda", sparsity=0.5)
    assert len(evidence.matrices) == 13
    assert bool(((model.model.layers[1].mlp.up_proj.weight == 0).sum(dim=1) == 32).all())


def test_same_data_same_masks_other_seed_other_masks(tokenizer: Any, text_file: Path) -> None:
    models = []
    for seed in (0, 0, 1):
        models.append(tiny_model("llama"))
        run(models[-1], tokenizer, text_file, method="wanda", sparsity=0.5, seed=seed)
    assert not changed(snapshot(models[0]), models[1])
    assert changed(snapshot(models[0]), models[2])


def test_bfloat16_is_ranked_in_float32() -> None:
    # Reference in float64 from the bfloat16 model's own inputs; equal scores of coarse weights are told apart by norms
    # that float32 keeps and bfloat16 would not.
    model, slow = tiny_model("llama", dtype=torch.bfloat16), tiny_model("llama", dtype=torch.bfloat16)
    ours(model, samples(EQUAL), sparsity=0.5)
    reference(slow, samples(EQUAL))
    assert not changed(snapshot(slow), model)


def test_embedding_is_refused_by_the_recipe() -> None:
    with pytest.raises(UserError, match="wanda ranks by input activations"):
        resolve(method="wanda", sparsity=0.5, embeddings=True)


def test_an_architecture_that_can_not_run_block_by_block(
    tokenizer: Any, text_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model("llama")
    before = snapshot(model)

    def refuse(self: object) -> None:
        raise UserError("can't be run one by one; use sequential=False")

    monkeypatch.setattr(workbench.BlockRunner, "check", refuse)
    with pytest.raises(UserError, match="sequential=False"):
        run(model, tokenizer, text_file, method="wanda", sparsity=0.5)
    assert not changed(before, model)
    run(model, tokenizer, text_file, method="wanda", sparsity=0.5, sequential=False)
