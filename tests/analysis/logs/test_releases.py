"""Real logs of every lm_eval release, and of 0.5's first preview: two tiny models and three tasks.

`python -m tools.release_logs` keeps them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pandas as pd
import pytest
from packaging.version import Version

from analysis import Analysis, analyze
from tests.helpers import raw_logs
from tests.helpers.shared import ROOT

KEPT = ROOT / "tests" / "data" / "lm_eval_logs"
RELEASES = sorted((path.stem for path in KEPT.glob("*.zip")), key=Version)
TASKS = {"ferry_choice": ["none"], "ferry_letter": ["first", "last"], "ferry_text": ["none"]}


@pytest.fixture(scope="module", params=RELEASES)
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("release") / "runs"
    with ZipFile(KEPT / f"{request.param}.zip") as archive:
        archive.extractall(folder)
    return request.param, folder


@pytest.fixture(scope="module")
def report(release: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    return analyze(release[1], tmp_path_factory.mktemp("report") / "report", baseline="base/dense")


def lines(folder: Path, model: str) -> dict[str, raw_logs.Lines]:
    """The lines of a model by task and filter."""
    (found,) = ([file for file in folder.rglob(f"*{task}*.jsonl") if model in file.parts] for task in ["ferry_text"])
    assert len(found) == 1
    return {
        task: raw_logs.raw_lines(found[0].with_name(found[0].name.replace("ferry_text", task)), filters)
        for task, filters in TASKS.items()
    }


def results(folder: Path, model: str) -> dict[str, Any]:
    (file,) = (path for path in folder.rglob("results*.json") if model in path.parts)
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))["results"]
    return found


def test_every_release_has_its_logs() -> None:
    patches = {"0.4.9": ["0.4.9.1", "0.4.9.2"]}
    known = [one for n in range(14) for one in (f"0.4.{n}", *patches.get(f"0.4.{n}", []))]
    assert [*known, "0.5.0.dev2"] == RELEASES


def test_nothing_is_left_out(report: Analysis) -> None:
    assert [issue for issue in report.issues if issue.level != "note"] == []
    assert len(report.pairing.refusals) == 0


@pytest.mark.parametrize("model", ["base", "rounded"])
def test_choices_and_texts_are_those_of_the_lines(release: tuple[str, Path], report: Analysis, model: str) -> None:
    items = pd.read_parquet(report.output / "items.parquet")
    items = items[items["run"] == f"{model}/dense"]
    own = lines(release[1], model)
    choices = items[items["task"] == "ferry_choice"].set_index("doc_id")
    assert choices["choice"].to_dict() == raw_logs.by_document(own["ferry_choice"]["none"], raw_logs.best)
    assert set(choices["metric"]) == {"acc"}
    for name in TASKS["ferry_letter"]:
        texts = items[(items["task"] == "ferry_letter") & (items["filter"] == name)].set_index("doc_id")
        told = own["ferry_letter"][name]
        assert texts["text"].to_dict() == raw_logs.by_document(told, raw_logs.words)
        assert texts["correct"].to_dict() == raw_logs.by_document(told, lambda line: line["exact_match"] == 1)
    assert len(items) == 5 + 2 * 4


def test_flips_are_those_of_the_lines(release: tuple[str, Path], report: Analysis) -> None:
    flips = report.tables["flips"].set_index(["task", "filter"])
    before, after = (lines(release[1], model) for model in ("base", "rounded"))
    assert set(flips.index) == {("ferry_choice", "none"), ("ferry_letter", "first"), ("ferry_letter", "last")}
    for (task, name), row in flips.iterrows():
        metric = "acc" if task == "ferry_choice" else "exact_match"
        right = [raw_logs.by_document(run[task][name], lambda line, m=metric: line[m]) for run in (before, after)]
        assert raw_logs.flips(*right) == (
            row["both_correct"], row["both_wrong"], row["correct_to_wrong"], row["wrong_to_correct"]
        )  # fmt: skip
        assert row["accuracy"] == pytest.approx(results(release[1], "rounded")[task][f"{metric},{name}"], abs=1e-12)
        assert row["accuracy_baseline"] == pytest.approx(results(release[1], "base")[task][f"{metric},{name}"])
    assert flips["flip_rate"].to_dict() == pytest.approx(
        {("ferry_choice", "none"): 1 / 5, ("ferry_letter", "first"): 3 / 4, ("ferry_letter", "last"): 2 / 4}
    )


def test_perplexities_are_those_of_the_lines(release: tuple[str, Path], report: Analysis) -> None:
    before, after = (
        raw_logs.word_perplexity(lines(release[1], model)["ferry_text"]["none"]) for model in ("base", "rounded")
    )
    assert report.perplexity_metric == "ferry_text/word_perplexity"
    shown = report.headline.drop_duplicates("run").set_index("run")
    assert shown["perplexity"].to_dict() == pytest.approx({"base/dense": before, "rounded/dense": after})
    assert shown.loc["rounded/dense", "perplexity_pct_change"] == pytest.approx(100 * (after / before - 1))
    assert results(release[1], "base")["ferry_text"]["word_perplexity,none"] == pytest.approx(before)


def test_every_release_says_the_same(report: Analysis) -> None:
    # The same models and items: what differs between releases is the form of their files.
    flips = report.tables["flips"].set_index(["task", "filter"])
    counts = flips[["both_correct", "both_wrong", "correct_to_wrong", "wrong_to_correct"]]
    assert counts.to_numpy().tolist() == [[2, 2, 1, 0], [0, 1, 2, 1], [0, 2, 1, 1]]


NOT_LOGGED = ["items", "window"]
"""What 0.4.0 to 0.4.2 do not tell; 0.4.0 gives "Yaml" for the task's version besides."""


@pytest.mark.parametrize(
    ("before", "differ"), [("0.4.0", [*NOT_LOGGED, "task_version"]), ("0.4.2", NOT_LOGGED), ("0.4.3", [])]
)
def test_an_old_log_is_compared_with_one_of_today(before: str, differ: list[str], tmp_path: Path) -> None:
    for name, model in ((before, "base"), ("0.4.13", "rounded")):
        with ZipFile(KEPT / f"{name}.zip") as archive:
            archive.extractall(tmp_path / "runs", [entry for entry in archive.namelist() if entry.startswith(model)])
    report = analyze(tmp_path / "runs", tmp_path / "report", baseline="base/dense", allow=differ)
    assert len(report.pairing.refusals) == 0
    assert {name for name in differ if any(f"{name} (" in issue.message for issue in report.issues)} == set(differ)
    counts = report.tables["flips"][["both_correct", "both_wrong", "correct_to_wrong", "wrong_to_correct"]]
    assert counts.to_numpy().tolist() == [[2, 2, 1, 0], [0, 1, 2, 1], [0, 2, 1, 1]]
