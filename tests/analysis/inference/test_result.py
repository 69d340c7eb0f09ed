"""The result class: one frame behind every rendering, nothing rounded in it, nothing NaN."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from analysis.inference import Estimate, Result


def _result() -> Result:
    estimates = (
        Estimate(term="risk_difference", estimate=0.123456789, p_value=1e-9, conf_low=0.1, conf_high=0.2),
        Estimate(term="odds_ratio", estimate=math.inf, conf_low=math.nan),
    )
    return Result(method="mcnemar", estimates=estimates, n=120, n_clusters=None, facts={"seed": 0, "converged": True})


def test_summary_holds_full_precision_and_no_nan() -> None:
    summary = _result().summary
    assert summary["estimate"].tolist() == [0.123456789, math.inf]
    assert summary["conf_low"][1] is pd.NA
    assert summary["n"].tolist() == [120, 120]
    assert summary["n_clusters"].isna().all()
    assert summary["seed"].tolist() == [0, 0]


@pytest.mark.parametrize("render", ["as_text", "as_html", "as_latex"])
def test_every_rendering_shows_the_same_rounded_numbers(render: str) -> None:
    shown = getattr(_result(), render)()
    for part in ("0.123", "<0.001", "risk", "120", "yes", "0.95"):
        assert part in shown.replace("&lt;", "<")
    assert "0.1234" not in shown
    assert "nan" not in shown.lower()


def test_no_estimate_is_one_row_with_the_reason() -> None:
    result = Result(method="mcnemar", n=0, status="no discordant pair")
    assert len(result.summary) == 1
    assert result.summary["status"].tolist() == ["no discordant pair"]
    assert "no discordant pair" in str(result)
    assert result._repr_html_() == result.as_html()


def test_a_term_is_found_by_name() -> None:
    assert _result()["odds_ratio"].estimate == math.inf
    with pytest.raises(KeyError, match=r"no term 'x'; there are \['risk_difference', 'odds_ratio'\]"):
        _result()["x"]


def test_decimals_change_the_rendering_only() -> None:
    assert "0.12346" in _result().as_text(decimals=5)
    assert "<0.00001" in _result().as_text(decimals=5)
