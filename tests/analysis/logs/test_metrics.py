"""Which metric says right or wrong, and whether a log agrees with itself: numbers counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.logs.agreement import same_number
from analysis.logs.results import TaskLog
from analysis.logs.samples import SamplesRead, read_samples
from tests.helpers.runlogs import (
    bbq_item,
    bbq_line,
    choice_line,
    drawn_line,
    rolling_line,
    sha,
    text_line,
    uncertainty,
    write_lines,
)


def about(**changes: Any) -> TaskLog:
    fields: dict[str, Any] = {
        "name": "t", "output_type": "multiple_choice", "version": "1.0", "n_shot": 0, "n_effective": None,
        "task_hash": None, "perplexities": {}, "samples": None,
    }  # fmt: skip
    return TaskLog(**(fields | changes))


def read(folder: Path, lines: list[dict[str, Any]], **changes: Any) -> SamplesRead:
    path = folder / "s.jsonl"
    write_lines(path, lines)
    return read_samples(path, "s.jsonl", "r", about(n_effective=len({line["doc_id"] for line in lines}), **changes))


def column(found: SamplesRead, name: str) -> list[Any]:
    return list(found.table[name].to_pylist())


def kinds(found: SamplesRead) -> list[str]:
    return [issue.kind for issue in found.issues]


def listed(line: dict[str, Any], **metrics: Any) -> dict[str, Any]:
    """The line with these metrics alone, named as lm_eval names them."""
    kept = {name: value for name, value in line.items() if name not in line["metrics"]}
    return kept | metrics | {"metrics": list(metrics)}


def test_a_fraction_anywhere_is_a_mean_and_no_right_or_wrong(tmp_path: Path) -> None:
    shares = [0.0, 1.0, 0.25, 0.75]
    found = read(tmp_path, [choice_line(i, 0, acc=share) for i, share in enumerate(shares)])
    assert column(found, "correct") == [None] * 4
    assert column(found, "metric") == [None] * 4
    assert [json.loads(text) for text in column(found, "metrics")] == [{"acc": share} for share in shares]
    assert found.issues == []


def test_the_first_metric_of_the_task_speaks_for_every_line(tmp_path: Path) -> None:
    lines = [listed(choice_line(i, 0), acc_norm=1.0, acc=float(i == 0)) for i in range(3)]
    found = read(tmp_path, lines)
    assert (column(found, "metric"), column(found, "correct")) == (["acc"] * 3, [True, False, False])
    norm = read(tmp_path, [listed(choice_line(i, 0), acc_norm="True") for i in range(2)])
    assert (column(norm, "metric"), column(norm, "correct")) == (["acc_norm"] * 2, [True, True])
    assert column(norm, "choice") == [None, None]  # lm_eval does not log the lengths that it divided by


def test_a_line_without_the_metric_that_speaks_is_left_out(tmp_path: Path) -> None:
    lines = [listed(choice_line(i, 0), acc=1.0, acc_norm=0.0) for i in range(4)]
    lines[2] = listed(lines[2], acc_norm=0.0)
    found = read(tmp_path, lines)
    assert column(found, "doc_id") == [0, 1, 3]
    (issue,) = found.issues
    assert issue.kind == "metric_missing"
    assert issue.message == (
        "acc, which says right or wrong in filter none, has no value in 1 of 4 lines (t/2); left out"
    )


def test_each_filter_has_a_metric_of_its_own(tmp_path: Path) -> None:
    strict = [listed(text_line(i, "4", filter="strict"), exact_match=float(i)) for i in range(2)]
    share = [listed(text_line(i, "4", filter="share"), f1=0.5) for i in range(2)]
    found = read(tmp_path, strict + share, output_type="generate_until")
    assert column(found, "metric") == ["exact_match", "exact_match", None, None]
    assert column(found, "correct") == [False, True, None, None]


def test_another_metric_speaks_if_it_is_higher_for_the_better_and_whole(tmp_path: Path) -> None:
    lines = [
        listed(text_line(i, "x"), inst_level_strict_acc=[True, False], prompt_level_strict_acc=bool(i), length=i / 2)
        for i in range(2)
    ]
    better = {"prompt_level_strict_acc": True, "length": True}
    found = read(tmp_path, lines, output_type="generate_until", higher_is_better=better)
    assert (column(found, "metric"), column(found, "correct")) == (["prompt_level_strict_acc"] * 2, [False, True])
    assert json.loads(column(found, "metrics")[1]) == {"length": 0.5, "prompt_level_strict_acc": 1.0}
    lower = read(tmp_path, lines, output_type="generate_until", higher_is_better=dict.fromkeys(better, False))
    assert column(lower, "correct") == [None, None]


def test_acc_of_multiple_choice_is_whole_where_lm_eval_makes_it(tmp_path: Path) -> None:
    lines = [choice_line(i, 0, acc=1.0 if i else 0.5) for i in range(12)]
    found = read(tmp_path, lines, own_results=False)
    assert column(found, "correct") == [True] * 11
    (issue,) = found.issues
    assert issue.message.startswith("acc of multiple choice is 0 or 1, but another number in 1 of 12 lines (t/0)")
    many = read(tmp_path, [choice_line(i, 0, acc=i / 12) for i in range(12)], own_results=False)
    assert column(many, "metric") == [None] * 12
    assert [(issue.kind, issue.level) for issue in many.issues] == [("metric_fraction", "note")]


def test_a_metric_that_is_a_list_in_nearly_all_lines_is_no_number_in_one(tmp_path: Path) -> None:
    lines = [listed(choice_line(i, 0), acc=1.0, f1=[i, 1]) for i in range(12)]
    lines[3]["f1"] = -1
    found = read(tmp_path, lines)
    assert column(found, "doc_id") == [0, 1, 2, *range(4, 12)]
    assert found.issues[0].message == (
        "f1 is a number in some lines and none in others; 1 of 12 lines are unlike the rest and left out"
    )


def test_a_number_that_is_not_defined_for_a_line_is_null(tmp_path: Path) -> None:
    lines = [listed(choice_line(i, 0), acc=1.0, bias=float("nan") if i else 0.5, name="red") for i in range(2)]
    found = column(read(tmp_path, lines), "metrics")
    assert [json.loads(text) for text in found] == [{"acc": 1.0, "bias": 0.5}, {"acc": 1.0, "bias": None}]


def test_a_mean_that_the_results_file_does_not_have_costs_the_file(tmp_path: Path) -> None:
    lines = [choice_line(i, int(i >= 9)) for i in range(20)]  # 9 of 20 choose the key
    told = {"metrics": {"none": {"acc": 0.45}}}
    assert kinds(read(tmp_path, lines, **told)) == []
    for line in lines[:5]:
        line["acc"] = 0.0  # 4 of 20 are left
    found = read(tmp_path, lines, **told)
    assert found.table.num_rows == 0
    (issue,) = found.issues
    assert issue.kind == "mean_differs"
    assert issue.message.startswith("acc of the 20 lines is 0.2, but the results file says 0.45 (filter none)")


@pytest.mark.parametrize("sampled", [False, True])
def test_our_own_accuracy_is_held_against_the_results_too(tmp_path: Path, sampled: bool) -> None:
    items = [bbq_item(i, correct=0) for i in range(4)]
    if sampled:  # 2 of 3 texts are right in each
        lines = [drawn_line(i, [0, 0, 1], item=item) for i, item in enumerate(items)]
    else:
        lines = [bbq_line(i, int(i > 2), item=item) for i, item in enumerate(items)]
    right = 2 / 3 if sampled else 0.75
    assert kinds(read(tmp_path, lines, metrics={"none": {"acc": right}})) == []
    assert kinds(read(tmp_path, lines, metrics={"none": {"acc": right - 0.25}})) == ["mean_differs"]


def test_only_means_are_held_against_the_results(tmp_path: Path) -> None:
    lines = [listed(choice_line(i, 0), acc=1.0, perplexity=-2.0, f1=0.0) for i in range(3)]
    told = {"none": {"acc": 1.0, "perplexity": 7.38905609893065, "f1": 0.7}}
    assert kinds(read(tmp_path, lines, metrics=told, aggregations={"perplexity": "perplexity"})) == []
    assert kinds(read(tmp_path, lines, metrics=told, aggregations={"f1": "mean"})) == ["mean_differs"]


# The second is what somebody rounded; with three digits 0.125 is 250 of 2,000 lines, and 0.1255 is 251.
@pytest.mark.parametrize(
    ("found", "reported", "same"),
    [(0.5, 0.5, True), (1 / 3, 0.3333, True), (1 / 3, 0.333, False), (0.1255, 0.125, False), (0.45, 0.46, False)],
)
def test_what_counts_as_the_same_number(found: float, reported: float, same: bool) -> None:
    assert same_number(found, reported) is same


def test_a_perplexity_is_made_again_from_the_lines(tmp_path: Path) -> None:
    lines = [rolling_line(0, -10.0), rolling_line(1, -5.0)]  # exp(15 / 10) = 4.4817
    told: dict[str, Any] = {"output_type": "loglikelihood_rolling"}
    assert read(tmp_path, lines, **told, metrics={"none": {"word_perplexity": 4.4816890703}}).refuted == ()
    found = read(tmp_path, lines, **told, metrics={"none": {"word_perplexity": 4.9}})
    assert (found.refuted, kinds(found)) == (("word_perplexity",), ["mean_differs"])
    task = about(**told, metrics={"none": {"word_perplexity": 4.9, "bits_per_byte": 0.7}})
    assert task.without(found.refuted).metrics == {"none": {"bits_per_byte": 0.7}}


def test_a_metric_that_was_taken_from_every_line_is_missed(tmp_path: Path) -> None:
    lines = [listed(choice_line(i, 0), f1=0.5) for i in range(3)]
    found = read(tmp_path, lines, metrics={"none": {"acc": 0.5, "f1": 0.5}}, reported={"none": ("acc", "f1")})
    assert [issue.message for issue in found.issues] == [
        "acc is in the results file (filter none), but in none of the 3 lines",
        "metrics of filter none: acc only in the results",
    ]
    assert column(found, "correct") == [None] * 3


def test_a_direction_under_another_name_counts_if_all_are_one(tmp_path: Path) -> None:
    lines = [listed(text_line(i, "x"), **{"pass@1": float(i)}) for i in range(2)]
    told: dict[str, Any] = {"output_type": "generate_until", "metrics": {"none": {"pass@1": 0.5}}}
    assert column(read(tmp_path, lines, **told, higher_is_better={"pass_at_k": True}), "correct") == [False, True]
    assert column(read(tmp_path, lines, **told, higher_is_better={"pass_at_k": False}), "correct") == [None, None]
    assert column(read(tmp_path, lines, **told), "correct") == [None, None]


def test_a_target_that_is_the_options_number_shows_a_changed_line(tmp_path: Path) -> None:
    lines = [choice_line(i, i % 3, key=0) for i in range(20)]
    lines[4] |= {"acc": 1.0}  # chose 1, where the key is 0
    found = read(tmp_path, lines)
    assert 4 not in column(found, "doc_id")
    assert kinds(found) == ["contradiction"]
    # Targets that are names, or numbers of something else, say nothing.
    for line in lines:
        line |= {"target": "2", "target_hash": sha("2")}
    assert kinds(read(tmp_path, lines)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"filtered_resps": [["-1.5", "False"], ["-4.0", "False"]]}, "2 scores for 3 requests"),
        ({"filtered_resps": [["-9.5", "False"], ["-4.0", "False"], ["-5.0", "False"]]}, "hold different scores"),
        ({"resps": [[["2.5", "False"]]] * 3, "filtered_resps": [["2.5", "False"]] * 2 + [["-1", "False"]]}, "differ"),
        ({"resps": [[["2.5", "0"]], [["-1", "0"]], [["-1", "0"]]],
          "filtered_resps": [["2.5", "0"], ["-1", "0"], ["-1", "0"]]}, "a log-likelihood of 2.5, expected at most 0"),
    ],
)  # fmt: skip
def test_scores_that_can_not_be_are_counted_and_left_out(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    found = read(tmp_path, [choice_line(0, 0), choice_line(1, 0) | change])
    assert column(found, "doc_id") == [0]
    assert said in found.issues[0].message


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"probs": [1.2, -0.1, -0.1]}, "expected probabilities from 0 to 1, got [1.2, -0.1, -0.1]"),
        ({"probs": [0.5, 0.2, 0.2]}, "which add up to 0.9"),
        ({"probs": [float("inf"), 0.0, 0.0]}, "expected probabilities from 0 to 1"),
        ({"probs": [0.2, 0.6, 0.2]}, "option 0 was chosen, but 1 is the likeliest"),
        ({"margin": 0.3}, "answer.margin: 0.3, but the probabilities differ by 0.4"),
        ({"entropy": 1.5}, "answer.entropy: 1.5 bits, but the probabilities have 1.37"),
        ({"letter_mass": 1.2}, "a probability of letters of 1.2"),
    ],
)
def test_answers_that_contradict_themselves_are_counted_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool, answer: dict[str, Any], said: str
) -> None:
    if not quick:
        monkeypatch.setattr("analysis.logs.samples.typed_line", lambda raw: None)
    found = read(tmp_path, [bbq_line(0, 0), bbq_line(1, 0, **answer)])
    assert column(found, "doc_id") == [0]
    assert said in found.issues[0].message


@pytest.mark.parametrize("quick", [True, False])
def test_right_and_wrong_follow_from_the_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool) -> None:
    if not quick:
        monkeypatch.setattr("analysis.logs.samples.typed_line", lambda raw: None)
    good, bad = (bbq_line(i, 0, item=bbq_item(i, correct=0)) | {"acc": float(1 - i)} for i in range(2))
    found = read(tmp_path, [good, bad])
    assert column(found, "doc_id") == [0]
    assert "acc: 0, but the answer's share of right choices is 1" in found.issues[0].message


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize(
    ("changed", "name"),
    [("doc", "doc_hash"), ("target", "target_hash"), ("arguments", "prompt_hash"), ("doc_hash", "doc_hash")],
)
def test_a_line_that_was_changed_after_the_run_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool, changed: str, name: str
) -> None:
    if not quick:
        monkeypatch.setattr("analysis.logs.samples.typed_line", lambda raw: None)
    lines = [bbq_line(i, 0) for i in range(4)]
    other = bbq_line(1, 0, item=bbq_item(1, condition="disambig"), prompt="R") | {"target": "9"}
    other["doc_hash"] = sha("something else")
    lines[1][changed] = other[changed]
    found = read(tmp_path, lines)
    assert column(found, "doc_id") == [0, 2, 3]
    (issue,) = found.issues
    assert (issue.kind, issue.message.startswith(f"{name} is not lm_eval's hash of the ")) == ("untrue", True)
    # Where nearly every line is so, another program wrote them: nothing is left out, and it is said.
    for line in lines:
        line[changed] = lines[1][changed] if changed == "doc_hash" else line[changed]
        line[name] = sha("something else")
    everything = read(tmp_path, lines)
    assert [(issue.kind, issue.level) for issue in everything.issues] == [("untrue", "note")]
    assert everything.table.num_rows == 4


@pytest.mark.parametrize("quick", [True, False])
def test_texts_and_first_tokens_are_those_that_the_model_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    if not quick:
        monkeypatch.setattr("analysis.logs.samples.typed_line", lambda raw: None)
    lines = [drawn_line(i, [0, 1]) for i in range(4)]
    for line in lines:  # exp(-0.5) + exp(-1) + exp(-4) = 0.992726
        line["answer"] |= {
            "probs": [0.6109750512275837, 0.3705751008890263, 0.01844984788339003],
            "drawn_letter_mass": 0.99272573977281,
        }
        line["answer"] |= uncertainty(line["answer"]["probs"])
        line["resps"] = [["A", "B"], ['{"plain": [-1, -2, -3], "drawn": [-0.5, -1, -4]}']]
    assert read(tmp_path, lines).issues == []
    lines[1]["answer"]["draws"][1]["text"] = "b"
    lines[2]["answer"]["drawn_letter_mass"] = 0.9
    lines[3]["answer"] |= {"probs": [0.6, 0.38, 0.02]} | uncertainty([0.6, 0.38, 0.02])
    found = read(tmp_path, lines)
    assert set(column(found, "doc_id")) == {0}
    assert ["resps" in issue.message or "first token" in issue.message for issue in found.issues] == [True] * 3


def test_a_metric_that_a_line_lists_is_there(tmp_path: Path) -> None:
    lines = [listed(choice_line(i, 0), acc=1.0, f1=0.5) for i in range(3)]
    del lines[1]["f1"]
    found = read(tmp_path, lines)
    assert column(found, "doc_id") == [0, 2]
    assert "f1: listed among the metrics, but missing" in found.issues[0].message


@pytest.mark.parametrize("quick", [True, False])
def test_probabilities_follow_from_the_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool) -> None:
    if not quick:
        monkeypatch.setattr("analysis.logs.samples.typed_line", lambda raw: None)
    lines = [bbq_line(i, 0, probs=[0.5, 0.3, 0.2]) for i in range(4)]
    assert read(tmp_path, lines).issues == []
    lines[2]["answer"]["probs"] = [0.5, 0.2, 0.3]  # the same choice, entropy and margin
    found = read(tmp_path, lines)
    assert column(found, "doc_id") == [0, 1, 3]
    assert found.issues[0].message == (
        "answer.probs does not follow from the scores in resps in 1 of 4 lines: changed after the run; left out"
    )


@pytest.mark.parametrize("quick", [True, False])
def test_entropy_and_margin_are_made_where_they_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    if not quick:
        monkeypatch.setattr("analysis.logs.samples.typed_line", lambda raw: None)
    found = read(tmp_path, [bbq_line(0, 0, entropy=None, margin=None)])
    # scipy.stats.entropy([0.6, 0.2, 0.2], base=2)
    assert column(found, "entropy") == [pytest.approx(1.370950594454669)]
    assert column(found, "margin") == [pytest.approx(0.4)]


@pytest.mark.parametrize(("count", "level"), [(2, None), (3, "warning")])
def test_answers_without_a_score_are_counted_where_they_are_half(tmp_path: Path, count: int, level: str | None) -> None:
    lines = [choice_line(i, 0) for i in range(6)]
    for line in lines[:count]:
        line |= {"resps": [[["nan", "False"]]] * 3, "filtered_resps": [["nan", "False"]] * 3}
    found = read(tmp_path, lines)
    assert [(issue.kind, issue.level) for issue in found.issues] == ([] if level is None else [("unscored", level)])
    if level:
        assert found.issues[0].message.startswith(f"{count} of 6 answers have no usable score")


@pytest.mark.parametrize("quick", [True, False])
def test_probabilities_that_one_line_lacks_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool
) -> None:
    if not quick:
        monkeypatch.setattr("analysis.logs.samples.typed_line", lambda raw: None)
    lines = [bbq_line(i, 0, probs=None if i == 2 else [0.6, 0.2, 0.2]) for i in range(4)]
    found = read(tmp_path, lines)
    assert column(found, "doc_id") == [0, 1, 3]
    assert found.issues[0].message.startswith("answer has no probabilities, though scores chose the option, in 1 of 4")
    # A log of answers alone is read as it is.
    bare = read(tmp_path, [bbq_line(i, 0, probs=None) for i in range(4)])
    assert (bare.issues, bare.table.num_rows) == ([], 4)
