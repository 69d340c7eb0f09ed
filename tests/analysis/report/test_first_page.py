"""What the first page takes from the tables, and what it leaves out."""

from __future__ import annotations

import pytest

from analysis.report.first_page import noise_beside
from analysis.tables.noise.table import noise_floor
from tests.analysis.tables.test_noise import PAIR, drawn
from tests.helpers.answers import items_frame

PROBS, MOVED = [(0.1, 0.4, 0.5)] * 3, [(0.3, 0.3, 0.4)] * 3


def test_the_floor_is_shown_beside_draws_in_percent() -> None:
    frame = items_frame(drawn("a", PROBS, "kkkkk") + drawn("b", MOVED, "kkkks"))
    shown = noise_beside({"noise_floor": noise_floor(frame, PAIR)}).set_index("transition")
    assert shown.index.tolist() == ["new_bias", "resolved_bias", "net_bias", "net_flips"]
    # 1 - 0.9^5 and 1 - 0.7^5.
    expected = pytest.approx([40.951, 83.193])
    assert shown.loc["new_bias", ["floor_independent", "expected"]].tolist() == expected
    # Drawn with common seeds: an unchanged model would show none. All of the three items became biased.
    assert shown.loc["new_bias", ["observed", "floor"]].tolist() == [100, 0]
    # P - Q = 0.9^5 - 0.7^5.
    net = shown.loc["net_bias", ["observed", "floor", "floor_independent", "expected"]].tolist()
    assert net == pytest.approx([100, 0, 0, 42.242])
    # One template tells hardly anything.
    assert -100 < shown.loc["net_bias", "observed_from"] < 0
    assert shown.loc["new_bias", "excess"] == pytest.approx(83.193 - 40.951)


def test_scored_answers_have_no_floor_on_the_first_page() -> None:
    rows = [row | {"seed": None} for row in drawn("a", PROBS, "k") + drawn("b", MOVED, "s")]
    table = noise_floor(items_frame(rows), PAIR)
    assert table["floor"].notna().any()
    assert noise_beside({"noise_floor": table}).empty


def test_only_what_was_observed_is_told_where_first_tokens_are_no_answers() -> None:
    silent = [row | {"role": None, "status": "unparsed"} if row["seed"] else row for row in drawn("b", MOVED, "kkkks")]
    table = noise_floor(items_frame(drawn("a", PROBS, "kkkkk") + silent), PAIR)
    shown = noise_beside({"noise_floor": table})
    assert shown["observed"].notna().any()
    assert shown[["expected", "floor_independent", "excess"]].isna().all().all()
