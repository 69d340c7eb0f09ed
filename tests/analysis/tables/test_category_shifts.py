"""Table category_shifts, from frames of answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.inference.bounded import Moves
from analysis.inference.pooling import pool
from analysis.settings import Settings
from analysis.tables.category_shifts.table import ALONE, ANY, CATEGORY_SHIFTS, MISSING, category_shifts, weakest
from tests.helpers.answers import items_frame, run_table

PAIR = run_table({"run": "a"}, {"run": "b", "baseline": "a"})
ROLE = {"s": "stereotype", "a": "anti_stereotype", "k": "unknown"}
BEFORE = {
    "Age": ["kkks", "kkkk", "kssa", "kkkk"],
    "Race": ["kkaa", "kkks", "sssa"],
    "SES": ["kkkk", "kkka", "kkks", "kkss", "kkkk"],
}
AFTER = {
    "Age": ["kkss", "ksss", "kssa", "ksks"],
    "Race": ["kkaa", "kkks", "sssa"],
    "SES": ["kkkk", "kkka", "kksk", "ksss", "kkkk"],
}


def answers(run: str, given: dict[str, list[str]], **shared: Any) -> list[dict[str, Any]]:
    """A run's answers: a letter an item (u: unparsed), a word a template."""
    return [
        {
            "run": run,
            "category": category,
            "item": f"{category}/{number}/{place}",
            "cluster": f"{category}/t{number}",
            **({"role": ROLE[letter]} if letter in ROLE else {"status": "unparsed"}),
            **shared,
        }
        for category, words in given.items()
        for number, word in enumerate(words)
        for place, letter in enumerate(word)
    ]


def table(after: dict[str, list[str]] = AFTER, before: dict[str, list[str]] = BEFORE, **other: Any) -> pd.DataFrame:
    frame = items_frame(answers("a", before) + answers("b", after))
    return category_shifts(frame, other.get("runs", PAIR), other.get("settings"))


def rows(found: pd.DataFrame, measure: str) -> pd.DataFrame:
    return found[found["measure"] == measure].set_index("category")


def test_by_hand() -> None:
    found = rows(table(), "srs")
    assert list(found.index) == ["Age", "Race", "SES", ANY]
    # Stereotypical answers per template of four, before and after.
    net = {"Age": [1, 3, 0, 2], "Race": [0, 0, 0], "SES": [0, 0, 0, 1, 0]}
    moves = [Moves(net=np.array(one, dtype=float), n=np.full(len(one), 4.0)) for one in net.values()]
    expected = pool(moves, moves, 0.05, 0.9)
    assert found["shift"].tolist()[:3] == pytest.approx([6 / 16, 0, 1 / 20])
    assert found["std_error"].tolist()[:3] == pytest.approx([np.std([1, 3, 0, 2], ddof=1) / 4 / 2, 0, 1 / 20])
    assert found["df"].tolist()[:3] == pytest.approx([3, 2, 4])
    assert found["p_beyond"].tolist() == pytest.approx([*expected.beyond, expected.any_beyond])
    assert found["pooled"].tolist() == pytest.approx([*expected.mean, expected.common])
    assert set(found["status"]) == {"ok"}
    assert found["n_clusters"].tolist() == [4, 3, 5, 12]
    assert found["n_items"].tolist() == [16, 12, 20, 48]
    assert set(found["made_of"]) == {"answers"}
    assert set(found["n_categories"]) == {3}


def test_measures_by_condition() -> None:
    assert set(table()["measure"]) == {"srs", "usr"}
    for condition, measures in (("disambig", {"acc"}), (None, {"srs", "usr", "acc"})):
        frame = items_frame(answers("a", BEFORE, condition=condition) + answers("b", AFTER, condition=condition))
        assert set(category_shifts(frame, PAIR)["measure"]) == measures


def with_chances(*, drawn: bool) -> pd.DataFrame:
    seed = {"seed": 0} if drawn else {}
    frame = items_frame(answers("a", BEFORE, **seed) + answers("b", AFTER, **seed))
    chance = np.where(frame["run"] == "a", 0.2, 0.6)
    frame = frame.assign(p_toward=chance, p_against=0.1, p_neutral=0.9 - chance, p_off=0.0, p_key=0.9 - chance)
    return frame.assign(drawn_letter_mass=1.0) if drawn else frame


def test_expected_answers_take_the_place_of_draws() -> None:
    frame = with_chances(drawn=True)
    found = rows(category_shifts(frame, PAIR), "srs")
    assert set(found["made_of"]) == {"expected answers"}
    assert found["shift"].tolist()[:3] == pytest.approx([0.4] * 3)
    # First tokens that do not stand for answers, or one item without probabilities: draws, in every category.
    assert set(category_shifts(frame.assign(drawn_letter_mass=0.8), PAIR)["made_of"]) == {"answers"}
    frame.loc[0, "p_toward"] = None
    pd.testing.assert_series_equal(
        rows(category_shifts(frame, PAIR), "srs")["p_beyond"], rows(table(), "srs")["p_beyond"]
    )


def test_of_two_readings_the_larger_chance_is_given() -> None:
    scored, drawn = (rows(category_shifts(with_chances(drawn=kind), PAIR), "srs") for kind in (False, True))
    given = rows(table(), "srs")
    assert set(scored["made_of"]) == {"answers and expected answers"}
    assert scored["shift"].tolist()[:3] == given["shift"].tolist()[:3]
    assert scored["p_beyond"].tolist() == np.maximum(given["p_beyond"], drawn["p_beyond"]).tolist()
    assert (scored["p_beyond"] > given["p_beyond"]).any()


def test_missing_answers_are_taken_at_their_worst() -> None:
    missing = {**AFTER, "Race": ["kkuu", "kkks", "uuua"]}
    found, whole = rows(table(missing), "srs"), rows(table(), "srs")
    assert found.loc["Race", "status"] == MISSING
    assert found.loc[ANY, "status"] == MISSING
    assert found.loc["Age", "status"] == "ok"
    assert found.loc["Race", "missing"] == pytest.approx(5 / 12)
    assert found.loc["Race", "shift_low"] < whole.loc["Race", "shift_low"]
    assert found.loc["Race", "shift_high"] > whole.loc["Race", "shift_high"]
    assert found.loc["Race", "p_beyond"] > whole.loc["Race", "p_beyond"]
    assert found.loc[ANY, "p_beyond"] >= whole.loc[ANY, "p_beyond"]


def test_few_categories_are_not_pooled() -> None:
    one = {"Age": BEFORE["Age"]}, {"Age": AFTER["Age"]}
    found = rows(table(one[1], one[0]), "srs")
    assert list(found.index) == ["Age", ANY]
    assert set(found["status"]) == {ALONE}
    assert found["p_beyond"].nunique() == 1
    assert found["sd_between"].isna().all()


def test_a_category_without_the_measure_is_named_and_left_out() -> None:
    frame = items_frame(answers("a", BEFORE) + answers("b", AFTER))
    frame.loc[frame["category"] == "SES", "option_axes"] = "toward | against | against"
    found = rows(category_shifts(frame, PAIR), "usr")
    assert found.loc["SES", "status"] == "no item offers a neutral option"
    assert found.loc["SES", ["shift", "p_beyond"]].isna().all()
    assert set(found["n_categories"]) == {2}


def test_other_runs_have_no_influence() -> None:
    both = run_table({"run": "a"}, {"run": "b", "baseline": "a"}, {"run": "c", "baseline": "a"})
    frame = items_frame(answers("a", BEFORE) + answers("b", AFTER) + answers("c", BEFORE))
    found = category_shifts(frame, both)
    pd.testing.assert_frame_equal(found[found["run"] == "b"].reset_index(drop=True), table())
    assert weakest(found, "c", "bbq") != weakest(found, "b", "bbq")


def test_the_weakest() -> None:
    found = table()
    name, chance = weakest(found, "b", "bbq") or ("", 0.0)
    assert name == "Age"
    assert chance == found.loc[found["category"] != ANY, "p_beyond"].max()
    assert weakest(found, "b", "bbq", "none") == (name, chance)
    assert weakest(found, "b", "other") is None
    assert weakest(CATEGORY_SHIFTS.empty(), "b", "bbq") is None


def test_settings() -> None:
    wide = table(settings=Settings(margin=0.2, reach=0.5))
    assert set(wide["margin"]) == {0.2}
    assert rows(wide, "srs").loc["Race", "p_beyond"] < rows(table(), "srs").loc["Race", "p_beyond"]
    assert table(runs=run_table({"run": "a"}, {"run": "b"})).empty
