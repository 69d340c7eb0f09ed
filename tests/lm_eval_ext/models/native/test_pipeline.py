"""Every pair of steps: what the first did holds behind the second, or the run ends, or the evidence says how much."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.record import Evidence
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.native.methods.rtn import RoundToNearest
from lm_eval_ext.models.recipe.recipe import make_recipe
from lm_eval_ext.models.recipe.resolve import resolve
from lm_eval_ext.models.targets.matrix import MatrixInfo
from tests.helpers.compress import changed, expected, matrix, snapshot
from tests.helpers.tiny import tiny_model

STEPS: dict[str, dict[str, Any]] = {
    "half": {"method": "magnitude", "sparsity": 0.5},
    "less": {"method": "magnitude", "sparsity": 0.25},
    "drawn": {"method": "random", "sparsity": 0.25, "seed": 5},
    "2:4": {"method": "magnitude", "pattern": "2:4"},
    "4 bits": {"method": "rtn", "bits": 4, "group_size": 64},
    "mirrored": {"method": "rtn", "bits": 4, "group_size": 64, "symmetric": True},
    "8 bits": {"method": "rtn", "bits": 8, "group_size": 64},
    "finer": {"method": "rtn", "bits": 4, "group_size": 32},
    "mlx": {"method": "mlx_affine", "bits": 4},
}
PRUNERS = {"half": 0.5, "less": 0.25, "drawn": 0.25, "2:4": 0.5}
QUANTIZERS = {"4 bits": (4, 64), "mirrored": (4, 64), "8 bits": (8, 64), "finer": (4, 32), "mlx": (4, 64)}


def run(tokenizer: Any, *steps: dict[str, Any], dtype: torch.dtype = torch.float32) -> tuple[Any, Evidence]:
    model = tiny_model("llama", dtype=dtype)
    return model, compress_(model, tokenizer, make_recipe({"name": "two", "steps": list(steps)}, "two"))


def matrices(model: Any) -> dict[str, Tensor]:
    weights = snapshot(model)
    return {name: matrix(weights, name, "llama") for name in expected("llama")}


def fullest(weight: Tensor, size: int) -> int:
    return max(len(set(group)) for group in weight.reshape(-1, size).tolist())


def filled(weight: Tensor) -> int:
    """Groups of four with more than two weights that are not zero."""
    return int(((weight.reshape(-1, 4) != 0).sum(dim=1) > 2).sum())


@pytest.mark.parametrize(("first", "second"), list(product(STEPS, STEPS)))
def test_what_the_evidence_says_holds(first: str, second: str, tokenizer: Any) -> None:
    dtype = torch.bfloat16  # in which the sums of mlx miss zero by most
    alone = matrices(run(tokenizer, STEPS[first], dtype=dtype)[0])
    try:
        model, evidence = run(tokenizer, STEPS[first], STEPS[second], dtype=dtype)
    except UserError as error:
        message = str(error)
        assert "allow_regrowth=True" in message
        assert "\n" not in message
        # Nothing but these undoes something.
        assert second == "mlx" if first in PRUNERS else (second, first) in {
            *(("finer", name) for name in ("4 bits", "mirrored", "mlx")), ("drawn", "mlx")
        }  # fmt: skip
        return
    after = matrices(model)
    entries = sum(weight.numel() for weight in after.values())
    for name, weight in after.items():
        if first in PRUNERS:
            assert not bool((weight[alone[name] == 0] != 0).any())
        if "2:4" in {first, second}:
            assert filled(weight) == 0
        for step in {first, second} & set(QUANTIZERS):
            bits, size = QUANTIZERS[step]
            assert fullest(weight, size) <= 2**bits
    bits_held = [QUANTIZERS[step][0] for step in (first, second) if step in QUANTIZERS]
    assert evidence.bits == (min(bits_held) if bits_held else None)
    if not {first, second} & set(PRUNERS):
        assert evidence.sparsity is None
    else:
        # The zeros there were behind the last pruner.
        pruned = after if second in PRUNERS else alone
        share = sum(int((weight == 0).sum()) for weight in pruned.values()) / entries
        assert evidence.sparsity == pytest.approx(share, abs=0.005)
    assert evidence.totals["achieved_sparsity"] == sum(int((w == 0).sum()) for w in after.values()) / entries


def test_a_weaker_pruner_is_not_the_runs_dose(tokenizer: Any) -> None:
    assert run(tokenizer, STEPS["half"], STEPS["less"])[1].sparsity == 0.5
    # A quarter of all weights, drawn over both halves: 1 - 1/2 x 3/4.
    model, evidence = run(tokenizer, STEPS["half"], STEPS["drawn"])
    zeros = sum(int((weight == 0).sum()) for weight in matrices(model).values())
    assert evidence.sparsity == zeros / 73_728
    assert evidence.sparsity == pytest.approx(0.625, abs=0.01)


def test_steps_on_different_matrices_give_what_is_there(tokenizer: Any) -> None:
    attention, mlp = ("*.q_proj", "*.k_proj", "*.v_proj", "*.o_proj"), ("*.gate_proj", "*.up_proj", "*.down_proj")
    _, evidence = run(tokenizer, STEPS["half"] | {"exclude": attention}, STEPS["less"] | {"exclude": mlp})
    # A block: 3 x 128 x 64 weights in the MLP, of which half, and 2 x 64 x 64 + 2 x 32 x 64 in the attention.
    assert evidence.sparsity == (24_576 / 2 + 12_288 / 4) / 36_864
    _, evidence = run(tokenizer, STEPS["8 bits"] | {"exclude": attention}, STEPS["4 bits"] | {"exclude": mlp})
    assert evidence.bits == pytest.approx((8 * 24_576 + 4 * 12_288) / 36_864)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_zeros_that_mlx_brings_back_are_counted_on_request(dtype: torch.dtype, tokenizer: Any) -> None:
    alone = matrices(run(tokenizer, STEPS["2:4"], dtype=dtype)[0])
    model, evidence = run(tokenizer, STEPS["2:4"], STEPS["mlx"] | {"allow_regrowth": True}, dtype=dtype)
    after = matrices(model)
    second = {record["name"]: record for record in evidence.matrices if record["method"] == "mlx_affine"}
    back = {name: int(((alone[name] == 0) & (after[name] != 0)).sum()) for name in after}
    assert {name: record["regrown"] for name, record in second.items()} == back
    assert evidence.totals["regrown"] == sum(back.values()) > 500
    assert evidence.sparsity == (73_728 / 2 - sum(back.values())) / 73_728 < 0.49
    for name, weight in after.items():
        entry = {"step": 0, "method": "magnitude", "groups": filled(weight), "of": weight.numel() // 4}
        assert second[name].get("broken", [entry | {"groups": 0}]) == [entry]
    assert sum(filled(weight) for weight in after.values()) > 100


@pytest.mark.parametrize("method", ["magnitude+mlx_affine", "random+mlx_affine", "magnitude+rtn+mlx_affine"])
def test_a_quantizer_that_can_not_follow_is_refused_before_anything(method: str, tokenizer: Any) -> None:
    model = tiny_model("llama")
    before = snapshot(model)
    with pytest.raises(UserError, match=r"mlx_affine after .* brings pruned weights back.*14 matrices.*Quantize with"):
        compress_(model, tokenizer, resolve(method=method, sparsity=0.5, bits=4))
    assert not changed(before, model)


def test_other_matrices_are_no_obstacle(tokenizer: Any) -> None:
    mlp = ("*.gate_proj", "*.up_proj", "*.down_proj")
    attention = ("*.q_proj", "*.k_proj", "*.v_proj", "*.o_proj")
    _, evidence = run(tokenizer, STEPS["half"] | {"exclude": mlp}, STEPS["mlx"] | {"exclude": attention})
    assert (evidence.sparsity, evidence.bits) == (0.5, 4)
    assert "regrown" not in evidence.totals


def test_the_way_out_works(tokenizer: Any) -> None:
    model = tiny_model("llama", dtype=torch.bfloat16)
    evidence = compress_(model, tokenizer, resolve(method="magnitude+rtn", pattern="2:4", bits=4))
    assert (evidence.sparsity, evidence.bits, evidence.totals["regrown"]) == (0.5, 4, 0)
    keys = {"method": "magnitude+mlx_affine", "sparsity": 0.5, "bits": 4, "allow_regrowth": True}
    assert resolve(**keys).name == "magnitude-50(allow_regrowth=True)+mlx_affine-4(allow_regrowth=True)"


def test_more_values_than_the_earlier_bits_allow(tokenizer: Any) -> None:
    coarse, finer = STEPS["4 bits"], STEPS["finer"]
    with pytest.raises(UserError) as error:
        run(tokenizer, coarse, finer)
    twice = matrices(run(tokenizer, coarse, finer | {"allow_regrowth": True})[0])
    broken = sum(len(group.unique()) > 16 for weight in twice.values() for group in weight.reshape(-1, 64))
    assert f"rtn undoes what was done before: {broken} of 1152 groups of rtn have more values" in str(error.value)
    assert "and 11 more matrices" in str(error.value)
    _, evidence = run(tokenizer, coarse, finer | {"allow_regrowth": True})
    record = evidence.matrices[-1]
    name = record["name"]
    assert record["broken"][0]["levels"] == fullest(twice[name], 64) > 16
    assert record["broken"][0]["groups"] == sum(len(group.unique()) > 16 for group in twice[name].reshape(-1, 64))
    # The finer quantizer's own bits hold in its own groups.
    assert evidence.bits == 4


def test_bits_after_a_pruner_that_adds_a_value(tokenizer: Any) -> None:
    # mlx's groups have no exact zero: a drawn weight becomes a value of its own, the seventeenth.
    steps = (STEPS["mlx"], STEPS["drawn"])
    with pytest.raises(UserError, match=r"random undoes .* groups of mlx_affine have more values"):
        run(tokenizer, *steps)
    model, evidence = run(tokenizer, steps[0], steps[1] | {"allow_regrowth": True})
    needed = {name: 5 if fullest(weight, 64) > 16 else 4 for name, weight in matrices(model).items()}
    assert set(needed.values()) == {4, 5}
    sizes = {name: rows * cols for name, (rows, cols) in expected("llama").items()}
    assert evidence.bits == pytest.approx(sum(needed[name] * sizes[name] for name in sizes) / 73_728)


def test_quantize_then_prune_keeps_the_stored_bits(tokenizer: Any) -> None:
    _, evidence = run(tokenizer, STEPS["4 bits"], STEPS["half"])
    assert (evidence.sparsity, evidence.bits) == (0.5, 4)
    # 4 bits a weight; 16 bits of scale and 4 of zero point for 64 of them.
    assert evidence.totals["bits_per_weight"] == 4 + 20 / 64
    assert evidence.totals["bytes_after"] == round(73_728 * (4 + 20 / 64) / 8)


def test_a_method_that_claims_to_keep_zeros_is_measured(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = RoundToNearest.apply

    def leaky(self: RoundToNearest, weight: Tensor, info: MatrixInfo) -> Tensor:
        out = honest(self, weight, info)
        if info.name.endswith("layers.1.mlp.up_proj.weight"):
            row = out[3]
            row[int((weight[3] == 0).nonzero()[0])] = row.max()
        return out

    monkeypatch.setattr(RoundToNearest, "apply", leaky)
    name = r"model\.layers\.1\.mlp\.up_proj\.weight"
    with pytest.raises(UserError, match=rf"rtn undoes what was done before: 1 pruned weights came back in {name};"):
        run(tokenizer, STEPS["half"], STEPS["4 bits"])
    _, evidence = run(tokenizer, STEPS["half"], STEPS["4 bits"] | {"allow_regrowth": True})
    assert evidence.sparsity == (73_728 / 2 - 1) / 73_728


def test_a_pruner_that_prunes_more_than_asked_says_so(tokenizer: Any) -> None:
    # ties=threshold takes all that are equal: with three values a group, far more than a tenth.
    rough = {"method": "rtn", "bits": 2, "group_size": 64}
    model, evidence = run(tokenizer, rough, {"method": "magnitude", "sparsity": 0.1, "ties": "threshold"})
    zeros = sum(int((weight == 0).sum()) for weight in matrices(model).values())
    assert zeros > 0.3 * 73_728
    assert evidence.sparsity == zeros / 73_728


def test_each_step_answers_for_itself(tokenizer: Any) -> None:
    # The second step breaks the first one's pattern, and is let; the third breaks nothing more and needs no leave.
    steps = (STEPS["2:4"], STEPS["mlx"] | {"allow_regrowth": True}, STEPS["8 bits"])
    model, evidence = run(tokenizer, *steps, dtype=torch.bfloat16)
    assert sum(filled(weight) for weight in matrices(model).values()) > 100
    second, third = (evidence.matrices[count * 14 : count * 14 + 14] for count in (1, 2))
    assert sum(record["regrown"] for record in second) > 500
    assert not any("broken" in record for record in third)
    assert evidence.totals["regrown"] == sum(record["regrown"] for record in (*second, *third))


def test_two_steps_of_one_method_are_told_apart(tokenizer: Any) -> None:
    # Groups of 64 with 8 bits hold behind groups of 32 with 2 bits: at most 2 x 4 values. Those of 4 bits would too.
    steps = ({"method": "rtn", "bits": 8, "group_size": 64}, {"method": "rtn", "bits": 2, "group_size": 64})
    finer = {"method": "rtn", "bits": 2, "group_size": 32, "allow_regrowth": True}
    model, evidence = run(tokenizer, *steps, finer)
    for record in evidence.matrices[28:]:
        weight = matrices(model)[record["name"]]
        assert [entry["step"] for entry in record["broken"]] == [1]
        assert record["broken"][0]["levels"] == fullest(weight, 64) in range(5, 9)
    assert evidence.bits == 2
