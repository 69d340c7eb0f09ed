"""Whole compressions: every family by every method, nothing less than asked, and an error for everything else."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.hashes import weights_hash
from lm_eval_ext.models.evidence.record import Evidence
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.native.methods import _masks
from lm_eval_ext.models.native.methods.magnitude import Magnitude
from lm_eval_ext.models.native.methods.mlx_affine import MlxAffine
from lm_eval_ext.models.native.methods.rtn import RoundToNearest
from lm_eval_ext.models.native.methods.wanda import Wanda
from lm_eval_ext.models.native.workbench import Workbench
from lm_eval_ext.models.recipe.recipe import Calibration
from lm_eval_ext.models.recipe.resolve import resolve
from lm_eval_ext.models.targets.matrix import MatrixInfo
from tests.helpers.compress import COUNTS, EMBEDDING, TIED, changed, expected, matrix, snapshot
from tests.helpers.tiny import FAMILIES, tiny_model

METHODS: dict[str, dict[str, Any]] = {
    "random": {"method": "random", "sparsity": 0.5},
    "magnitude": {"method": "magnitude", "sparsity": 0.5},
    "wanda": {"method": "wanda", "sparsity": 0.5},
    "wanda-dense": {"method": "wanda", "pattern": "2:4", "sequential": False},
    "rtn": {"method": "rtn", "bits": 4, "group_size": 32},
    "mlx_affine": {"method": "mlx_affine", "bits": 4, "group_size": 64},
    "hqq": {"method": "hqq", "bits": 4, "group_size": 32},
}


@pytest.fixture
def run(tokenizer: Any, text_file: Path) -> Any:
    def compress(model: Any, **keys: Any) -> Evidence:
        if str(keys.get("method", keys.get("recipe"))).startswith(("wanda", "rath-wanda")):
            keys = {"calibration": str(text_file), "samples": 3, "seqlen": 24} | keys
        return compress_(model, tokenizer, resolve(**keys))

    return compress


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_by_every_method(family: str, method: str, run: Any) -> None:
    model = tiny_model(family)
    before = snapshot(model)
    evidence = run(model, **METHODS[method])
    # All matrices of the blocks, and no router, norm, bias, embedding or output layer.
    assert changed(before, model) == set(expected(family))
    assert {r["name"]: tuple(r["shape"]) for r in evidence.matrices} == expected(family)
    assert evidence.totals["matrices"] == COUNTS[family]
    assert evidence.totals["parameters"] == sum(rows * cols for rows, cols in expected(family).values())
    # Whatever is skipped is said to be: Mixtral's routers.
    routers = {f"model.layers.{block}.mlp.gate.weight" for block in range(2)} if family == "mixtral" else set()
    assert {skip["name"] for skip in evidence.skipped} == routers
    assert evidence.weights_hash_before != evidence.weights_hash_after == weights_hash(model)
    assert evidence.canary["finite"] is True
    assert evidence.canary["max_abs_change"] > 0
    after = snapshot(model)
    for name, (rows, cols) in expected(family).items():
        weight = matrix(after, name, family)
        if "bits" in METHODS[method]:
            size = METHODS[method]["group_size"]
            assert max(len(group.unique()) for group in weight.reshape(-1, size)) <= 16
            assert not torch.equal(weight, matrix(before, name, family))
        else:
            assert int((weight == 0).sum()) == rows * cols // 2
    json.dumps(evidence.as_dict())


@pytest.mark.parametrize("family", TIED)
@pytest.mark.parametrize("method", ["random", "magnitude", "rtn"])
def test_tied_ends_change_once_and_under_both_names(family: str, method: str, run: Any) -> None:
    model = tiny_model(family)
    embedding = EMBEDDING.get(family, "model.embed_tokens.weight")
    before = snapshot(model)
    with pytest.raises(UserError, match="ask for both"):
        run(model, **METHODS[method], lm_head=True)
    assert not changed(before, model)
    evidence = run(model, **METHODS[method], lm_head=True, embeddings=True)
    assert changed(before, model) == {*expected(family), embedding, "lm_head.weight"}
    assert evidence.matrices[0]["name"] == embedding
    assert evidence.matrices[0]["aliases"] == ["lm_head.weight"]
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert len(evidence.matrices) == COUNTS[family] + 1
    if method != "rtn":
        assert evidence.matrices[0]["zeros"] == 300 * 64 // 2


def test_the_mlx_scope_takes_a_tied_embedding_once(run: Any) -> None:
    model = tiny_model("gemma2")
    before = snapshot(model)
    evidence = run(model, recipe="rath-q-4")
    assert changed(before, model) == {*expected("gemma2"), "model.embed_tokens.weight", "lm_head.weight"}
    assert [record["name"] for record in evidence.matrices].count("model.embed_tokens.weight") == 1


def test_fused_projections_are_pruned_row_by_row(run: Any) -> None:
    # Phi-3: q, k and v (64 + 32 + 32 rows) in one matrix, gate and up (128 + 128) in another.
    model = tiny_model("phi3")
    run(model, method="wanda", sparsity=0.25)
    for block in model.model.layers:
        assert (block.self_attn.qkv_proj.weight == 0).sum(dim=1).tolist() == [16] * 128
        assert (block.mlp.gate_up_proj.weight == 0).sum(dim=1).tolist() == [16] * 256


def test_adapters_and_base_model(run: Any) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    for keys in ({"method": "wanda", "sparsity": 0.5}, {"method": "magnitude", "sparsity": 0.5}, {"recipe": "rtn-4"}):
        model = get_peft_model(tiny_model("llama"), config).eval()
        inner = model.get_base_model()
        before = snapshot(inner)
        evidence = run(model, **keys)
        assert {name.replace(".base_layer", "") for name in changed(before, inner)} == set(expected("llama"))
        assert {skip["reason"] for skip in evidence.skipped} == {"adapter"}
        assert len(evidence.skipped) == 2 * 2 * 2
        assert evidence.weights_hash_after == weights_hash(inner) != evidence.weights_hash_before


@pytest.mark.parametrize("method", ["random", "magnitude", "wanda"])
def test_nothing_asked_nothing_done(method: str, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model("llama")
    before = snapshot(model)
    evidence = run(model, method=method, sparsity=0.0)
    assert not changed(before, model)
    assert evidence.weights_hash_before == evidence.weights_hash_after
    assert evidence.canary["max_abs_change"] == 0.0
    assert evidence.totals["achieved_sparsity"] == 0.0
    assert "left every weight as it was" in caplog.text


@pytest.mark.parametrize("family", FAMILIES)
def test_dense_baseline(family: str, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model(family)
    before = snapshot(model)
    evidence = run(model)
    assert not changed(before, model)
    assert (evidence.label, evidence.method, evidence.sparsity, evidence.bits) == ("dense", "none", None, None)
    assert evidence.weights_hash_before == evidence.weights_hash_after == weights_hash(model)
    assert (evidence.matrices, evidence.skipped, evidence.calibration) == ([], [], None)
    assert evidence.totals == {"matrices": 0, "parameters": 0}
    assert evidence.canary["max_abs_change"] == 0.0
    assert not caplog.text


def test_pipeline_prunes_then_quantizes(run: Any) -> None:
    model = tiny_model("llama")
    evidence = run(model, method="wanda+rtn", sparsity=0.5, bits=4, group_size=32)
    assert (evidence.method, evidence.sparsity, evidence.bits) == ("wanda+rtn", 0.5, 4)
    assert [record["method"] for record in evidence.matrices] == ["wanda"] * 14 + ["rtn"] * 14
    # Zero is a level of the affine form: what was pruned stays pruned.
    assert evidence.totals["achieved_sparsity"] >= 0.5
    assert evidence.totals["matrices"] == 14
    for name in expected("llama"):
        weight = matrix(snapshot(model), name, "llama")
        assert bool(((weight == 0).sum(dim=1) >= weight.shape[1] // 2).all())


def test_evidence_of_a_run(tokenizer: Any, text_file: Path) -> None:
    model = tiny_model("llama", dtype=torch.bfloat16)
    recipe = resolve(method="wanda", sparsity=0.5, calibration=str(text_file), samples=3, seqlen=24, seed=9)
    facts = {"pretrained": "x", "revision": "main"}
    before = weights_hash(model)
    result = compress_(model, tokenizer, recipe, base=facts, softmax_dtype="bfloat16").as_dict()
    assert (result["schema_version"], result["status"], result["doubts"], result["backend"]) == (
        4,
        "proved",
        [],
        "native",
    )
    assert (result["label"], result["method"]) == ("wanda-50(calibration=text.txt,samples=3,seqlen=24,seed=9)", "wanda")
    assert result["base"] == facts
    assert result["recipe"] == recipe.as_dict()
    assert result["recipe"]["calibration"]["seqlen"] == 24
    assert (result["dtype"], result["softmax_dtype"], result["device"]) == ("bfloat16", "bfloat16", "cpu")
    assert result["weights_hash_before"] == before
    assert result["seconds"] > 0
    assert {"samples": 3, "seqlen": 24, "seed": 9, "tokens": 72}.items() <= result["calibration"].items()
    record = next(r for r in result["matrices"] if r["name"] == "model.layers.1.mlp.down_proj.weight")
    wanted = {"shape": [64, 128], "method": "wanda", "asked_sparsity": 0.5, "achieved_sparsity": 0.5, "zeros": 4096}
    assert (wanted | {"bytes": 16384, "tokens": 72}).items() <= record.items()
    assert result["totals"]["bytes_before"] == result["totals"]["bytes_after"] == 2 * 73_728


def test_default_length_is_the_models_own(run: Any, tokenizer: Any, tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    file.write_text("the older one and the younger one wrote letters " * 300, encoding="utf-8")
    evidence = run(
        tiny_model("llama", max_position_embeddings=128),
        method="wanda",
        sparsity=0.5,
        calibration=str(file),
        seqlen=None,
    )
    assert evidence.calibration["seqlen"] == 128


def test_same_run_twice_is_the_same(run: Any) -> None:
    hashes = {run(tiny_model("mixtral"), **METHODS[name]).weights_hash_after for name in ("wanda", "wanda")}
    assert len(hashes) == 1


# Before any change -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", METHODS)
def test_weights_that_are_not_finite(method: str, bad: float, run: Any) -> None:
    model = tiny_model("llama")
    model.model.layers[1].mlp.up_proj.weight.data[3, 4] = bad
    model.model.layers[0].mlp.down_proj.weight.data[0, 0] = bad
    before = snapshot(model)
    message = (
        r"2 matrices hold non-finite weights before compression: model.layers.0.mlp.down_proj.*layers.1.mlp.up_proj"
    )
    with pytest.raises(UserError, match=message):
        run(model, **METHODS[method])
    after = snapshot(model)
    assert all(torch.equal(after[name].nan_to_num(), before[name].nan_to_num()) for name in before)


def test_a_later_step_is_checked_before_the_first_changes_anything(run: Any) -> None:
    model = tiny_model("llama")
    before = snapshot(model)
    with pytest.raises(UserError, match="group_size=48 does not divide the columns of 14 of 14 matrices"):
        run(model, method="magnitude+rtn", sparsity=0.5, bits=4, group_size=48)
    assert not changed(before, model)


def test_calibration_is_had_before_anything_changes(run: Any, tmp_path: Path) -> None:
    model = tiny_model("llama")
    before = snapshot(model)
    short = tmp_path / "short.txt"
    short.write_text("too short", encoding="utf-8")
    with pytest.raises(UserError, match="fewer than one sample of seqlen=24"):
        run(model, method="wanda", sparsity=0.5, calibration=str(short))
    assert not changed(before, model)


def test_all_matrices_skipped_is_an_error(run: Any) -> None:
    model = tiny_model("llama")
    with pytest.raises(UserError, match="method rtn would skip every matrix"):
        run(model, method="rtn", bits=4, group_size=48, on_indivisible="skip")
    # Some are enough: 64 columns, but for down_proj's 96.
    model = tiny_model("llama", intermediate_size=96)
    evidence = run(model, method="rtn", bits=4, group_size=64, on_indivisible="skip")
    assert evidence.totals["matrices"] == 12
    assert sorted(skip["name"] for skip in evidence.skipped) == [
        f"model.layers.{i}.mlp.down_proj.weight" for i in (0, 1)
    ]


def test_offloaded_output_layer(run: Any) -> None:
    # Not a target, but without it there is neither a canary nor a hash.
    model = tiny_model("llama")
    model.lm_head.weight = nn.Parameter(torch.empty(300, 64, device="meta"))
    for keys in ({}, {"method": "magnitude", "sparsity": 0.5}):
        with pytest.raises(UserError, match=r"lm_head\.weight is offloaded"):
            run(model, **keys)


# Methods that don't do what they say ------------------------------------------------------------------

FIRST = "model.layers.0.self_attn.q_proj.weight"


def lazy(*args: Any) -> int:
    return 0


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        ("prune_smallest", {"method": "magnitude", "sparsity": 0.5}),
        ("prune_smallest", {"method": "random", "sparsity": 0.5}),
        ("prune_rows", {"method": "wanda", "sparsity": 0.5}),
        ("prune_rows", {"method": "magnitude", "sparsity": 0.5, "scope": "row"}),
        ("prune_groups", {"method": "wanda", "pattern": "2:4"}),
        ("prune_groups", {"method": "random", "pattern": "2:4"}),
    ],
)
def test_a_method_that_prunes_nothing(
    part: str, keys: dict[str, Any], run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_masks, part, lazy)
    with pytest.raises(UserError, match=rf"did not do what was asked: {FIRST} has 0.0000% zeros, asked 50.0000%"):
        run(tiny_model("llama"), **keys)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_a_wider_scope_that_prunes_nothing(scope: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_masks, "prune_smallest", lazy)
    with pytest.raises(UserError, match=r"the targets have 0.0000% zeros together, asked 50.0000%"):
        run(tiny_model("llama"), method="magnitude", sparsity=0.5, scope=scope)


@pytest.mark.parametrize("off", [-2, 2])
@pytest.mark.parametrize("scope", ["matrix", "row", "global"])
def test_a_count_that_is_slightly_off(scope: str, off: int, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two weights of 4,096; two of every row; or 28 of 73,728 in all, two a matrix.
    honest = Magnitude.count
    change = off * 14 if scope == "global" else off
    monkeypatch.setattr(Magnitude, "count", lambda self, entries: honest(self, entries) + change)
    with pytest.raises(UserError, match=r"asked 50\.0000%"):
        run(tiny_model("llama"), method="magnitude", sparsity=0.5, scope=scope)


def test_too_many_zeros_at_random(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "masked_fill_", lambda self, mask, value: self.zero_())
    with pytest.raises(UserError, match=rf"{FIRST} has 100.0000% zeros, asked 50.0000%"):
        run(tiny_model("llama"), method="random", sparsity=0.5, exact=False)


@pytest.mark.parametrize(("cls", "recipe"), [(RoundToNearest, "rtn-4"), (MlxAffine, "mlx-4")])
def test_a_quantizer_that_does_nothing(cls: type, recipe: str, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cls, "apply", lambda self, weight, info: weight.clone())
    # Groups of 64 different weights, where 16 values are allowed.
    with pytest.raises(UserError, match=rf"{FIRST} has \d+ values a group, 16 allowed"):
        run(tiny_model("llama"), recipe=recipe)


def test_a_pruner_that_changes_what_it_keeps(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def prune(scores: Any, weight: Tensor, k: int) -> None:
        weight[:, :k] = 0
        weight[:, k:] *= 2

    monkeypatch.setattr(_masks, "prune_rows", prune)
    with pytest.raises(UserError, match=rf"{FIRST} has changed weights among those kept"):
        run(tiny_model("llama"), method="magnitude", sparsity=0.5, scope="row")


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_a_result_that_is_not_finite(bad: float, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(self: object, weight: Tensor, info: MatrixInfo) -> Tensor:
        result = weight.clone()
        if info.name.endswith("1.mlp.up_proj.weight"):
            result[0, 0] = bad
        return result.round()

    monkeypatch.setattr(RoundToNearest, "apply", spoil)
    with pytest.raises(
        UserError, match=r"rtn did not do what was asked: model.layers.1.mlp.up_proj.weight has non-finite weights"
    ):
        run(tiny_model("llama"), recipe="rtn-4")

    def prune(scores: Any, weight: Tensor, k: int) -> None:
        weight[:, :k] = bad

    monkeypatch.setattr(_masks, "prune_rows", prune)
    with pytest.raises(UserError, match=rf"{FIRST} has non-finite weights after compression"):
        run(tiny_model("llama"), method="magnitude", sparsity=0.5, scope="row")


def test_a_method_that_forgets_a_matrix(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Wanda.run

    def forgetful(self: Wanda, bench: Workbench) -> None:
        everything = bench.targets
        bench.targets = everything[:-1]
        honest(self, bench)
        bench.targets = everything

    monkeypatch.setattr(Wanda, "run", forgetful)
    with pytest.raises(UserError, match=r"model.layers.1.mlp.down_proj.weight was not compressed"):
        run(tiny_model("llama"), method="wanda", sparsity=0.5)


def test_every_fault_is_told(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_masks, "prune_rows", lazy)
    with pytest.raises(UserError) as error:
        run(tiny_model("llama"), method="wanda", sparsity=0.5)
    assert all(name in str(error.value) for name in expected("llama"))


def test_unseen_experts_are_logged(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model("mixtral", num_experts_per_tok=1)
    for block in model.model.layers:
        weight = block.mlp.gate.weight.data
        weight[1], weight[2:] = -weight[0], 0
    with caplog.at_level(logging.WARNING):
        run(model, method="wanda", sparsity=0.5)
    assert "no calibration token reached 8 experts, ranked by magnitude" in caplog.text
    assert "model.layers.0.mlp.experts.gate_up_proj[2]" in caplog.text


def test_recipes_default_to_the_published_calibration(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Calibration] = []

    def load(calibration: Calibration, *rest: Any) -> Any:
        asked.append(calibration)
        raise UserError("no network")

    monkeypatch.setattr("lm_eval_ext.models.native.driver.load_calibration", load)
    with pytest.raises(UserError, match="no network"):
        compress_(tiny_model("llama"), tokenizer, resolve(method="wanda", sparsity=0.5))
    assert asked == [Calibration(source="c4", samples=128, seqlen=None, seed=0)]
