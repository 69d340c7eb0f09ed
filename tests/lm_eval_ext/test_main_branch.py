"""A checkout of lm_eval that is no release: our model and tasks run under it, and its files are read.

LM_EVAL_EXT_LM_EVAL names the checkout (`make test-lm-eval-main CHECKOUT=...`); without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analysis import Analysis, analyze
from tests.helpers import raw_logs
from tests.helpers.venvs import ROOT

CHECKOUT = os.environ.get("LM_EVAL_EXT_LM_EVAL")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHECKOUT is None, reason="no checkout of lm_eval is named (LM_EVAL_EXT_LM_EVAL)"),
]
LINE = {
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash",
    "target_hash",
}  # fmt: skip
"""Keys of a line of 0.4.13, beside one for each metric."""
RESULTS = {
    "results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "config", "date",
    "task_hashes", "model_name", "chat_template_sha", "system_instruction_sha", "transformers_version",
}  # fmt: skip
"""Keys of its results file that the reader, the pairing or the report use."""
PROBE = """
import json, lm_eval
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager
print(json.dumps([lm_eval.__file__, get_model("compressed_hf").__module__, get_model("hf").__name__,
    TaskManager(include_defaults=False).all_tasks]))
"""


def lm_eval(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """This interpreter with the checkout in front of the installed release."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(CHECKOUT), str(ROOT))), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_the_stock_command_knows_model_and_tasks(tmp_path: Path) -> None:
    done = lm_eval("-c", PROBE, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    where, model, stock, tasks = json.loads(done.stdout.splitlines()[-1])
    assert Path(where).is_relative_to(Path(str(CHECKOUT)).resolve())
    assert model == "lm_eval_ext.models.compressed_hf"
    assert stock == "HFLM"
    assert {"bbq_itemlevel_demo", "bbq_itemlevel", "bbq_itemlevel_text"} <= set(tasks)


@pytest.fixture(scope="module")
def runs(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("main_branch")
    (folder / "tasks").symlink_to(ROOT / "tests" / "data" / "lm_eval_logs" / "tasks")
    asked = "bbq_itemlevel_demo,bbq_itemlevel_cyclic_demo,ferry_choice,ferry_letter,ferry_text"
    for recipe in ("dense", "magnitude-50"):
        command = ["-m", "lm_eval", "--model", "compressed_hf", "--tasks", asked, "--include_path", "tasks"]
        command += ["--model_args", f"pretrained={tiny_checkpoint},recipe={recipe}", "--limit", "5"]
        done = lm_eval(*command, "--output_path", f"runs/{recipe}", "--log_samples", "--device", "cpu", cwd=folder)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder / "runs"


@pytest.fixture(scope="module")
def report(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    return analyze(runs, tmp_path_factory.mktemp("report") / "report")


def lines(runs: Path, recipe: str, task: str) -> raw_logs.Lines:
    (file,) = (runs / recipe).rglob(f"samples_{task}_2*.jsonl")
    return raw_logs.raw_lines(file)


def test_files_have_the_keys_that_are_read(runs: Path) -> None:
    (file,) = (runs / "dense").rglob("results_*.json")
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    assert set(found) >= RESULTS
    assert found["config"]["compression"]["label"] == "dense"
    assert {"acc,none", "acc_norm,none"} <= set(found["results"]["ferry_choice"])
    for task in ("ferry_choice", "ferry_letter", "ferry_text", "bbq_itemlevel_demo"):
        for line in (line for some in lines(runs, "dense", task).values() for line in some):
            assert set(line) - set(line["metrics"]) == LINE


def test_everything_is_compared(report: Analysis) -> None:
    assert [issue for issue in report.issues if issue.level != "note"] == []
    assert set(report.tables["flips"]["task"]) == {
        "bbq_itemlevel_demo", "bbq_itemlevel_cyclic_demo", "ferry_choice", "ferry_letter"
    }  # fmt: skip
    assert len(report.tables["role_transitions"]) > 0


def test_flips_are_those_of_the_lines(runs: Path, report: Analysis) -> None:
    flips = report.tables["flips"].set_index(["task", "filter"])
    for task, metric in (("ferry_choice", "acc"), ("ferry_letter", "exact_match"), ("bbq_itemlevel_demo", "acc")):
        before, after = (lines(runs, recipe, task) for recipe in ("dense", "magnitude-50"))
        for name in before:
            right = [raw_logs.by_document(run[name], lambda line, m=metric: line[m]) for run in (before, after)]
            columns = ["both_correct", "both_wrong", "correct_to_wrong", "wrong_to_correct"]
            assert flips.loc[(task, name), columns].tolist() == list(raw_logs.flips(*right))
