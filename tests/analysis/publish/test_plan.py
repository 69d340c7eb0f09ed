"""Earlier comparisons read from their reports, the documents of the first templates, and what a plan says."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from analysis import UserError, analyze
from analysis.inference.power import Aim, Spread, spread
from analysis.inference.sequential import order
from analysis.publish import CHURN, Past, make_plan, past_of, samples_of, usual
from tests.helpers.runlogs import DENSE, Task, bbq_item, bbq_line, choice_line, drawn_line, evidence, write_run

ITEMS, TEXTS = 48, 3


def choices(seed: int) -> np.ndarray:
    """[items, texts] options chosen: 0 the stereotype, 1 against it, 2 unknown; -1 nothing."""
    rng = np.random.default_rng(seed)
    return rng.choice([0, 1, 2, -1], size=(ITEMS, TEXTS), p=[0.3, 0.2, 0.45, 0.05])


def condition(number: int) -> str:
    return "ambig" if number % 3 else "disambig"


def drawn(seed: int) -> Task:
    lines = [
        drawn_line(i, [None if c < 0 else int(c) for c in row], item=bbq_item(i, condition=condition(i), correct=1))
        for i, row in enumerate(choices(seed))
    ]
    return Task(lines, output_type="generate_until")


def scored(seed: int) -> Task:
    rows = choices(seed)[:, 0]
    lines = [
        bbq_line(i, None if c < 0 else int(c), item=bbq_item(i, condition=condition(i), correct=1))
        for i, c in enumerate(rows)
    ]
    return Task(lines)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("past")
    write_run(folder / "runs", 1, {"bbq": drawn(0)}, evidence("dense", **DENSE))
    write_run(folder / "runs", 2, {"bbq": drawn(1)}, evidence("wanda-50"))
    analyze(folder / "runs", folder / "report")
    return folder / "report"


def by_hand(code: int | None, chosen: list[int], texts: int = TEXTS) -> Spread:
    """Parts of the change of one option's share (None: of the unanswered), from the choices themselves."""
    before, after = (choices(seed)[chosen][:, :texts] for seed in (0, 1))
    change = (after == (-1 if code is None else code)).astype(float) - (before == (-1 if code is None else code))
    item = np.repeat(chosen, texts)
    return spread(change.ravel(), item, item // 4)


def test_parts_are_those_of_the_answers(report: Path) -> None:
    found = past_of(report)
    ambig = [i for i in range(ITEMS) if condition(i) == "ambig"]
    told = [i for i in range(ITEMS) if condition(i) == "disambig"]
    expected = {
        "srs": by_hand(0, ambig),
        "usr": by_hand(2, ambig),
        "acc": by_hand(1, told),
        "unanswered_rate": by_hand(None, list(range(ITEMS))),
    }
    assert list(found.rows) == list(expected)
    for name, parts in expected.items():
        for part in ("template", "item", "text"):
            assert getattr(found.rows[name], part) == pytest.approx(getattr(parts, part)), (name, part)
    assert (found.texts, found.per_category, found.scored, found.expected) == (TEXTS, 12, False, False)
    assert (sum(found.sizes), len(found.sizes), found.items) == (len(ambig), 12, len(ambig) / 12)
    assert found.source == f"wanda-50 against dense in {report}"


def test_a_scored_task_has_answers_and_two_readings(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"bbq": scored(0)}, evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 2, {"bbq": scored(1)}, evidence("wanda-50"))
    analyze(tmp_path / "runs", tmp_path / "report")
    found = past_of(tmp_path / "report")
    ambig = [i for i in range(ITEMS) if condition(i) == "ambig"]
    assert found.rows["srs"].item == pytest.approx(by_hand(0, ambig, 1).item)
    assert (found.rows["srs"].text, found.texts, found.scored, found.expected) == (0, 1, True, False)


def test_chances_take_the_place_of_drawn_answers_where_first_tokens_stand_for_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    chances = {number: rng.dirichlet([2, 2, 2], ITEMS) for number in (1, 2)}
    for number, label in ((1, "dense"), (2, "wanda-50")):
        lines = []
        for i in range(ITEMS):
            item = bbq_item(i, correct=1)
            line = drawn_line(i, [0, 1, 2], item=item)
            own = [float(p) for p in chances[number][i]]
            # The log has each letter's log-probability among all tokens, from which the chances are read again.
            line["filtered_resps"] = line["resps"] = [[str(math.log(0.99 * p)), "False"] for p in own]
            line["answer"] |= {"probs": own, "letter_mass": 0.99, "drawn_letter_mass": 1.0}
            lines.append(line)
        write_run(
            tmp_path / "runs",
            number,
            {"bbq": Task(lines, output_type="generate_until")},
            evidence(label, **(DENSE if number == 1 else {})),
        )
    analyze(tmp_path / "runs", tmp_path / "report")
    found = past_of(tmp_path / "report")
    change = (chances[2] - chances[1])[:, 0]
    item = np.repeat(np.arange(ITEMS), TEXTS)
    expected = spread(change[item], item, item // 4)
    assert found.expected
    assert found.rows["srs"].item == pytest.approx(expected.item, rel=1e-4)
    assert found.rows["srs"].text == pytest.approx(0, abs=1e-12)
    assert "more texts an item add next to nothing" in " ".join(plan_of(found).sentences())


def plan_of(past: Past, **more: int) -> object:
    return make_plan(past, Aim(margin=0.1, shift=0.2), items=past.items, texts=past.texts, **more)


def test_a_task_without_a_direction_is_planned_by_its_accuracy(tmp_path: Path) -> None:
    for number, record in ((1, evidence("dense", **DENSE)), (2, evidence("wanda-50"))):
        lines = [choice_line(i, (i * number) % 2) for i in range(20)]
        write_run(tmp_path / "runs", number, {"arc": Task(lines)}, record)
    analyze(tmp_path / "runs", tmp_path / "report")
    found = past_of(tmp_path / "report")
    assert list(found.rows) == ["acc", "unanswered_rate"]
    assert found.sizes == (1.0,) * 20


def test_what_can_not_be_read_is_one_sentence(report: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no report: report\.json is not in it"):
        past_of(tmp_path)
    with pytest.raises(UserError, match=r"unknown run \(--run\) 'wanda'. Did you mean 'wanda-50'"):
        past_of(report, "wanda")
    with pytest.raises(UserError, match="is no report"):
        samples_of(tmp_path, 3)


def test_several_runs_need_a_name(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"bbq": scored(0)}, evidence("dense", **DENSE))
    for number, label in ((2, "wanda-50"), (3, "rtn-3")):
        write_run(tmp_path / "runs", number, {"bbq": scored(number)}, evidence(label))
    analyze(tmp_path / "runs", tmp_path / "report")
    with pytest.raises(UserError, match=r"has several runs: name one by --run\. There are wanda-50, rtn-3"):
        past_of(tmp_path / "report")
    assert past_of(tmp_path / "report", "rtn-3").source.startswith("rtn-3 against dense")


def test_the_first_documents_are_those_of_the_first_templates(report: Path) -> None:
    names = [f"Age/{number}" for number in range(12)]
    first = {names[place] for place in order(sorted(names), 7)[:5]} if names == sorted(names) else set()
    places = np.array(sorted(names))[order(sorted(names), 7)[:5]]
    first = set(places)
    found = samples_of(report, 5, 7)
    assert list(found) == ["bbq"]
    assert found["bbq"] == [i for i in range(ITEMS) if f"Age/{i // 4}" in first]
    # More templates are those and others.
    assert set(found["bbq"]) < set(samples_of(report, 6, 7)["bbq"])
    assert samples_of(report, 12, 7)["bbq"] == list(range(ITEMS))


def test_templates_are_cut_to_one_size_in_each_condition(report: Path) -> None:
    found = samples_of(report, 12, items_of=1)["bbq"]
    kept = Counter((i // 4, condition(i)) for i in found)
    assert set(kept.values()) == {1}
    assert set(kept) == {(i // 4, condition(i)) for i in range(ITEMS)}


def test_items_without_templates_have_no_first_ones(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"arc": Task([choice_line(i, 0) for i in range(4)])}, evidence("dense", **DENSE))
    analyze(tmp_path / "runs", tmp_path / "report")
    with pytest.raises(UserError, match="has no task with templates"):
        samples_of(tmp_path / "report", 3)


def test_a_plan_in_words() -> None:
    still = {name: Spread(template=0.0, item=0.0, whole=False) for name in ("srs", "usr", "acc", "unanswered_rate")}
    past = Past(source="a study", rows=still, items=20, texts=1, sizes=(1.0,), per_category=25, scored=False)
    made = make_plan(past, Aim(margin=0.02, shift=0.1), items=20, texts=1, templates=40)
    first, same, changed, told, seen, source, more = made.sentences()
    assert first == (
        "At a margin of 2 points no fewer than 36 templates can show SAME with reach 25, even if no answer changes."
    )
    assert same == (
        "SAME takes 36 templates (720 answers a condition) where nothing changes on the whole, in 80% of evaluations; "
        "with 25 templates a category, 2 categories."
    )
    # All move by 10 points: 2 (0.25 / 0.35)^G, three times over, is at 0.05 from G = 14.2 on.
    assert "CHANGED takes 15 templates (300 answers a condition) where SRS moves by 10 points" in changed
    assert told.startswith("40 templates: SAME comes in 100% where nothing changes, CHANGED in 100% where SRS moves")
    # (1 - m / 0.25)^40 = 0.05 at m = 0.0180; 6 (0.25 / (0.25 + s))^40 = 0.05 at s = 0.0317.
    assert "SAME at a margin of 1.8 points or more" in seen
    assert made.told is not None
    assert made.told.margin == pytest.approx(0.0180, abs=1e-4)
    assert made.told.shift == pytest.approx(0.0317, abs=0.0025)
    assert source == "Answers are taken to move as in a study."
    assert more.startswith("Chances took the place of answers there")
    assert [(line.verdict, line.items) for line in made.lines] == [
        *(("SAME", 20), ("CHANGED", 20), ("SAME", 10), ("CHANGED", 10), ("SAME", 40), ("CHANGED", 40)),
    ]


def test_defaults_have_the_standard_errors_of_the_published_table() -> None:
    # docs/results, Religion: 25 templates of 24 items with five texts; standard errors of srs, usr and acc.
    published = {
        "mild": (0.00364, 0.00412, 0.00460),
        "moderate": (0.00487, 0.00693, 0.00508),
        "strong": (0.01427, 0.02272, 0.01613),
    }
    assert set(published) == set(CHURN)
    for name, errors in published.items():
        rows = usual(name, items=24, texts=5).rows
        found = [math.sqrt(rows[row].of_template(24, 5) / 25) for row in ("srs", "usr", "acc")]
        assert found == pytest.approx(errors, rel=0.1)
