"""One pass says the same as a look at every value."""

from __future__ import annotations

import math

import pytest
import torch

from lm_eval_ext.models.parts.finite import all_finite


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("bad", [None, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [(0, 0), (70, 33), (-1, -1)])
def test_as_isfinite(dtype: torch.dtype, bad: float | None, place: tuple[int, int]) -> None:
    values = torch.randn(150, 67, generator=torch.Generator().manual_seed(0)).to(dtype)
    if bad is not None:
        values[place] = bad
    assert all_finite(values) is all_finite(values.t()) is bool(torch.isfinite(values).all()) is (bad is None)


def test_nothing_is_finite_and_two_kinds_at_once_are_not() -> None:
    assert all_finite(torch.empty(0, 3))
    assert not all_finite(torch.tensor([math.inf, math.nan, -math.inf]))
    assert not all_finite(torch.tensor([1.0, math.nan]))
