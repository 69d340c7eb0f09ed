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


def test_results_are_collected_into_one_frame_by_name() -> None:
    other = Result(method="trend", estimates=(Estimate(term="slope", estimate=2.0),), n=7, facts={"steps": 3})
    found = Result.collect({"Age": _result(), "SES": other})
    summary = found.summary
    assert summary[["result", "term", "estimate", "n"]].to_numpy().tolist() == [
        ["Age", "risk_difference", 0.123456789, 120],
        ["Age", "odds_ratio", math.inf, 120],
        ["SES", "slope", 2.0, 7],
    ]
    # A fact that one result lacks is missing there, and a count stays a count.
    assert summary["seed"].tolist() == [0, 0, pd.NA]
    assert summary["steps"].tolist() == [pd.NA, pd.NA, 3]
    assert summary["n_clusters"].isna().all()
    assert summary["p_value"].dtype == "Float64"
    for name, alone in (("Age", _result()), ("SES", other)):
        part = summary[summary["result"] == name].reset_index(drop=True)[list(alone.summary)]
        assert part.astype("string").equals(alone.summary.astype("string"))
    assert found["SES"] == other
    assert list(found) == [_result(), other]
    with pytest.raises(KeyError, match=r"no result 'x'; there are \['Age', 'SES'\]"):
        found["x"]


def test_results_add_up() -> None:
    one, two = _result(), Result(method="other", n=0, status="nothing to test")
    assert [name for name, _ in (one + two).named] == ["1", "2"]
    assert [name for name, _ in sum([one, two, one]).named] == ["1", "2", "3"]
    named = Result.collect({"a": one}) + Result.collect({"a": two, "b": one}) + one
    assert [name for name, _ in named.named] == ["a", "a (2)", "b", "4"]
    assert len((one + two).summary) == 3
    assert (one + two).summary["status"].tolist() == ["ok", "ok", "nothing to test"]


@pytest.mark.parametrize("render", ["as_text", "as_html", "as_latex"])
def test_collected_results_show_the_same_rounded_numbers(render: str) -> None:
    found = Result.collect({"Age & sex": _result(), "SES": _result()})
    shown = getattr(found, render)()
    for part in ("0.123", "<0.001", "risk", "120", "yes", "0.95", "SES"):
        assert part in shown.replace("&lt;", "<")
    assert "0.1234" not in shown
    assert "nan" not in shown.lower()
    assert "<NA>" not in shown


def test_labels_of_results_are_escaped_in_html() -> None:
    found = Result.collect({"<script>alert(1)</script>": _result()})
    assert "<script>" not in found._repr_html_()


def test_what_is_no_result_is_not_collected() -> None:
    with pytest.raises(TypeError, match=r"collect: expected results of tests .* got none"):
        Result.collect([])
    with pytest.raises(TypeError, match="got a int among them"):
        Result.collect([_result(), 3])
    with pytest.raises(TypeError):
        _result() + 3
