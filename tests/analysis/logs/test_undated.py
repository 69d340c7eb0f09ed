"""The layout of lm_eval 0.4.0 to 0.4.2, made as `lm_eval/__main__.py` of these releases makes it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from analysis.errors import UserError
from analysis.logs import ItemStore, Logs, read_logs
from tests.helpers.runlogs import choice_line

MODEL = "pretrained=org/base,dtype=float32"


def old_line(doc_id: int, choice: int) -> dict[str, Any]:
    """A line without what later releases added: filter, hashes, named arguments."""
    line = choice_line(doc_id, choice)
    for name in ("filter", "doc_hash", "prompt_hash", "target_hash", "metrics"):
        del line[name]
    line["arguments"] = [list(arguments.values()) for arguments in line["arguments"].values()]
    return line


def write_old(
    folder: Path, tasks: list[str], *, arguments: str = MODEL, name: str = "results.json", **top: Any
) -> Path:
    """One run as lm_eval 0.4.0 to 0.4.2 writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "results": {task: {"acc,none": 1.0, "acc_stderr,none": 0.0, "alias": task} for task in tasks},
        "configs": {task: {"task": task, "output_type": "multiple_choice"} for task in tasks},
        "versions": dict.fromkeys(tasks, "Yaml"),
        "n-shot": dict.fromkeys(tasks, 0),
        "config": {"model": "hf", "model_args": arguments, "batch_size": "8", "batch_sizes": [], "device": None,
                   "use_cache": None, "limit": None, "bootstrap_iters": 100000, "gen_kwargs": None},
        "git_hash": None,
    } | top  # fmt: skip
    path = folder / name
    path.write_text(json.dumps(content, indent=2))
    for task in tasks:
        lines = [old_line(i, 0) for i in range(3)]
        (folder / f"{re.sub('/|=', '__', arguments)}_{task}.jsonl").write_text(json.dumps(lines, indent=2))
    return path


def read(folder: Path) -> Logs:
    with ItemStore(folder.parent / f"{folder.name}.parquet") as store:
        return read_logs(folder, store)


def paired(logs: Logs) -> list[tuple[str, dict[str, str | None]]]:
    return [
        (run.file, {name: task.samples and task.samples.name for name, task in run.tasks.items()})
        for run in logs.runs.values()
    ]


def kinds(logs: Logs) -> list[tuple[str, str]]:
    """File and kind of what was found wrong with the files, not with what is in them."""
    about = ("samples_without_results", "ambiguous_samples", "duplicate_file", "near_miss", "no_samples", "unreadable")
    return [(issue.file, issue.kind) for issue in logs.issues if issue.kind in about]


def test_samples_are_found_by_the_models_arguments(tmp_path: Path) -> None:
    write_old(tmp_path / "runs" / "a", ["arc", "a_b"])
    write_old(tmp_path / "runs" / "b", ["arc"], arguments="", name="mine.json", date=1713182400.5)
    logs = read(tmp_path / "runs")
    assert kinds(logs) == []
    first, second = logs.runs.values()
    assert paired(logs) == [
        # date -u -d @1713182400: Mon Apr 15 12:00:00 2024, long before this test writes the other file.
        ("b/mine.json", {"arc": "_arc.jsonl"}),
        ("a/results.json", {"arc": "pretrained__org__base,dtype__float32_arc.jsonl",
                            "a_b": "pretrained__org__base,dtype__float32_a_b.jsonl"}),
    ]  # fmt: skip
    assert first.date == "2024-04-15T12:00:00.500000"
    assert second.base_model == "org/base"
    assert [issue.file for issue in logs.issues if issue.kind == "no_date"] == ["a/results.json"]


def test_without_any_date_the_files_own_time_orders_runs(tmp_path: Path) -> None:
    for name, time in (("a", 2_000_000_000), ("b", 1_000_000_000)):
        path = write_old(tmp_path / "runs" / name, ["arc"], arguments=f"pretrained={name}", date=name)
        os.utime(path, (time, time))
    logs = read(tmp_path / "runs")
    # date -u -d @1000000000
    assert [(run.file, run.date) for run in logs.runs.values()] == [
        ("b/results.json", "2001-09-09T01:46:40"), ("a/results.json", "2033-05-18T03:33:20"),
    ]  # fmt: skip


def test_samples_of_an_overwritten_results_file_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    write_old(folder, ["arc"], arguments="pretrained=first")
    write_old(folder, ["arc"], arguments="pretrained=second")
    logs = read(folder)
    assert paired(logs) == [("results.json", {"arc": "pretrained__second_arc.jsonl"})]
    assert kinds(logs) == [("pretrained__first_arc.jsonl", "samples_without_results")]
    assert "0.4.2" in next(issue.message for issue in logs.issues if issue.kind == "samples_without_results")


def test_samples_that_two_results_files_name_belong_to_neither(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    write_old(folder, ["arc", "mmlu"], name="one.json")
    write_old(folder, ["arc"], name="two.json")
    logs = read(folder)
    assert [list(tasks.items()) for _, tasks in paired(logs)] == [
        [("arc", None), ("mmlu", "pretrained__org__base,dtype__float32_mmlu.jsonl")], [("arc", None)],
    ]  # fmt: skip
    assert ("pretrained__org__base,dtype__float32_arc.jsonl", "ambiguous_samples") in kinds(logs)


def test_a_packed_copy_beside_the_plain_file(tmp_path: Path) -> None:
    import gzip

    folder = tmp_path / "runs"
    write_old(folder, ["arc", "mmlu"])
    for task, keep in (("arc", True), ("mmlu", False)):
        path = folder / f"pretrained__org__base,dtype__float32_{task}.jsonl"
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        if not keep:
            path.unlink()
    logs = read(folder)
    ((_, found),) = paired(logs)
    assert found == {"arc": None, "mmlu": "pretrained__org__base,dtype__float32_mmlu.jsonl.gz"}
    assert [kind for _, kind in kinds(logs)].count("duplicate_file") == 2


def test_renamed_samples_of_any_release_are_named(tmp_path: Path) -> None:
    write_old(tmp_path / "runs", ["arc"])
    (tmp_path / "runs" / "mine.jsonl").write_text(json.dumps(choice_line(0, 0)) + "\n")
    (tmp_path / "runs" / "x").mkdir()
    (tmp_path / "runs" / "x" / "other.jsonl").write_text(json.dumps(choice_line(0, 0)) + "\n")
    assert sorted(kinds(read(tmp_path / "runs"))) == [
        ("mine.jsonl", "samples_without_results"), ("x/other.jsonl", "samples_without_results"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["results (1).json", "results_final.json", "wanda.json", "wanda.jsonl"])
def test_a_results_file_may_have_any_name(name: str, tmp_path: Path) -> None:
    write_old(tmp_path / "runs", ["arc"], name=name)
    logs = read(tmp_path / "runs")
    assert (len(logs.runs), kinds(logs)) == (1, [])


@pytest.mark.parametrize("name", ["results.json", "gpt2.json", "arc_easy_write_out_info.json"])
def test_files_of_lm_eval_0_3_are_named(tmp_path: Path, name: str) -> None:
    totals = {"results": {"arc_easy": {"acc": 0.5, "acc_stderr": 0.1}}, "versions": {"arc_easy": 0}, "config": {}}
    answers = [{"doc_id": 0, "prompt_0": "Q", "logit_0": -1.0, "truth": 0, "acc": "1.0"}]
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / name).write_text(json.dumps(answers if "write_out" in name else totals))
    with pytest.raises(UserError, match=r"of lm_eval 0\.3 or older, which logs no answers .* Run the model again"):
        read(runs)
    write_old(runs / "new", ["t"])
    assert ("near_miss", name) in [(issue.kind, issue.file) for issue in read(runs).issues]
