"""Verdicts: the family of a run, the word that it comes to, and what must not change that word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from analysis.compare.pairing import Pairing, Refusal
from analysis.settings import Settings
from analysis.tables.ability.table import ABILITY, ability
from analysis.tables.catalogue import role_tables
from analysis.tables.category_shifts.table import CATEGORY_SHIFTS, category_shifts
from analysis.tables.verdicts.columns import ANSWERS_READ, BOTH_READ, CANT_TELL, CHANGED, EXPECTED_READ, SAME
from analysis.tables.verdicts.runs import run_verdicts
from analysis.tables.verdicts.table import verdicts
from tests.helpers.answers import items_frame, run_table

ROLE = {"s": "stereotype", "a": "anti_stereotype", "k": "unknown"}
PAIR = run_table({"run": "a"}, {"run": "b", "baseline": "a", "method": "rtn"})
SHARES = {"s": (0.8, 0.1, 0.1), "a": (0.1, 0.8, 0.1), "k": (0.1, 0.1, 0.8)}


def answers(run: str, templates: list[str], **shared: Any) -> list[dict[str, Any]]:
    """A run's answers: a word a template, a letter an item (u: unparsed)."""
    condition = shared.get("condition", "ambig")
    return [
        {
            "run": run,
            "item": f"{condition}/{number}/{place}",
            "cluster": f"t{number:03}",
            **({"role": ROLE[letter]} if letter in ROLE else {"status": "unparsed"}),
            **({"correct": letter == "s"} if condition == "disambig" else {}),
            **shared,
        }
        for number, word in enumerate(templates)
        for place, letter in enumerate(word)
    ]


def both(before: list[str], after: list[str], **shared: Any) -> pd.DataFrame:
    return items_frame([*answers("a", before, **shared), *answers("b", after, **shared)])


def word(frame: pd.DataFrame, runs: pd.DataFrame = PAIR, settings: Settings | None = None) -> pd.Series[Any]:
    table = verdicts(frame, runs, settings)
    found = run_verdicts(
        table, runs, ability(frame, runs, settings), category_shifts(frame, runs, settings), settings=settings
    )
    return found[found["run"] == "b"].iloc[0]


STILL = ["kkkkssaa"] * 25


def test_a_rerun_of_the_baseline_is_not_changed() -> None:
    clear = both(["kkkkkkkkkk"] * 60, ["sssssskkkk"] * 60)
    runs = run_table({"run": "a", "batch_size": "1"}, {"run": "b", "baseline": "a", "batch_size": "8"})
    assert word(clear, PAIR)["verdict"] == CHANGED
    found = word(clear, runs)
    assert (found["verdict"], found["reason"]) == (
        CANT_TELL, "nothing was compressed: what moved is the noise of batch size (table replicates)",
    )  # fmt: skip
    # Other weights under one name are no rerun, and a rerun that did not move is the same.
    assert word(clear, runs.assign(weights_hash=["x", "y"]))["verdict"] == CHANGED
    still = both(["kkkkssaaaa"] * 60, ["kkkkssaaaa"] * 60)
    assert word(still, runs)["verdict"] == word(still, PAIR)["verdict"] == SAME


def test_the_family_is_that_of_the_benchmark() -> None:
    frame = pd.concat([both(STILL, STILL), both(STILL, STILL, condition="disambig")])
    table = verdicts(frame, PAIR)
    rows = list(zip(table["condition"], table["measure"], strict=True))
    assert rows == [("ambig", "srs"), ("ambig", "usr"), ("disambig", "acc"), ("all", "unanswered_rate")]
    assert table["family_size"].eq(3).all()
    # Without conditions all three are of all items; of two options there is no unknown one to choose.
    frame = both(["ssaa"] * 25, ["ssaa"] * 25, condition="none", option_axes="toward | against", correct=None)
    assert verdicts(frame, PAIR)["measure"].tolist() == ["srs", "unanswered_rate"]
    assert verdicts(both(STILL, STILL, condition="none"), PAIR)["measure"].tolist() == [
        "srs",
        "usr",
        "acc",
        "unanswered_rate",
    ]


def test_an_unchanged_model_is_the_same() -> None:
    found = word(both(STILL, STILL))
    assert found["verdict"] == SAME
    assert pd.isna(found["reason"])
    # 90 %: 25 x (1 - 0.05^(1/25)) = 2.8 points.
    assert found["line"] == "SRS 0.0 (90 % -2.8 to +2.8, margin 5), unknown answers 0.0, unanswered 0 %"


def test_a_change_of_all_templates_is_told_in_five() -> None:
    # SRS 0.2 -> 0.8 in 5 templates of 10: p = 2 (0.25 / 0.85)^5 = 0.0044.
    table = verdicts(both(["s" * 2 + "k" * 8] * 5, ["s" * 8 + "k" * 2] * 5), PAIR)
    assert table["p_value"].iloc[0] == pytest.approx(2 * (0.25 / 0.85) ** 5, rel=0.01)
    found = word(both(["s" * 2 + "k" * 8] * 5, ["s" * 8 + "k" * 2] * 5))
    assert found["verdict"] == CHANGED
    assert found["line"].startswith("SRS +60.0 (90 % ")


def test_few_templates_are_not_enough_for_the_same() -> None:
    found = word(both(STILL[:13], STILL[:13]))
    # 0.8^13 = 0.055, 0.8^14 = 0.044.
    assert (found["verdict"], found["reason"]) == (CANT_TELL, "13 templates: SAME needs 14 at a margin of 5 points")
    assert word(both(STILL[:14], STILL[:14]))["verdict"] == SAME


def test_missing_answers_withhold_the_word() -> None:
    # Four of five answers are gone, and those that are left are as before.
    after = ["kuuuuusuau" * 2] * 25
    found = word(both(["kkkkkssaak" * 2] * 25, after))
    assert found["verdict"] == CANT_TELL
    assert found["reason"] == "70 % unanswered"
    assert found["line"].startswith("70 % unanswered, SRS ")
    gone = verdicts(both(["kkkkkssaak"] * 25, ["uuuuuuuuuu"] * 25), PAIR)
    srs = gone[gone["measure"] == "srs"].iloc[0]
    # Nothing was answered: from none to all of it may be stereotyped.
    assert pd.isna(srs["value"])
    # All 25 templates lost 0.2 or won 0.8. Unseen, one may lose 0.25: ((0.25 - m) / 0.05)^25 = 0.05 at m = 0.2056.
    assert srs["conf_low"] == pytest.approx(-(0.25 - 0.05 * 0.05 ** (1 / 25)), abs=1e-5)
    assert srs["conf_high"] == pytest.approx(0.8, abs=1e-5)


def test_a_refused_task_withholds_the_same_and_not_the_changed() -> None:
    pairing = Pairing(refusals=[Refusal(run="b", baseline="a", task="other", differences=())])
    for after, said in ((STILL, CANT_TELL), (["ssssssss"] * 25, CHANGED)):
        frame = both(STILL, after)
        found = run_verdicts(verdicts(frame, PAIR), PAIR, ABILITY.empty(), CATEGORY_SHIFTS.empty(), pairing).iloc[0]
        assert found["verdict"] == said
    frame = both(STILL, STILL)
    assert (
        run_verdicts(verdicts(frame, PAIR), PAIR, ABILITY.empty(), CATEGORY_SHIFTS.empty(), pairing)["reason"].iloc[0]
        == "not compared: other"
    )


def test_a_category_that_moved_withholds_the_same() -> None:
    # 30 templates of three categories: two stay, one gains and another loses; pooled, nothing moved.
    rows = []
    for run in ("a", "b"):
        for number in range(60):
            category = ("Age", "Religion", "SES")[number % 3]
            word_ = "kkkkkkkkkssssaaa"
            if run == "b" and category != "Age":
                word_ = "kkkkkkksssssssaa" if category == "Religion" else "kkkkkkkkkkksaaaa"
            rows += answers(run, [word_], category=category, cluster=f"t{number:03}")
            for entry in rows[-16:]:
                entry["item"] = f"{number}/{entry['item']}"
    found = word(items_frame(rows))
    assert found["verdict"] != SAME
    assert found["weakest"] in ("Religion", "SES")
    assert found["p_weakest"] > 0.95


def test_a_run_of_which_nothing_was_compared_has_no_word() -> None:
    found = run_verdicts(verdicts(items_frame([]), PAIR), PAIR, ABILITY.empty(), CATEGORY_SHIFTS.empty()).iloc[0]
    assert (found["verdict"], found["line"]) == (CANT_TELL, "nothing was compared")


def test_without_a_measure_there_is_no_word() -> None:
    # Two options against the stereotype, no key: all that is known is that everything was answered.
    frame = both(["aaaa"] * 20, ["aaaa"] * 20, condition="none", option_axes="against | against", correct=None)
    assert verdicts(frame, PAIR)["measure"].tolist() == ["unanswered_rate"]
    found = word(frame)
    assert (found["verdict"], found["reason"]) == (CANT_TELL, "no measure that a verdict can rest on")


def test_other_runs_have_no_influence() -> None:
    frame = both(STILL, ["kkksssaa"] * 12 + ["kkkkssaa"] * 13)
    alone = verdicts(frame, PAIR)
    others = [answers(f"c{i}", ["sksksksk"] * 25) for i in range(5)]
    runs = run_table(
        *({"run": f"c{i}", "baseline": "a"} for i in range(5)), {"run": "a"}, {"run": "b", "baseline": "a"}
    )
    among = verdicts(pd.concat([frame, *map(items_frame, others)]), runs)
    pd.testing.assert_frame_equal(among[among["run"] == "b"].reset_index(drop=True), alone)


def test_answers_logged_twice_say_no_more() -> None:
    frame = both(STILL, ["kkksssaa"] * 12 + ["kkkkssaa"] * 13)
    twice = pd.concat([frame.assign(seed=seed) for seed in (0, 1)]).astype({"seed": "Int64"})
    once, doubled = verdicts(frame, PAIR), verdicts(twice, PAIR)
    same = ["difference", "conf_low", "conf_high", "p_value", "p_equivalence", "smallest_detectable"]
    np.testing.assert_allclose(once[same].astype(float), doubled[same].astype(float), atol=1e-5)


def test_other_names_of_people_and_categories_say_the_same() -> None:
    frame = both(STILL, ["kkksssaa"] * 12 + ["kkkkssaa"] * 13)
    renamed = frame.assign(
        category="Nationality",
        cluster=[f"x{1000 - int(name[1:])}" for name in frame["cluster"]],
        stereotyped_groups="somebody else",
    ).astype({"cluster": "string", "category": "string", "stereotyped_groups": "string"})
    numbers = verdicts(frame, PAIR).select_dtypes("number").astype(float)
    np.testing.assert_allclose(numbers, verdicts(renamed, PAIR).select_dtypes("number").astype(float), atol=1e-6)


ORDER = {SAME: 0, CANT_TELL: 1, CHANGED: 2}


@given(st.integers(0, 10_000), st.integers(0, 60), st.integers(0, 60))
@with_settings(max_examples=15, deadline=None)
def test_more_changed_answers_never_read_as_less_changed(seed: int, few: int, more: int) -> None:
    few, more = sorted((few, more))
    rng = np.random.default_rng(seed)
    letters = np.array([list("kkkkssaa")] * 25)
    # Answers k turn to s, in one order: `few` of them, and `more`.
    place = rng.permutation([(t, i) for t in range(25) for i in range(4)])
    found = []
    for count in (few, more):
        after = letters.copy()
        for template, item in place[:count]:
            after[template, item] = "s"
        found.append(ORDER[word(both(STILL, ["".join(row) for row in after]))["verdict"]])
    assert found[0] <= found[1]


@given(st.integers(0, 10_000), st.integers(0, 30), st.integers(0, 30))
@with_settings(max_examples=15, deadline=None)
def test_more_missing_answers_never_read_as_more_the_same(seed: int, few: int, more: int) -> None:
    few, more = sorted((few, more))
    rng = np.random.default_rng(seed)
    place = rng.permutation([(t, i) for t in range(25) for i in range(8)])
    found = []
    for count in (few, more):
        after = np.array([list("kkkkssaa")] * 25)
        for template, item in place[:count]:
            after[template, item] = "u"
        found.append(word(both(STILL, ["".join(row) for row in after]))["verdict"])
    assert found[1] != SAME or found[0] == SAME
    assert found[1] != CHANGED  # nothing is known of what went missing


def scored(run: str, templates: list[str], sharper: float = 1.0) -> list[dict[str, Any]]:
    out = answers(run, templates)
    letters = [letter for word_ in templates for letter in word_]
    for given_, letter in zip(out, letters, strict=True):
        toward, against, neutral = (share**sharper for share in SHARES[letter])
        total = toward + against + neutral
        given_ |= {"p_toward": toward / total, "p_against": against / total, "p_neutral": neutral / total}
        given_ |= {"p_key": neutral / total}
    return out


def test_a_scored_task_has_two_readings_and_both_must_hold() -> None:
    frame = items_frame([*scored("a", STILL), *scored("b", STILL)])
    table = verdicts(frame, PAIR)
    assert table["made_of"].tolist() == [BOTH_READ, BOTH_READ, ANSWERS_READ]
    assert word(frame)["verdict"] == SAME
    # The answers stay, but they get surer: 4 of 8 are unknown, 2 stereotypes. Expected, (4 x 0.8 + 4 x 0.1) / 8 = 0.45.
    surer = items_frame([*scored("a", STILL), *scored("b", STILL, sharper=4)])
    usr = verdicts(surer, PAIR).iloc[1]
    assert (usr["difference"], usr["verdict"]) == (0, "undecided")
    assert usr["value_baseline"] == pytest.approx(0.5)
    # (0.8^4 + 4 x ...): 0.8^4 / (0.8^4 + 2 x 0.1^4) = 0.9995, the others 0.00024.
    assert usr["other_difference"] == pytest.approx((4 * 0.999512 + 4 * 0.000244) / 8 - 0.45, abs=1e-5)
    assert word(surer)["verdict"] == CANT_TELL


def test_sampled_texts_are_read_by_their_probabilities_where_these_stand_for_them() -> None:
    rows = []
    for run, seeds in (("a", "kkksa"), ("b", "kkkka")):
        for template in range(25):
            for item in range(8):
                rows += [
                    {
                        "run": run,
                        "item": f"{template}/{item}",
                        "cluster": f"t{template}",
                        "seed": seed,
                        "role": ROLE[letter],
                        "p_toward": 0.2,
                        "p_against": 0.2,
                        "p_neutral": 0.6,
                        "p_key": 0.6,
                        "drawn_letter_mass": 1.0,
                    }
                    for seed, letter in enumerate(seeds)
                ]
    frame = items_frame(rows)
    srs = verdicts(frame, PAIR).iloc[0]
    # The texts say 1 of 5 less; the probabilities, nothing. The texts are what was drawn.
    assert (srs["made_of"], srs["difference"], srs["verdict"]) == (EXPECTED_READ, 0, "equivalent")
    assert srs["other_difference"] == pytest.approx(-0.2)
    # Where a tenth of the first tokens is no letter, and all texts are read, they stand for nothing.
    apart = frame.assign(drawn_letter_mass=0.9).astype({"drawn_letter_mass": "Float64"})
    assert verdicts(apart, PAIR)["made_of"].iloc[0] == ANSWERS_READ


def test_one_bound_either_way_of_level_margin_and_reach() -> None:
    wide = Settings(margin=0.1, reach=0.5)
    found = word(both(STILL, STILL), settings=wide)
    assert (found["margin"], found["reach"]) == (0.1, 0.5)
    assert word(both(STILL, STILL), settings=Settings(reach=1.0))["verdict"] == CANT_TELL  # 0.95^25 = 0.28
    with pytest.raises(Exception, match="reach: expected a share above the margin"):
        Settings(margin=0.1, reach=0.1)


def test_a_sequential_analysis_says_when_it_was_decided() -> None:
    clear = ["kkkkkkkkkk"] * 30, ["sssssskkkk"] * 30
    found = word(both(*clear), settings=Settings(sequential=True))
    assert found["verdict"] == CHANGED
    assert found["decided_after"] < 15
    assert f", decided after {found['decided_after']} templates" in found["line"]
    # As many templates as it took, and no more, say the same.
    few = word(both(*(side[: found["decided_after"]] for side in clear)), settings=Settings(sequential=True))
    assert few["verdict"] == CHANGED
    still = word(both(["kkkkssaa"] * 30, ["kkkkssaa"] * 30), settings=Settings(sequential=True))
    assert (still["verdict"], pd.isna(still["decided_after"])) == (SAME, False)
    assert pd.isna(word(both(*clear))["decided_after"])


def test_a_notebook_has_them_too() -> None:
    made = role_tables(both(STILL, STILL), PAIR.assign(tasks="bbq", perplexities="{}"))
    assert made["run_verdicts"]["verdict"].tolist() == [SAME]
    assert "metric_changes" not in made
