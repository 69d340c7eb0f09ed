"""rtn against numbers by hand, a slow float64 loop, compressed-tensors, and its own properties."""

from __future__ import annotations

import math
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
import yaml
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from compressed_tensors.quantization.utils import calculate_qparams
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.native.methods.rtn import RoundToNearest
from lm_eval_ext.models.targets.matrix import MatrixInfo, Skip

RECIPES = Path(__file__).resolve().parents[5] / "recipes"
BITS = range(2, 9)


def info(weight: Tensor, name: str = "w") -> MatrixInfo:
    return MatrixInfo(name, weight.shape[0], weight.shape[1])


def method(bits: int = 4, **keys: object) -> RoundToNearest:
    return RoundToNearest.model_validate({"bits": bits, **keys})


def quantized(weight: Tensor, bits: int, **keys: object) -> Tensor:
    return method(bits, **keys).apply(weight, info(weight))


def normal(seed: int, rows: int = 8, cols: int = 128) -> Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


def steps(weight: Tensor, bits: int, group_size: int) -> Tensor:
    """Step of each entry's group in the affine form, in float64: the range with 0, over 2^bits - 1."""
    groups = weight.double().reshape(weight.shape[0], -1, group_size)
    span = groups.amax(-1).clamp(min=0) - groups.amin(-1).clamp(max=0)
    return (span / (2**bits - 1)).repeat_interleave(group_size, dim=1)


# Expected numbers -----------------------------------------------------------------------------------


def test_affine_by_hand() -> None:
    # 2 bits, range [-1, 2]: step 1, zero point 1, so the levels are -1, 0, 1, 2; ties go to the even code
    # (codes run -2..1, zero point -1): 0.5 -> -0.5 -> code 0 -> 1; 1.5 -> 0.5 -> code 0 -> 1.
    weight = torch.tensor([[-1.0, 2.0, 0.5, 1.5, 0.4, -0.6, 1.6, 0.0]])
    expected = torch.tensor([[-1.0, 2.0, 1.0, 1.0, 0.0, -1.0, 2.0, 0.0]])
    assert torch.equal(quantized(weight, 2, group_size=8), expected)


def test_symmetric_by_hand() -> None:
    # 2 bits, largest magnitude 3: step 3 / 1.5 = 2, levels -4, -2, 0, 2. 3 is cut to 2, half a step off;
    # -3 is -1.5 steps and goes to the even level -2 steps = -4.
    weight = torch.tensor([[3.0, -3.0, 0.9, 1.1, -1.1, 2.9, -2.9, 0.0]])
    expected = torch.tensor([[2.0, -4.0, 0.0, 2.0, -2.0, 2.0, -2.0, 0.0]])
    assert torch.equal(quantized(weight, 2, group_size=8, symmetric=True), expected)


def test_range_always_includes_zero() -> None:
    # [2, 3] with 2 bits is cut as [0, 3]: levels 0, 1, 2, 3.
    weight = torch.tensor([[2.0, 3.0, 2.4, 2.6, 2.2, 2.9, 3.0, 2.0]])
    expected = torch.tensor([[2.0, 3.0, 2.0, 3.0, 2.0, 3.0, 3.0, 2.0]])
    assert torch.equal(quantized(weight, 2, group_size=8), expected)
    assert torch.equal(quantized(-weight, 2, group_size=8), -expected)


def slow_loop(group: list[float], bits: int, symmetric: bool) -> list[float]:
    """The definition, one value at a time in double precision, with codes from 0."""
    top = 2**bits - 1
    if min(group) == max(group):
        return list(group)
    if symmetric:
        scale, zero = max(abs(v) for v in group) / (top / 2), 2 ** (bits - 1)
    else:
        low, high = min(0.0, *group), max(0.0, *group)
        scale = (high - low) / top
        zero = min(max(round(-low / scale), 0), top)
    return [(min(max(round(v / scale + zero), 0), top) - zero) * scale for v in group]


@pytest.mark.parametrize(("bits", "symmetric"), list(product(BITS, (False, True))))
@pytest.mark.parametrize("granularity", ["group", "channel", "tensor"])
def test_equals_a_slow_loop(bits: int, symmetric: bool, granularity: str) -> None:
    weight = normal(bits) * 0.05
    weight[1] += 0.2
    weight[2] = -weight[2].abs()
    weight[3, 64:] = 0.125
    sizes = {"group": 32, "channel": 128, "tensor": 1024}
    keys = {"group_size": 32} if granularity == "group" else {}
    flat = weight.reshape(-1, sizes[granularity]).tolist()
    expected = torch.tensor([slow_loop(g, bits, symmetric) for g in flat], dtype=torch.float64).reshape(8, 128)
    ours = quantized(weight, bits, symmetric=symmetric, granularity=granularity, **keys)
    if symmetric:
        # The least value of a group, if it is the largest in magnitude, lies half-way between two levels: the
        # last bit of the quotient decides, so only the half step can be told.
        groups = weight.reshape(-1, sizes[granularity])
        tie = (groups == -groups.abs().amax(-1, keepdim=True)).reshape(8, 128)
        off = (ours - weight).abs()[tie] * (2**bits - 1) / weight.abs()[tie]
        torch.testing.assert_close(off, off.clone().fill_(1.0), rtol=1e-4, atol=0)
        ours, expected = ours.masked_fill(tie, 0), expected.masked_fill(tie, 0)
    # A value sent to another level would be off by a step, at least 3e-4 here.
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("bits", "symmetric"), list(product(BITS, (False, True))))
@pytest.mark.parametrize("strategy", ["group", "channel", "tensor"])
def test_equals_compressed_tensors_bit_for_bit(bits: int, symmetric: bool, strategy: str) -> None:
    """calculate_qparams(min, max, args), then fake_quantize(w, scale, zero_point, args), in float32."""
    weight = normal(50 + bits, 64, 256) * 0.03
    weight[::7] = weight[::7].abs()
    weight[3::7] *= 1e3
    weight[5::7] = weight[5::7].bfloat16().float()  # coarse values: ties and ends of equal magnitude
    groups = {
        "group": weight.reshape(64, 4, 64),
        "channel": weight[:, None],
        "tensor": weight.reshape(1, 1, -1),
    }
    size = {"group_size": 64} if strategy == "group" else {}
    args = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, strategy=strategy, **size)
    scale, zero = calculate_qparams(groups[strategy].amin(-1), groups[strategy].amax(-1), args)
    expected = fake_quantize(weight, scale, zero, args)
    ours = quantized(weight, bits, symmetric=symmetric, granularity=strategy, **size)
    assert torch.equal(ours, expected)


# Properties -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("kind", ["both signs", "positive", "far from zero", "outliers"])
def test_every_value_is_within_half_a_step(bits: int, kind: str) -> None:
    weight = normal(70 + bits)
    if kind == "positive":
        weight = weight.abs()
    elif kind == "far from zero":
        weight = weight * 0.01 - 5
    elif kind == "outliers":
        weight[:, ::40] *= 100
    step = steps(weight, bits, 64)
    error = (quantized(weight, bits).double() - weight.double()).abs()
    assert (error <= step * (0.5 + 1e-5)).all()
    if kind != "far from zero":
        assert error.max() > 0.3 * step.min()  # and it did round


@pytest.mark.parametrize("bits", BITS)
def test_symmetric_is_within_half_a_step_too(bits: int) -> None:
    weight = normal(80 + bits)
    groups = weight.double().reshape(8, 2, 64)
    step = (groups.abs().amax(-1) / ((2**bits - 1) / 2)).repeat_interleave(64, dim=1)
    error = (quantized(weight, bits, symmetric=True).double() - weight.double()).abs()
    assert (error <= step * (0.5 + 1e-5)).all()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("granularity", ["group", "channel", "tensor"])
def test_affine_again_changes_nothing_but_the_last_place(bits: int, granularity: str) -> None:
    # The ends are levels, so the second range is the first, up to the float32 rounding of scale x code.
    once = quantized(normal(90 + bits), bits, granularity=granularity)
    twice = quantized(once, bits, granularity=granularity)
    torch.testing.assert_close(twice, once, rtol=5e-7, atol=0)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("granularity", ["group", "channel", "tensor"])
def test_error_falls_with_every_bit_and_rises_with_the_group(symmetric: bool, granularity: str) -> None:
    weight = normal(92, 64)
    mse = [
        (quantized(weight, bits, symmetric=symmetric, granularity=granularity) - weight).square().mean().item()
        for bits in BITS
    ]
    assert mse == sorted(mse, reverse=True)
    assert all(less < more / 2 for more, less in pairwise(mse))
    by_size = [(quantized(weight, 4, group_size=g) - weight).square().mean().item() for g in (16, 32, 64, 128)]
    assert by_size == sorted(by_size)
    # Uniform rounding error: step^2 / 12.
    expected = (steps(weight, 8, 64).square().mean() / 12).item()
    got = (quantized(weight, 8) - weight).square().mean().item()
    assert got == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("granularity", ["group", "channel", "tensor"])
def test_repeated_values_and_zeros_are_exact(dtype: torch.dtype, symmetric: bool, granularity: str) -> None:
    for value in (0.0, 1.0, -1.0, 0.1, -3.7e-5, 6.1e4):
        weight = torch.full((2, 64), value).to(dtype)
        for bits in BITS:
            assert torch.equal(quantized(weight, bits, symmetric=symmetric, granularity=granularity), weight)


@pytest.mark.parametrize("symmetric", [False, True])
def test_zeros_of_a_pruned_matrix_stay_zero(symmetric: bool) -> None:
    weight = normal(93) * (normal(94) > 0)
    for bits in BITS:
        assert (quantized(weight, bits, symmetric=symmetric)[weight == 0] == 0).all()


@settings(deadline=None, max_examples=150)
@given(
    values=st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=8, max_size=8),
    bits=st.integers(2, 8),
    symmetric=st.booleans(),
)
def test_any_finite_group_stays_finite_with_few_levels(values: list[float], bits: int, symmetric: bool) -> None:
    weight = torch.tensor([values], dtype=torch.float32)
    ours = quantized(weight, bits, group_size=8, symmetric=symmetric)
    assert torch.isfinite(ours).all()
    assert len(set(ours.flatten().tolist())) <= 2**bits
    step = max(2 * max(map(abs, values)) / (2**bits - 1), 2.0**-126)
    assert (ours.double() - weight.double()).abs().max() <= step * (0.5 + 1e-5)


def test_spans_below_the_least_normal_number_are_kept_within_half_of_it() -> None:
    weight = torch.tensor([[1e-45, 3e-45, -2e-45, 0.0, 4e-39, 0.0, 0.0, 0.0]])
    assert (quantized(weight, 8, group_size=8) - weight).abs().max() <= 2.0**-127


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_dtypes_are_the_float32_result_rounded_once(dtype: torch.dtype) -> None:
    weight = normal(95).to(dtype)
    for bits in BITS:
        assert torch.equal(quantized(weight, bits), quantized(weight.float(), bits).to(dtype))


@pytest.mark.parametrize("granularity", ["group", "channel", "tensor"])
def test_chunks_of_rows_change_nothing(granularity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = normal(96, 37)
    whole = quantized(weight, 3, granularity=granularity)
    monkeypatch.setattr("lm_eval_ext.models.native.methods._groups.CHUNK", 5 * 128)
    assert torch.equal(quantized(weight, 3, granularity=granularity), whole)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("granularity", ["group", "channel", "tensor"])
def test_a_gpu_gives_the_same_bits(granularity: str) -> None:
    weight = normal(40, 64)
    for bits in BITS:
        assert torch.equal(
            quantized(weight.cuda(), bits, granularity=granularity).cpu(),
            quantized(weight, bits, granularity=granularity),
        )


@pytest.mark.parametrize("granularity", ["group", "channel", "tensor"])
def test_input_is_left_alone_whatever_its_layout(granularity: str) -> None:
    weight = torch.nn.Parameter(normal(97))
    copy = weight.detach().clone()
    ours = quantized(weight, 4, granularity=granularity)
    assert torch.equal(weight, copy)
    assert not ours.requires_grad
    stored = copy.T.contiguous()
    assert torch.equal(quantized(stored.T, 4, granularity=granularity), ours)
    assert torch.equal(stored.T, copy)
    assert quantized(torch.empty(0, 64), 4, granularity=granularity).shape == (0, 64)


def test_short_last_group_is_quantized_by_its_own_range() -> None:
    weight = normal(98, 4, 100)
    ours = quantized(weight, 4, on_indivisible="pad")
    assert torch.equal(ours[:, :64], quantized(weight[:, :64], 4))
    assert torch.equal(ours[:, 64:], quantized(weight[:, 64:], 4, group_size=36))


# Faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("granularity", ["group", "channel", "tensor"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_refuses_weights_that_are_not_finite(bad: float, granularity: str) -> None:
    weight = normal(99)
    weight[7, 127] = bad
    with pytest.raises(UserError, match=r"layers\.1\.down \[8, 128\] holds NaN or infinity"):
        method(granularity=granularity).apply(weight, info(weight, "layers.1.down"))


def test_refuses_values_whose_quantized_form_overflows() -> None:
    # Symmetric, 4 bits: -65504 is -7.5 steps of 65504 / 7.5, goes to -8 steps = -69871: not a float16.
    weight = torch.tensor([[-65504.0, 1.0]]).repeat(1, 32).half()
    with pytest.raises(UserError, match=r"w \[1, 64\] holds values as large as 65504, .* overflows float16"):
        quantized(weight, 4, symmetric=True)
    with pytest.raises(UserError, match="overflows float32"):
        quantized(torch.tensor([[-3e38, 3e38]]).repeat(1, 32), 4)


def test_refuses_other_dtypes() -> None:
    with pytest.raises(UserError, match="w is float64, expected float32, bfloat16 or float16"):
        quantized(normal(1).double(), 4)


def test_indivisible_lists_every_matrix_and_the_choices() -> None:
    matrices = [MatrixInfo("a", 8, 96), MatrixInfo("b", 8, 128), MatrixInfo("c", 4, 160)]
    with pytest.raises(UserError) as caught:
        method().check(matrices)
    assert str(caught.value) == (
        "group_size=64 does not divide the columns of 2 of 3 matrices: a [8, 96], c [4, 160]. Choose "
        "group_size=32 or 16 or 8, granularity=channel, on_indivisible=pad (a shorter last group) or "
        "on_indivisible=skip (these stay as they are)."
    )
    with pytest.raises(UserError, match=r"1 of 1 matrices: a \[8, 96\]"):
        method().apply(torch.zeros(8, 96), matrices[0])


def test_indivisible_without_a_fitting_size_proposes_none() -> None:
    with pytest.raises(UserError, match=r"a \[8, 7\]\. Choose granularity=channel, on_indivisible"):
        method().check([MatrixInfo("a", 8, 7)])


def test_indivisible_policies() -> None:
    matrices = [MatrixInfo("a", 8, 96), MatrixInfo("b", 8, 128)]
    assert method(on_indivisible="skip").check(matrices) == [Skip("a", "group_size 64 does not divide its 96 columns")]
    assert method(on_indivisible="pad").check(matrices) == []
    assert method(granularity="channel").check(matrices) == []
    assert method(granularity="tensor").check(matrices) == []


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"bits": 1}, "got 1, expected a whole number from 2 to 8"),
        ({"bits": 9}, "got 9, expected a whole number from 2 to 8"),
        ({"bits": 4.5}, r"got 4\.5, expected a whole number from 2 to 8"),
        ({"bits": True}, "got True, expected a whole number"),
        ({"bits": "four"}, "got 'four', expected a whole number"),
        ({"bits": 4, "group_size": 0}, "got 0, expected a whole number of at least 8"),
        ({"bits": 4, "group_size": -1}, "one scale a row is granularity=channel"),
        ({"bits": 4, "granularity": "channel", "group_size": 64}, "group_size=64 with granularity=channel"),
        ({"bits": 4, "granularity": "row"}, "'group', 'channel' or 'tensor'"),
        ({"bits": 4, "on_indivisible": "ignore"}, "'error', 'pad' or 'skip'"),
        ({}, "Field required"),
    ],
)
def test_refuses_bad_settings(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RoundToNearest.model_validate(keys)


# Config and evidence --------------------------------------------------------------------------------


def test_config_is_logged_resolved_and_round_trips() -> None:
    assert method().group_size == 64
    assert method().model_dump(exclude_unset=True) == {"bits": 4}
    assert method(granularity="channel").group_size is None
    for one in (method(), method(3, granularity="tensor", symmetric=True)):
        assert RoundToNearest.model_validate(one.model_dump()) == one
    assert (method(3).asked_bits, method(3).asked_sparsity) == (3.0, None)


@pytest.mark.parametrize(
    ("keys", "stored"),
    [
        ({}, 4 + (16 + 4) / 64),
        ({"symmetric": True}, 4 + 16 / 64),
        ({"granularity": "channel"}, 4 + 20 / 128),
        ({"granularity": "tensor"}, 4 + 20 / (32 * 128)),
    ],
)
def test_evidence_counts_levels_and_overhead(keys: dict[str, object], stored: float) -> None:
    weight = normal(30, 32)
    facts = method(4, **keys).describe(weight, quantized(weight, 4, **keys))
    assert facts.pop("bits_per_weight") == pytest.approx(stored, rel=1e-12)
    assert facts == {"levels": 16, "levels_allowed": 16, "levels_rows": 32, "padded_columns": 0}


def test_evidence_shows_a_matrix_with_too_many_levels() -> None:
    weight = normal(31, 32)
    facts = method(4).describe(weight, quantized(weight, 5))
    assert facts["levels"] > facts["levels_allowed"]
    assert method(4).describe(weight, weight)["levels"] == 64


def test_evidence_counts_the_filling_of_short_groups() -> None:
    # 100 columns are stored as 128: (128 x 4 + 2 x 20) bits for 100 weights.
    weight = normal(32, 4, 100)
    facts = method(on_indivisible="pad").describe(weight, quantized(weight, 4, on_indivisible="pad"))
    assert (facts["padded_columns"], facts["bits_per_weight"]) == (28, 5.52)


def test_evidence_of_a_large_matrix_looks_at_spread_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm_eval_ext.models.native.methods._groups.SAMPLE", 5 * 128)
    weight = quantized(normal(33, 64), 2)
    weight[63] = normal(34, 1)[0]  # the last row is always among them
    facts = method(2).describe(weight, weight)
    assert (facts["levels_rows"], facts["levels"]) == (5, 64)


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_recipe_files(bits: int) -> None:
    recipe = yaml.safe_load((RECIPES / f"rtn-{bits}.yaml").read_text(encoding="utf-8"))
    assert (recipe["version"], recipe["name"]) == (1, f"rtn-{bits}")
    (step,) = recipe["steps"]
    assert RoundToNearest.model_validate(step) == method(bits, group_size=64)
