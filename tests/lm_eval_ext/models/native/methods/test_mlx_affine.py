"""mlx_affine against mlx itself (`mx.dequantize(*mx.quantize(w, g, b), g, b)` on the CPU), bit for bit."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
import yaml
from pydantic import ValidationError
from torch import Tensor

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.native.methods.mlx_affine import MlxAffine
from lm_eval_ext.models.targets.matrix import MatrixInfo, Skip

RECIPES = Path(__file__).resolve().parents[5] / "recipes"
BITS = (2, 3, 4, 5, 6, 8)
GROUPS = (32, 64, 128)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def info(weight: Tensor, name: str = "w") -> MatrixInfo:
    return MatrixInfo(name, weight.shape[0], weight.shape[1])


def quantized(weight: Tensor, bits: int, group_size: int = 64, **keys: object) -> Tensor:
    method = MlxAffine.model_validate({"bits": bits, "group_size": group_size, **keys})
    return method.apply(weight, info(weight))


def by_mlx(weight: Tensor, bits: int, group_size: int) -> Tensor:
    mx = pytest.importorskip("mlx.core")
    dtype = getattr(mx, str(weight.dtype).removeprefix("torch."))
    values = mx.array(weight.float().numpy()).astype(dtype)  # exact: every value is one of dtype
    parts = mx.quantize(values, group_size=group_size, bits=bits, stream=mx.cpu)
    back = mx.dequantize(*parts, group_size=group_size, bits=bits, stream=mx.cpu)
    assert back.dtype == dtype
    return torch.tensor(back.astype(mx.float32, stream=mx.cpu).tolist()).to(weight.dtype)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal down to the sign of zero."""
    kind = torch.int32 if a.dtype == torch.float32 else torch.int16
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(kind), b.contiguous().view(kind))


def normal(seed: int, rows: int = 4, cols: int = 256) -> Tensor:
    return torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))


KINDS = {
    "normal": normal(0),
    "narrow": normal(1) * 0.02,
    "positive": normal(2).abs() + 0.01,
    "negative": -normal(3).abs() - 0.01,
    "far from zero": normal(4) * 0.01 + 7,
    "outliers": normal(5) * torch.where(torch.arange(256) % 50 == 0, 100.0, 1.0),
    "least is zero": normal(6).relu(),
    "greatest is zero": -normal(7).relu(),
    "ends of equal magnitude": normal(8).clamp(-1, 1),
    "whole numbers": (normal(9) * 20).round(),
    "zero": torch.zeros(4, 256),
    "negative zero": -torch.zeros(4, 256),
    "constant": torch.tensor([[1.0], [-1.0], [0.3], [-2.5e-3]]).expand(4, 256),
    "constant groups among others": torch.cat([normal(10)[:, :128], torch.full((4, 128), -0.7)], dim=1),
    "one value": torch.nn.functional.one_hot(torch.arange(4) * 60, 256) * -3.0,
    "tiny": normal(11) * 1e-7,
    "below the least step": normal(12) * 1e-9,
    "every magnitude": normal(13) * 10.0 ** torch.linspace(-7, 4, 256),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_mlx_on_every_kind_of_input(kind: str, dtype: torch.dtype) -> None:
    weight = KINDS[kind].to(dtype)
    for bits, group_size in product(BITS, GROUPS):
        ours = quantized(weight, bits, group_size)
        assert same_bits(ours, by_mlx(weight, bits, group_size)), (bits, group_size)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_equals_mlx_on_many_draws(dtype: torch.dtype) -> None:
    for seed in range(12):
        scale = 10.0 ** (normal(100 + seed, 32, 1) * 2).clamp(-6, 4)
        shift = normal(200 + seed, 32, 1) * 2
        weight = ((normal(300 + seed, 32) + shift) * scale).clamp(-6e4, 6e4).to(dtype)
        for bits, group_size in product(BITS, GROUPS):
            ours = quantized(weight, bits, group_size)
            assert same_bits(ours, by_mlx(weight, bits, group_size)), (seed, bits, group_size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_equals_mlx_on_huge_values(dtype: torch.dtype) -> None:
    # 1e35 repeated: the step underflows to 0 and the codes are NaN before mlx's cast to integer.
    for weight in (
        normal(0) * 1e36,
        normal(1) * 1e30,
        torch.full((2, 128), 1e35),
        torch.full((2, 128), -3e38),
    ):
        for bits, group_size in product(BITS, GROUPS):
            ours = quantized(weight.to(dtype), bits, group_size)
            assert same_bits(ours, by_mlx(weight.to(dtype), bits, group_size)), (bits, group_size)


@pytest.mark.parametrize(
    ("low", "high", "bits", "dtype"),
    [
        (-3e38, 3e38, 4, torch.float32),  # the span exceeds float32
        # Span 131008, three steps of 43669; 65504 / -43669 = -1.5 -> -2 -> step -32752; code 3 gives
        # 3 x -32752 = -98256, which float16 does not have.
        (-65504.0, 65504.0, 2, torch.float16),
    ],
)
def test_refuses_where_mlx_itself_overflows(low: float, high: float, bits: int, dtype: torch.dtype) -> None:
    weight = torch.tensor([[low, high]]).repeat(1, 32).to(dtype)
    assert not torch.isfinite(by_mlx(weight, bits, 64)).all()
    with pytest.raises(UserError, match=rf"layer\.q \[1, 64\] .*overflows {str(dtype)[6:]}"):
        MlxAffine(bits=bits).apply(weight, info(weight, "layer.q"))


def test_values_by_hand() -> None:
    # 2 bits, least -1 and greatest 2: step -(2 - -1)/3 = -1 from the edge 2, 2 / -1 = -2 steps to 0, so the
    # levels are 2, 1, 0, -1. 1.5 is half-way and goes to the even code 0 (= 2); 0.5 to code 2 (= 0).
    weight = torch.tensor([[-1.0, 2.0, 1.5, 0.5, 0.4, -0.6, 0.0, 1.2]]).repeat(1, 4)
    expected = torch.tensor([[-1.0, 2.0, 2.0, 0.0, 0.0, -1.0, 0.0, 1.0]]).repeat(1, 4)
    assert torch.equal(quantized(weight, 2, 32), expected)


def test_step_and_bias_are_rounded_to_the_dtype_after_the_codes() -> None:
    weight = normal(21).to(torch.bfloat16)
    assert not torch.equal(quantized(weight, 4), quantized(weight.float(), 4).to(torch.bfloat16))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_gpu_gives_the_same_bits(dtype: torch.dtype) -> None:
    weight = normal(40, 64).to(dtype)
    for bits in BITS:
        assert torch.equal(quantized(weight.cuda(), bits).cpu(), quantized(weight, bits))


def test_transposed_view_and_input_are_left_alone() -> None:
    stored = normal(22, 128, 8)
    copy = stored.clone()
    ours = quantized(stored.T, 4)
    assert torch.equal(stored, copy)
    assert same_bits(ours, by_mlx(stored.T.contiguous(), 4, 64))


def test_chunks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = normal(23, 37, 128)
    whole = quantized(weight, 3)
    monkeypatch.setattr("lm_eval_ext.models.native.methods._groups.CHUNK", 5 * 128)
    assert torch.equal(quantized(weight, 3), whole)


def test_short_last_group_is_quantized_by_its_own_range() -> None:
    weight = normal(24, 3, 100) + 2
    ours = quantized(weight, 4, on_indivisible="pad")
    assert ours.shape == weight.shape
    assert torch.equal(ours[:, :64], quantized(weight[:, :64].contiguous(), 4))
    # Filled by hand with the last value instead.
    filled = torch.cat([weight[:, 64:], weight[:, -1:].repeat(1, 28)], dim=1)
    assert torch.equal(ours[:, 64:], by_mlx(filled, 4, 64)[:, :36])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_refuses_weights_that_are_not_finite(bad: float) -> None:
    weight = normal(25)
    weight[2, 17] = bad
    with pytest.raises(UserError, match=r"layers\.1\.down \[4, 256\] holds NaN or infinity"):
        MlxAffine(bits=4).apply(weight, info(weight, "layers.1.down"))


def test_refuses_dtypes_that_mlx_does_not_quantize() -> None:
    with pytest.raises(UserError, match="w is float64, expected float32, bfloat16 or float16"):
        quantized(normal(26).double(), 4)


def test_indivisible_lists_every_matrix_and_the_choices() -> None:
    matrices = [MatrixInfo("a", 8, 96), MatrixInfo("b", 8, 128), MatrixInfo("c", 4, 32)]
    with pytest.raises(UserError) as caught:
        MlxAffine(bits=4).check(matrices)
    assert str(caught.value) == (
        "group_size=64 does not divide the columns of 2 of 3 matrices: a [8, 96], c [4, 32]. Choose "
        "group_size=32, on_indivisible=pad (a shorter last group) or "
        "on_indivisible=skip (these stay as they are)."
    )
    assert MlxAffine(bits=4, on_indivisible="pad").check(matrices) == []


def test_mlx_lm_scope_takes_both_ends_and_reports_what_it_skips() -> None:
    method = MlxAffine(bits=4, scope="mlx_lm")
    assert (method.lm_head, method.embeddings, method.on_indivisible) == (True, True, "skip")
    assert method.check([MatrixInfo("a", 8, 96), MatrixInfo("b", 8, 128)]) == [
        Skip("a", "group_size 64 does not divide its 96 columns")
    ]
    plain = MlxAffine(bits=4)
    assert (plain.lm_head, plain.embeddings, plain.on_indivisible) == (False, False, "error")


def test_mlx_lm_scope_is_logged_resolved_but_overridden_as_given() -> None:
    method = MlxAffine(bits=4, scope="mlx_lm")
    assert MlxAffine.model_validate(method.model_dump()) == method
    assert MlxAffine.model_validate(method.model_dump(exclude_unset=True) | {"scope": "blocks"}) == MlxAffine(bits=4)


@pytest.mark.parametrize("keys", [{"lm_head": False}, {"embeddings": False}, {"on_indivisible": "pad"}])
def test_mlx_lm_scope_refuses_what_contradicts_it(keys: dict[str, object]) -> None:
    (key,) = keys
    with pytest.raises(ValidationError, match=f"leave {key} out or use scope=blocks"):
        MlxAffine.model_validate({"bits": 4, "scope": "mlx_lm", **keys})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"bits": 7}, "got 7, expected one of 2, 3, 4, 5, 6, 8"),
        ({"bits": 16}, "got 16, expected one of"),
        ({"bits": 4.5}, r"got 4\.5, expected one of"),
        ({"bits": 4, "group_size": 16}, "got 16, expected one of 32, 64, 128"),
        ({"bits": 4, "scope": "all"}, "'blocks' or 'mlx_lm'"),
        ({}, "Field required"),
    ],
)
def test_refuses_settings_that_mlx_does_not_have(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MlxAffine.model_validate(keys)


@pytest.mark.parametrize(("dtype", "stored"), [(torch.bfloat16, 4.5), (torch.float32, 5.0)])
def test_evidence_counts_levels_and_overhead(dtype: torch.dtype, stored: float) -> None:
    # mlx_lm reports 4.5 bits a weight for 4 bits in groups of 64: 4 + 2 x 16 / 64.
    weight = normal(27, 64, 128).to(dtype)
    facts = MlxAffine(bits=4).describe(weight, quantized(weight, 4))
    assert facts == {
        "levels": 16,
        "levels_allowed": 16,
        "levels_rows": 64,
        "bits_per_weight": stored,
        "padded_columns": 0,
    }


@pytest.mark.parametrize(
    ("name", "scope"),
    [(f"{kind}-{bits}", scope) for kind, scope in (("mlx", "blocks"), ("rath-q", "mlx_lm")) for bits in (8, 6, 4, 3)],
)
def test_recipe_files(name: str, scope: str) -> None:
    recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))
    assert (recipe["version"], recipe["name"]) == (1, name)
    (step,) = recipe["steps"]
    expected = {"bits": int(name[-1]), "group_size": 64, "scope": scope}
    assert MlxAffine.model_validate(step) == MlxAffine.model_validate(expected)
