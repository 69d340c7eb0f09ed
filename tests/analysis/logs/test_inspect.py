"""Logs of Inspect: two runs of four questions, each asked twice, made by tests/helpers/inspect/make.py."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from analysis import Analysis, Settings, UserError, analyze
from analysis.logs import inspect_logs
from analysis.logs.find import find_runs
from analysis.logs.values import LogError

LOGS = Path(__file__).parents[2] / "helpers" / "inspect"
needs_reader = pytest.mark.skipif(find_spec("inspect_ai") is None, reason="inspect_ai is not installed")


def analysed(tmp_path: Path) -> Analysis:
    folder = tmp_path / "runs"
    folder.mkdir()
    for path in LOGS.glob("*.eval"):
        shutil.copy(path, folder)
    return analyze(folder, tmp_path / "report", baseline="dense/dense", settings=Settings(exchanges=99))


@needs_reader
def test_a_comparison_of_two_logs(tmp_path: Path) -> None:
    found = analysed(tmp_path)
    assert [issue.kind for issue in found.issues] == ["other_base_model"]
    # make.py: letters ABCA, ABC and no letter are right but for the last; AACB, ABC and none are wrong in two more.
    (flips,) = found.tables["flips"].to_dict("records")
    assert [flips[name] for name in ("task", "n_items", "n", "accuracy_baseline", "accuracy")] == [
        "everyday", 4, 8, 7 / 8, 5 / 8,
    ]  # fmt: skip
    assert (flips["correct_to_wrong"], flips["wrong_to_correct"]) == (2, 0)
    rows = found.items[found.items["run"] == "dense/dense"].set_index(["item_id", "seed"])
    assert rows["choice"].fillna(-1).tolist() == [0, 0, 1, 1, 2, 2, 0, -1]
    assert rows.loc[("everyday/q3", 2), ["status", "text", "correct"]].tolist() == ["unparsed", "none of these", False]
    assert found.documents["question"].tolist()[0] == "Which of these can be poured?"


@needs_reader
@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 half an archive"])
def test_a_log_that_inspect_cannot_read(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.eval").write_bytes(content)
    with pytest.raises(LogError, match="inspect_ai can't read it"):
        inspect_logs.inspect_results(tmp_path / "x.eval")


def test_without_the_reader_only_such_a_file_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm_eval_ext.errors.find_spec", lambda name: None)
    (tmp_path / "results_2026-01-02T03-04-05.json").touch()
    assert len(find_runs(tmp_path)[0]) == 1
    shutil.copy(LOGS / "dense.eval", tmp_path)
    with pytest.raises(UserError, match=r"needs inspect_ai.*pip install 'lm-eval-ext\[inspect\]'"):
        find_runs(tmp_path)


def sample(**changes: Any) -> SimpleNamespace:
    """A sample as inspect_ai's reader gives it, as far as it is looked at."""
    fields: dict[str, Any] = {
        "id": "a", "epoch": 1, "input": "Which?", "choices": ["x", "y"], "target": "B", "error": None,
        "messages": [SimpleNamespace(role="user", text="Which? A) x B) y")],
        "output": SimpleNamespace(completion="ANSWER: B"),
        "scores": {"choice": SimpleNamespace(value="C", answer="B")},
    }  # fmt: skip
    return SimpleNamespace(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"choices": None}, "no options"),
        ({"target": ["A", "B"]}, "not one right option"),
        ({"target": "yes"}, "not one right option"),
        ({"error": "the sandbox failed"}, "not scored"),
        ({"scores": None}, "not scored"),
        ({"scores": {"choice": SimpleNamespace(value="I", answer="B")}}, "answer 'B' scored 'I'"),
        ({"scores": {"choice": SimpleNamespace(value="C", answer="Z")}}, "answer 'Z' scored 'C'"),
    ],
)
def test_a_sample_that_is_no_answer_is_counted_and_left_out(
    changes: dict[str, Any], seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analysis.logs.results import TaskLog
    from analysis.logs.samples import read_file

    log = SimpleNamespace(
        samples=[sample(), sample(id="b", **changes)],
        eval=SimpleNamespace(task="t", model_generate_config=SimpleNamespace(model_dump=lambda **how: {})),
    )
    reader = ModuleType("inspect_ai.log")
    vars(reader)["read_eval_log"] = lambda path, header_only: log
    monkeypatch.setitem(sys.modules, "inspect_ai", ModuleType("inspect_ai"))
    monkeypatch.setitem(sys.modules, "inspect_ai.log", reader)
    monkeypatch.setattr(inspect_logs, "require_reader", lambda: None)
    about = TaskLog(
        name="t", output_type="generate_until", version=None, n_shot=None, n_effective=2, task_hash=None,
        perplexities={}, samples=None,
    )  # fmt: skip
    found = read_file(tmp_path / "x.eval", about)
    assert found.table["item_id"].to_pylist() == ["t/a"]
    assert found.table["correct"].to_pylist() == [True]
    (issue,) = [issue for issue in found.issues if issue.kind == "bad_line"]
    assert seen in issue.message
