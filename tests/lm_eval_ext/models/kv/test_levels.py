"""Values that a quantized cache gives back: by hand, by optimum-quanto, by torch's own casts, and properties."""

from __future__ import annotations

import pytest
import torch

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.kv.levels import group_size, read_back, stored_bits
from lm_eval_ext.models.recipe.kv import KvCache

INTS = ("int8", "int4", "int2")


def keys(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return (3 * torch.randn(shape, generator=torch.Generator().manual_seed(5))).to(dtype)


def test_by_hand() -> None:
    # 2 bits from 0 to 3: steps of 1. 0.5 and 2.5 lie between two and go to the even code, as IEEE rounds.
    values = torch.tensor([[0.0, 0.5, 1.4, 1.6, 2.5, 3.0, 0.9, 2.1]])
    assert read_back(values, KvCache(format="int2", group_size=8)).tolist() == [[0, 0, 1, 2, 2, 3, 1, 2]]


@pytest.mark.parametrize("bits", [2, 4])
def test_as_quanto_quantizes_for_transformers(bits: int) -> None:
    quanto = pytest.importorskip("optimum.quanto")
    values = keys(2, 3, 17, 64)
    # As transformers.cache_utils.QuantoQuantizedLayer._quantize calls it, axis 0 and groups of 64.
    qtype = {2: quanto.qint2, 4: quanto.qint4}[bits]
    scale, shift = quanto.MaxOptimizer()(values, qtype, 0, 64)
    expected = quanto.quantize_weight(values, qtype, 0, scale, shift, 64).dequantize()
    found = read_back(values, KvCache(format=f"int{bits}", group_size=64))  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("name", "kind"), [("fp8_e4m3", torch.float8_e4m3fn), ("fp8_e5m2", torch.float8_e5m2)])
def test_floats_are_those_of_torch_and_saturate(name: str, kind: torch.dtype) -> None:
    most = torch.finfo(kind).max
    values = torch.cat([keys(100), torch.tensor([2 * most, -2 * most])])
    found = read_back(values[None], KvCache(format=name))[0]  # type: ignore[arg-type]
    assert torch.equal(found[:-2], values[:-2].to(kind).float())
    assert found[-2:].tolist() == [most, -most]


@pytest.mark.parametrize("name", INTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tokens_stand_alone_and_groups_have_few_values(name: str, dtype: torch.dtype) -> None:
    kv = KvCache(format=name, group_size=16)  # type: ignore[arg-type]
    values = keys(2, 3, 9, 32, dtype=dtype)
    found = read_back(values, kv)
    assert found.dtype == dtype
    assert found.shape == values.shape
    assert torch.equal(read_back(values[:1, :, 4:6], kv), found[:1, :, 4:6])
    assert all(len(group.unique()) <= 2**kv.bits for group in found.reshape(-1, 16))
    groups, given = found.float().reshape(-1, 16), values.float().reshape(-1, 16)
    step = (given.amax(-1) - given.amin(-1)) / (2**kv.bits - 1)
    slack = 1.0 if dtype == torch.float32 else 1.5
    assert bool(((groups - given).abs().amax(-1) <= slack * (step / 2 + given.abs().amax(-1) * 2**-8)).all())


def test_a_group_of_one_value_stays() -> None:
    values = torch.full((1, 16), 0.1)
    assert torch.equal(read_back(values, KvCache(format="int4", group_size=16)), values)


def test_groups() -> None:
    assert group_size(KvCache(format="int4"), 128) == 64
    assert group_size(KvCache(format="int4"), 16) == 16
    with pytest.raises(
        UserError, match="kv=int4: groups of 64 don't divide a head of 96 channels; give kv_group_size=96"
    ):
        group_size(KvCache(format="int4"), 96)
    # 4 bits, and a scale and a least value of 16 bits each for 64 values.
    assert stored_bits(KvCache(format="int4"), 64, torch.bfloat16) == 4.5
    assert stored_bits(KvCache(format="fp8_e5m2"), 64, torch.bfloat16) == 8
