"""Metrics as lm_eval's own tasks log them, from lines to headline; every expected number is counted by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from analysis import Analysis, analyze
from analysis.schema.columns import Table, count
from analysis.schema.declare import ReportTable
from analysis.tables.catalogue import CATALOGUE
from analysis.tables.metric_changes.table import METRIC_COMPARISON, MetricComparison
from tests.helpers.runlogs import DENSE, Task, evidence, sample, write_run

MEAN_UP = ("mean", True)
FUNCTION = "def agg_inst_level_acc(items):\n    return sum(map(sum, items)) / len(items)\n"

Values = Mapping[str, Any]
Ways = Mapping[str, tuple[str, bool]]


def line(number: int, kind: str, run: str, values: Values, name: str) -> dict[str, Any]:
    """A line with these metrics; texts and scores are others in every run, the choice is not."""
    score = -1.5 if run == "dense" else -1.25
    if kind == "generate_until":
        requests: list[tuple[Any, ...]] = [(f"Q {number}", {"until": ["\n"]})]
        responses: list[Any] = [f"{run} says {number}"]
    elif kind == "loglikelihood":
        requests, responses = [(f"Q {number}", " word")], [[str(score), "False"]]
    else:
        requests = [(f"Q {number}", f" option {i}") for i in range(3)]
        responses = [[str(score - i), "False"] for i in range(3)]
    doc = {"question": f"question {number}", "answer": "none"}
    return sample(number, doc, requests, responses, filter=name, metrics=list(values), **values)


def write(
    folder: Path,
    task: str,
    kind: str,
    ways: Ways,
    lines: Mapping[str, tuple[Sequence[Values], Sequence[Values]]],
    results: tuple[Values, Values],
    **top: Any,
) -> None:
    """Both runs of a task: `lines` has, by filter, the baseline's and the run's metrics of each document."""
    listed = [{"metric": name, "aggregation": way, "higher_is_better": up} for name, (way, up) in ways.items()]
    config = {"task": task, "output_type": kind, "metric_list": listed}
    for number, record in enumerate((evidence("dense", **DENSE), evidence("w"))):
        label = ("dense", "w")[number]
        made = [
            line(i, kind, label, values, name)
            for name, sides in lines.items()
            for i, values in enumerate(sides[number])
        ]
        made.sort(key=lambda entry: int(entry["doc_id"]))
        write_run(
            folder,
            number + 1,
            {task: Task(made, kind, dict(results[number]))},
            record,
            configs={task: config},
            higher_is_better={task: {name: up for name, (_, up) in ways.items()}},
            **top,
        )


def analysed(folder: Path, *given: Any, **top: Any) -> Analysis:
    write(folder / "runs", *given, **top)
    found = analyze(folder / "runs", folder / "report")
    assert [issue.message for issue in found.issues if issue.level != "note"] == []
    return found


def changes(found: Analysis) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of metric_changes by metric and kind."""
    rows = found.tables["metric_changes"].to_dict("records")
    return {(row["metric"], row["metric_kind"]): row for row in rows}


def shown(found: Analysis, run: str, name: str = "none") -> dict[str, Any]:
    rows = found.headline[(found.headline["run"] == run) & (found.headline["filter"] == name)]
    assert len(rows) == 1
    return dict(rows.iloc[0])


def numbers(row: Mapping[str, Any], *names: str) -> list[Any]:
    return [row[name] for name in names]


def each(name: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    return [{name: value} for value in values]


def test_truthfulqa_mc2_is_a_mean_of_shares_though_some_lines_are_whole(tmp_path: Path) -> None:
    before, after = [0.75, 1.0, 0.5, 0.0, 0.25], [0.5, 1.0, 0.25, 0.0, 0.5]
    lines = {"none": (each("acc", before), each("acc", after))}
    results = ({"acc,none": 0.5, "acc_stderr,none": 0.17}, {"acc,none": 0.45, "acc_stderr,none": 0.17})
    found = analysed(tmp_path, "truthfulqa_mc2", "multiple_choice", {"acc": MEAN_UP}, lines, results)
    assert list(changes(found)) == [("acc", "number")]
    row = changes(found)["acc", "number"]
    assert numbers(row, "n", "value_baseline", "value", "decides", "unit") == [5, 0.5, 0.45, False, "document"]
    assert numbers(row, "aggregation", "higher_is_better", "status") == ["mean", True, "ok"]
    ends = ttest_rel(after, before).confidence_interval(0.95)
    assert numbers(row, "conf_low", "conf_high") == pytest.approx([ends.low, ends.high])
    top = shown(found, "w")
    assert numbers(top, "n", "metric", "metric_value", "metric_change") == [5, "acc", 0.45, pytest.approx(-0.05)]
    assert numbers(top, "accuracy", "flip_rate") == [pd.NA, pd.NA]
    flips = found.tables["flips"].iloc[0]
    assert numbers(dict(flips), "n", "n_without_key", "metric") == [0, 5, pd.NA]
    page = (found.output / "summary.md").read_text()
    assert "- **value**: " in page
    assert "**accuracy**" not in page
    assert "**flips**" not in page


def test_of_817_shares_five_are_whole_and_the_mean_falls_by_a_tenth(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    before = rng.uniform(0.2, 0.9, 817)
    after = before - 0.1 + rng.normal(0, 0.02, 817)
    # Four of five whole lines right in both runs: read as right and wrong they are an accuracy of 0.8 without a flip.
    before[:5] = after[:5] = [1, 1, 1, 1, 0]
    lines = {"none": (each("acc", before.tolist()), each("acc", after.tolist()))}
    results = ({"acc,none": before.mean()}, {"acc,none": after.mean()})
    found = analysed(tmp_path, "truthfulqa_mc2", "multiple_choice", {"acc": MEAN_UP}, lines, results)
    top = shown(found, "w")
    assert numbers(top, "n", "accuracy", "flip_rate") == [817, pd.NA, pd.NA]
    assert top["metric_value"] == pytest.approx(after.mean())
    ends = ttest_rel(after, before).confidence_interval(0.95)
    row = changes(found)["acc", "number"]
    assert numbers(row, "change", "conf_low", "conf_high") == pytest.approx(
        [float((after - before).mean()), float(ends.low), float(ends.high)]
    )
    assert row["conf_high"] < -0.09


def test_a_run_whose_shares_happen_to_be_whole_is_shown_as_the_other_is(tmp_path: Path) -> None:
    lines = {"none": (each("acc", [0.5, 1.0]), each("acc", [1.0, 1.0]))}
    results = ({"acc,none": 0.75}, {"acc,none": 1.0})
    found = analysed(tmp_path, "truthfulqa_mc2", "multiple_choice", {"acc": MEAN_UP}, lines, results)
    assert [numbers(shown(found, run), "accuracy", "metric_value") for run in ("dense", "w")] == [
        [pd.NA, 0.75],
        [pd.NA, 1.0],
    ]
    assert found.pairing.refusals == []
    assert list(changes(found)) == [("acc", "number")]


def test_ifeval_is_right_by_prompt_and_its_instructions_are_an_aggregate(tmp_path: Path) -> None:
    def values(prompt: Sequence[bool], instructions: Sequence[Sequence[bool]]) -> list[dict[str, Any]]:
        pairs = zip(prompt, instructions, strict=True)
        return [{"prompt_level_strict_acc": one, "inst_level_strict_acc": list(all_)} for one, all_ in pairs]

    before = values([True, False, True, False], [[True], [True, False], [True, True], [False]])
    after = values([True, True, False, False], [[True], [True, True], [False, True], [False]])
    ways = {"prompt_level_strict_acc": MEAN_UP, "inst_level_strict_acc": (FUNCTION, True)}
    results = tuple(
        {
            "prompt_level_strict_acc,none": prompt,
            "inst_level_strict_acc,none": inst,
            "inst_level_strict_acc_stderr,none": "N/A",
        }
        for prompt, inst in ((0.5, 4 / 6), (0.5, 4 / 6))
    )
    found = analysed(tmp_path, "ifeval", "generate_until", ways, {"none": (before, after)}, results)
    prompt, inst = (
        changes(found)["prompt_level_strict_acc", "0/1"],
        changes(found)["inst_level_strict_acc", "aggregate"],
    )
    assert len(changes(found)) == 2
    assert numbers(prompt, "decides", "n", "value", "change", "n_gained", "n_lost") == [True, 4, 0.5, 0, 1, 1]
    assert numbers(inst, "value_baseline", "value", "change", "aggregation") == [4 / 6, 4 / 6, 0, "function"]
    assert numbers(inst, "n", "conf_low", "higher_is_better") == [None, None, True]
    top = shown(found, "w")
    assert numbers(top, "metric", "accuracy", "flip_rate", "changed_rate") == ["prompt_level_strict_acc", 0.5, 0.5, 1.0]
    page = (found.output / "summary.md").read_text()
    # All four texts are others, two of them flip.
    assert "| 4 | 0.500 | 50.0% | 100.0% |" in page
    assert "Metric: prompt_level_strict_acc." in page


def test_humaneval_has_pass_at_1_under_its_filter(tmp_path: Path) -> None:
    lines = {"create_test": (each("pass@1", [1.0, 1.0, 0.0, 1.0]), each("pass@1", [1.0, 0.0, 0.0, 0.0]))}
    results = ({"pass@1,create_test": 0.75}, {"pass@1,create_test": 0.25})
    found = analysed(tmp_path, "humaneval", "generate_until", {"pass@1": MEAN_UP}, lines, results)
    row = changes(found)["pass@1", "0/1"]
    assert numbers(row, "filter", "decides", "change", "n_gained", "n_lost") == ["create_test", True, -0.5, 0, 2]
    top = shown(found, "w", "create_test")
    assert numbers(top, "metric", "accuracy", "flip_rate") == ["pass@1", 0.25, 0.5]


def test_hellaswag_has_both_accuracies_and_says_which_decides(tmp_path: Path) -> None:
    pairs = ([(1, 1), (0, 1), (1, 0), (0, 0)], [(1, 1), (0, 1), (0, 0), (0, 1)])
    before, after = ([{"acc": float(a), "acc_norm": float(b)} for a, b in side] for side in pairs)
    results = ({"acc,none": 0.5, "acc_norm,none": 0.5}, {"acc,none": 0.25, "acc_norm,none": 0.75})
    ways = {"acc": MEAN_UP, "acc_norm": MEAN_UP}
    found = analysed(tmp_path, "hellaswag", "multiple_choice", ways, {"none": (before, after)}, results)
    acc, norm = changes(found)["acc", "0/1"], changes(found)["acc_norm", "0/1"]
    assert numbers(acc, "decides", "value", "change", "n_gained", "n_lost") == [True, 0.25, -0.25, 0, 1]
    assert numbers(norm, "decides", "value", "change", "n_gained", "n_lost") == [False, 0.75, 0.25, 1, 0]
    assert found.tables["flips"]["metric"].tolist() == ["acc"]
    assert "Where no metric is named acc decides, also beside acc_norm." in (found.output / "summary.md").read_text()


def test_gsm8k_has_two_filters_of_one_metric(tmp_path: Path) -> None:
    lines = {
        "strict-match": (each("exact_match", [1, 0, 0]), each("exact_match", [0, 0, 0])),
        "flexible-extract": (each("exact_match", [1, 1, 0]), each("exact_match", [1, 1, 1])),
    }
    results = (
        {"exact_match,strict-match": 1 / 3, "exact_match,flexible-extract": 2 / 3},
        {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 1.0},
    )
    found = analysed(tmp_path, "gsm8k", "generate_until", {"exact_match": MEAN_UP}, lines, results)
    rows = found.tables["metric_changes"].set_index("filter")
    assert rows["change"].to_dict() == {
        "strict-match": pytest.approx(-1 / 3),
        "flexible-extract": pytest.approx(1 / 3),
    }
    assert numbers(shown(found, "w", "strict-match"), "n", "accuracy", "flip_rate") == [3, 0, pytest.approx(1 / 3)]


def test_f1_of_words_is_a_mean_beside_the_match_that_decides(tmp_path: Path) -> None:
    # As coqa and drop log them.
    before = [{"em": 1.0, "f1": 1.0}, {"em": 0.0, "f1": 0.5}, {"em": 0.0, "f1": 0.0}]
    after = [{"em": 0.0, "f1": 0.8}, {"em": 0.0, "f1": 0.4}, {"em": 0.0, "f1": 0.0}]
    results = ({"em,none": 1 / 3, "f1,none": 0.5}, {"em,none": 0.0, "f1,none": 0.4})
    ways = {"em": MEAN_UP, "f1": MEAN_UP}
    found = analysed(tmp_path, "coqa", "generate_until", ways, {"none": (before, after)}, results)
    em, f1 = changes(found)["em", "0/1"], changes(found)["f1", "number"]
    assert numbers(em, "decides", "n_lost", "change") == [True, 1, pytest.approx(-1 / 3)]
    assert numbers(f1, "decides", "value_baseline", "value") == [False, 0.5, pytest.approx(0.4)]
    ends = ttest_rel([0.8, 0.4, 0.0], [1.0, 0.5, 0.0]).confidence_interval(0.95)
    assert numbers(f1, "conf_low", "conf_high") == pytest.approx([ends.low, ends.high])


def test_squadv2_has_aggregates_alone(tmp_path: Path) -> None:
    def values(count: int) -> list[dict[str, Any]]:
        pair = [{"id": "a", "prediction_text": "x"}, {"id": "a", "answers": {"text": []}}]
        return [{"exact": pair, "f1": pair} for _ in range(count)]

    results = ({"exact,none": 40.0, "f1,none": 50.5}, {"exact,none": 30.0, "f1,none": 41.0})
    ways = {"exact": ("<function squad_exact at 0x7f>", True), "f1": ("<function squad_f1 at 0x7f>", True)}
    found = analysed(tmp_path, "squadv2", "generate_until", ways, {"none": (values(3), values(3))}, results)
    assert [numbers(row, "value_baseline", "value", "change") for row in changes(found).values()] == [
        [40.0, 30.0, -10.0],
        [50.5, 41.0, -9.5],
    ]
    top = shown(found, "w")
    assert numbers(top, "n", "metric", "metric_value", "metric_change", "changed_rate") == [
        3,
        "exact",
        30.0,
        -10.0,
        1.0,
    ]


def test_pct_stereotype_is_a_rate_and_no_accuracy(tmp_path: Path) -> None:
    before = [{"likelihood_diff": d, "pct_stereotype": p} for d, p in ((2.0, 1.0), (4.0, 1.0), (0.0, 0.0))]
    after = [{"likelihood_diff": d, "pct_stereotype": p} for d, p in ((3.0, 0.0), (4.0, 1.0), (2.0, 0.0))]
    ways = {"likelihood_diff": ("mean", False), "pct_stereotype": ("mean", False)}
    results = tuple({"likelihood_diff,none": d, "pct_stereotype,none": p} for d, p in ((2.0, 2 / 3), (3.0, 1 / 3)))
    found = analysed(tmp_path, "my_pairs", "multiple_choice", ways, {"none": (before, after)}, results)
    rate, diff = changes(found)["pct_stereotype", "0/1"], changes(found)["likelihood_diff", "number"]
    assert numbers(rate, "decides", "higher_is_better", "n_lost", "n_gained") == [False, False, 1, 0]
    assert numbers(diff, "value_baseline", "value", "change") == [2.0, 3.0, 1.0]
    assert shown(found, "w")["accuracy"] is pd.NA
    assert numbers(shown(found, "w"), "metric", "metric_value") == ["likelihood_diff", 3.0]


def test_lambada_is_right_by_acc_and_its_perplexity_is_no_mean_of_lines(tmp_path: Path) -> None:
    # exp(-mean): e^2 and e^3.
    before = [{"perplexity": -1.0, "acc": 1.0}, {"perplexity": -3.0, "acc": 0.0}]
    after = [{"perplexity": -2.0, "acc": 1.0}, {"perplexity": -4.0, "acc": 0.0}]
    e2, e3 = 7.38905609893065, 20.085536923187668
    results = ({"perplexity,none": e2, "acc,none": 0.5}, {"perplexity,none": e3, "acc,none": 0.5})
    ways = {"perplexity": ("perplexity", False), "acc": MEAN_UP}
    found = analysed(tmp_path, "lambada_openai", "loglikelihood", ways, {"none": (before, after)}, results)
    assert list(changes(found)) == [("acc", "0/1"), ("perplexity", "number"), ("perplexity", "aggregate")]
    mean, own = changes(found)["perplexity", "number"], changes(found)["perplexity", "aggregate"]
    # A log-likelihood is better the higher it is: the direction belongs to the aggregate alone.
    assert numbers(mean, "value_baseline", "value", "higher_is_better") == [-2.0, -3.0, None]
    assert mean["status"].startswith("the mean of the lines, not lm_eval's own aggregate")
    assert numbers(own, "value_baseline", "value", "higher_is_better") == [e2, e3, False]
    assert own["change"] == pytest.approx(e3 - e2)


def test_an_aggregation_that_no_name_tells_is_told_by_its_value(tmp_path: Path) -> None:
    # A task written in Python has no list of metrics: `half` is the mean of its lines, `sum` is not.
    before = [{"half": 0.5, "sum": 1.5}, {"half": 0.25, "sum": 2.5}]
    after = [{"half": 0.25, "sum": 0.5}, {"half": 0.25, "sum": 2.5}]
    results = ({"half,none": 0.375, "sum,none": 4.0}, {"half,none": 0.25, "sum,none": 3.0})
    found = analysed(tmp_path, "mine", "multiple_choice", {}, {"none": (before, after)}, results)
    assert list(changes(found)) == [("half", "number"), ("sum", "number"), ("sum", "aggregate")]
    assert numbers(changes(found)["sum", "aggregate"], "value_baseline", "value", "change") == [4.0, 3.0, -1.0]


def test_a_task_without_any_number_is_named_with_its_metrics(tmp_path: Path) -> None:
    lines = {"none": (each("words", [["a"]]), each("words", [["b"]]))}
    found = analysed(tmp_path, "wordy", "generate_until", {"words": ("join", True)}, lines, ({}, {}))
    (note,) = [issue for issue in found.issues if issue.kind == "no_metric"]
    assert note.message == (
        "w on wordy, filter none: no metric is a number, in lines or results, so none is compared; "
        "the results file names: words"
    )
    assert changes(found) == {}


def test_runs_of_predict_only_have_no_metric(tmp_path: Path) -> None:
    lines = {"none": (each("bypass", [999]), each("bypass", [999]))}
    results = ({"bypass,none": 999}, {"bypass,none": 999})
    found = analysed(tmp_path, "arc", "generate_until", {"bypass": ("bypass", True)}, lines, results)
    assert [issue.kind for issue in found.issues] == ["no_metric"]
    assert numbers(shown(found, "w"), "n", "metric", "metric_value", "changed_rate") == [1, pd.NA, pd.NA, 1.0]


SEEN: list[MetricComparison] = []
"""What the last analysis of `group_of_two` compared."""


def keep(comparison: MetricComparison) -> pd.DataFrame:
    SEEN[:] = [comparison]
    return pd.DataFrame({"n": []})


KEPT = ReportTable(Table(name="kept", doc="Nothing.", columns=(count("n", "Nothing."),)), (METRIC_COMPARISON,), keep)


def moved() -> list[tuple[str, str, int, list[float]]]:
    """Task, metric, lines and net moves of what the last analysis of `group_of_two` compared."""
    return [(entry.task, entry.metric, entry.n, entry.moved.low.net.tolist()) for entry in SEEN[0].moves]


def group_of_two(folder: Path, own: tuple[float, float]) -> Analysis:
    """mmlu of two tasks of one and three documents; `own` are the group's values in the results files."""
    values = {
        "mmlu_law": ([1.0], [0.0]),
        "mmlu_art": ([1.0, 1.0, 0.0], [1.0, 1.0, 1.0]),
    }
    for number, record in enumerate((evidence("dense", **DENSE), evidence("w"))):
        tasks = {}
        for name, sides in values.items():
            label = ("dense", "w")[number]
            made = [line(i, "multiple_choice", label, {"acc": v}, "none") for i, v in enumerate(sides[number])]
            tasks[name] = Task(made, metrics={"acc,none": sum(sides[number]) / len(made)})
        listed = [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}]
        path = write_run(
            folder / "runs",
            number + 1,
            tasks,
            record,
            configs={name: {"task": name, "output_type": "multiple_choice", "metric_list": listed} for name in tasks},
            higher_is_better={name: {"acc": True} for name in [*tasks, "mmlu", "mmlu_other"]},
            group_subtasks={"mmlu": ["mmlu_other"], "mmlu_other": ["mmlu_law", "mmlu_art"]},
        )
        content = json.loads(path.read_text())
        content["results"]["mmlu"] = {"acc,none": own[number], "acc_stderr,none": 0.1, "alias": "mmlu"}
        path.write_text(json.dumps(content))
    return analyze(folder / "runs", folder / "report", catalogue=[*CATALOGUE, KEPT])


def test_a_group_is_all_lines_of_its_tasks(tmp_path: Path) -> None:
    found = group_of_two(tmp_path, (0.75, 0.75))
    rows = found.tables["metric_changes"].set_index("task")
    # The groups in it have no value of their own here.
    assert rows.index.tolist() == ["mmlu_law", "mmlu_art", "mmlu"]
    group = rows.loc["mmlu"].to_dict()
    assert numbers(group, "metric", "metric_kind", "decides", "n", "n_clusters") == ["acc", "0/1", True, 4, 4]
    assert numbers(group, "value_baseline", "value", "n_gained", "n_lost") == [0.75, 0.75, 1, 1]
    # Beyond the range of a change: ttest_rel([0, 1, 1, 1], [1, 1, 1, 0]) has -1.3 to 1.3.
    assert numbers(group, "conf_low", "conf_high") == [-1, 1]
    # The group stands for its tasks, which are in the order of its own list.
    assert moved() == [("mmlu", "acc", 4, [0, 0, 1, -1])]


def test_a_group_whose_tasks_count_once_each_has_lm_evals_own_value(tmp_path: Path) -> None:
    # (1 + 2/3) / 2 and (0 + 1) / 2.
    found = group_of_two(tmp_path, (5 / 6, 0.5))
    assert moved() == [("mmlu_law", "acc", 1, [-1]), ("mmlu_art", "acc", 3, [0, 0, 1])]
    group = found.tables["metric_changes"].set_index("task").loc["mmlu"].to_dict()
    assert numbers(group, "metric_kind", "n", "change") == ["aggregate", None, pytest.approx(-1 / 3)]
    assert group["status"] == "the results files' own values: not the mean of all lines of the group's tasks"


def test_a_group_is_compared_with_all_its_tasks_or_not_at_all(tmp_path: Path) -> None:
    group_of_two(tmp_path, (0.75, 0.75))
    found = analyze(tmp_path / "runs", tmp_path / "report", tasks=["mmlu_art"])
    assert found.tables["metric_changes"]["task"].tolist() == ["mmlu_art"]
