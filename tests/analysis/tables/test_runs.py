from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.compare.baselines import choose_baselines
from analysis.errors import UserError
from analysis.logs import ItemStore, Logs, read_logs
from analysis.schema.columns import TableError
from analysis.tables.runs import RUNS, runs_frame
from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, rolling_line, write_run


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ItemStore]:
    with ItemStore(tmp_path / "items.parquet") as opened:
        yield opened


def mc() -> Task:
    return Task([choice_line(0, 0)])


WHOLE = {"achieved_sparsity": 0.4998, "bits_per_weight": 32.0, "decoder_sparsity": 0.328}


def wiki(perplexity: float) -> Task:
    return Task(
        [rolling_line(0, -5 * math.log(perplexity))], "loglikelihood_rolling", {"word_perplexity,none": perplexity}
    )


def stock(name: str) -> dict[str, Any]:
    """Config of a stock run of another model."""
    return {"model_args": {"pretrained": name}}


def other_base(label: str, name: str, before: str, **changes: Any) -> dict[str, Any]:
    base = {"pretrained": name, "revision": None}
    return evidence(label, base=base, weights_hash_before=before, **changes)


def read(folder: Path, store: ItemStore) -> Logs:
    return read_logs(folder, store)


def baselines(folder: Path, store: ItemStore, named: str | None = None) -> dict[tuple[str, str], str]:
    return choose_baselines(read(folder, store).runs, named).by_task


def kinds(folder: Path, store: ItemStore, named: str | None = None) -> list[tuple[str, str]]:
    issues = choose_baselines(read(folder, store).runs, named).issues
    return [(issue.kind, issue.level) for issue in issues]


def test_every_column_of_the_runs_table(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    write_run(runs, 1, {"mc": mc(), "wt": wiki(10.0)}, config={"batch_size": "auto"})
    write_run(
        runs, 2, {"mc": mc(), "wt": wiki(float("inf"))}, evidence("wanda-50", totals=WHOLE), chat_template_sha="c"
    )
    logs = read(runs, store)
    dense, wanda = runs_frame(logs, choose_baselines(logs.runs)).to_dict("records")
    assert {name: value for name, value in wanda.items() if name != "weights_hash"} == {
        "run": "wanda-50",
        "is_baseline": False,
        "baseline": "dense",
        "model_type": "compressed_hf",
        "engine": "transformers",
        "engine_version": "5.17.0",
        "status": "proved",
        "doubts": wanda["doubts"],
        "quantization": wanda["quantization"],
        "kv_cache": wanda["kv_cache"],
        "parallel": wanda["parallel"],
        "batch_invariant": wanda["batch_invariant"],
        "threads": wanda["threads"],
        "base_by": "evidence",
        "base_model": "org/base",
        "base_hash": "aa" * 32,
        "method": "wanda",
        "recipe": "wanda-50",
        "variant": wanda["variant"],
        "sparsity": 0.5,
        "bits": wanda["bits"],
        "achieved_sparsity": 0.4998,
        "decoder_sparsity": 0.328,
        "bits_per_weight": 32.0,
        "decoder_bits_per_weight": wanda["decoder_bits_per_weight"],
        "calibration_source": "c4",
        "calibration_hash": "cc" * 32,
        "dtype": "float32",
        "softmax_dtype": "float32",
        "batch_size": "8",
        "chat_template_sha": "c",
        "system_instruction_sha": wanda["system_instruction_sha"],
        "limit": wanda["limit"],
        "date": "2026-01-02T03:04:05.000002",
        "tasks": "mc, wt",
        "lm_eval_version": "0.4.13",
        "transformers_version": "5.17.0",
        "perplexities": '{"wt/word_perplexity": "inf"}',
        "file": "results_2026-01-02T03-04-05.000002.json",
    }
    assert list(wanda) == RUNS.names
    # An older log's totals are over the targeted matrices alone.
    assert (wanda["variant"], wanda["decoder_bits_per_weight"]) == (None, None)
    assert (dense["run"], dense["is_baseline"], dense["method"], dense["batch_size"]) == ("dense", True, "none", "auto")
    assert json.loads(dense["perplexities"]) == {"wt/word_perplexity": 10.0}
    frame = runs_frame(logs, choose_baselines(logs.runs))
    assert frame.loc[0, ["baseline", "sparsity", "weights_hash"]].isna().all()
    with pytest.raises(TableError):
        RUNS.conform(frame.drop(columns="file"))


def test_the_baseline_is_found_task_by_task(tmp_path: Path, store: ItemStore) -> None:
    write_run(tmp_path / "runs", 1, {"a": mc()})
    write_run(tmp_path / "runs", 2, {"b": mc()})
    write_run(tmp_path / "runs", 3, {"a": mc(), "b": mc(), "c": mc()}, evidence("w"))
    found = choose_baselines(read(tmp_path / "runs", store).runs)
    assert found.by_task == {("w", "a"): "dense#1", ("w", "b"): "dense#2"}
    assert found.of("w", ["a", "b", "c"]) == "dense#1+dense#2"
    assert found.of("w", ["c"]) is None
    assert [(issue.kind, issue.level) for issue in found.issues] == [("task_without_baseline", "error")]
    assert "no baseline holds c" in found.issues[0].message


def test_two_candidates_for_a_task_are_both_named(tmp_path: Path, store: ItemStore) -> None:
    first = write_run(tmp_path / "runs" / "x", 1, {"a": mc()}, evidence("dense", **DENSE))
    second = write_run(tmp_path / "runs" / "y", 2, {"a": mc()}, evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 3, {"a": mc()}, evidence("w"))
    logs = read(tmp_path / "runs", store)
    with pytest.raises(UserError) as caught:
        choose_baselines(logs.runs)
    message = str(caught.value)
    assert all(part in message for part in ("dense#1", "dense#2", first.name, second.name, "--baseline 'dense#1'`"))
    assert choose_baselines(logs.runs, "dense#2").by_task == {("w", "a"): "dense#2", ("dense#1", "a"): "dense#2"}


def test_of_two_candidates_the_one_that_evidence_calls_dense_is_taken(tmp_path: Path, store: ItemStore) -> None:
    write_run(tmp_path / "runs", 1, {"a": mc()})
    write_run(tmp_path / "runs", 2, {"a": mc()}, evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 3, {"a": mc()}, evidence("w"))
    found = choose_baselines(read(tmp_path / "runs", store).runs)
    assert found.by_task == {("w", "a"): "dense#2"}
    assert [issue.kind for issue in found.issues] == ["lone_baseline", "baseline_chosen"]
    assert found.issues[0].message == (
        "dense#1 is compared with nothing: it repeats dense#2, and stands in the tables of noise (replicates)"
    )
    assert found.issues[1].message.startswith("w is compared with dense#2 rather than dense#1: its engine, evidence")


def test_two_uncompressed_runs_alone_are_not_compared(tmp_path: Path, store: ItemStore) -> None:
    write_run(tmp_path / "runs", 1, {"a": mc()})
    write_run(tmp_path / "runs", 2, {"a": mc()})
    assert kinds(tmp_path / "runs", store) == [("nothing_to_compare", "error")]


def test_base_models_are_told_apart_by_name(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    write_run(runs, 1, {"a": mc()})
    write_run(runs, 2, {"a": mc()}, config=stock("org/other"))
    write_run(runs, 3, {"a": mc()}, evidence("w"))
    write_run(runs, 4, {"a": mc()}, other_base("w", "org/other", "bb"))
    assert baselines(runs, store) == {("base/w", "a"): "base/dense", ("other/w", "a"): "other/dense"}


def test_hashes_decide_where_both_runs_have_them(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    write_run(runs, 1, {"a": mc()}, evidence("dense", **DENSE))
    write_run(runs, 2, {"a": mc()}, other_base("same", "/local/copy", "aa" * 32))
    write_run(runs, 3, {"a": mc()}, other_base("other", "org/base", "bb" * 32))
    found = choose_baselines(read(runs, store).runs)
    assert found.by_task == {("same", "a"): "dense"}
    (issue,) = found.issues
    assert issue.kind == "no_baseline"
    assert "other is not compared with anything: its weights before compression are not those" in issue.message


@pytest.mark.parametrize(
    ("dense_name", "dense_task", "message"),
    [
        (None, "a", "no run without compression"),
        ("org/x", "a", "no uncompressed run of org/base was found (there are runs of org/x)"),
        ("org/base", "b", "the uncompressed run holds none of its tasks"),
    ],
)
def test_a_run_without_a_baseline_says_why(
    tmp_path: Path, store: ItemStore, dense_name: str | None, dense_task: str, message: str
) -> None:
    write_run(tmp_path / "runs", 1, {"a": mc()}, evidence("w"))
    if dense_name:
        write_run(tmp_path / "runs", 2, {dense_task: mc()}, config=stock(dense_name))
    found = choose_baselines(read(tmp_path / "runs", store).runs)
    assert found.by_task == {}
    assert message in found.issues[-1].message


def test_a_named_baseline_may_be_compressed_and_leaves_other_models_alone(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    write_run(runs, 1, {"a": mc(), "b": mc()})
    write_run(runs, 2, {"a": mc()}, evidence("w"))
    write_run(runs, 3, {"a": mc(), "b": mc()}, evidence("x"))
    write_run(runs, 4, {"a": mc()}, config=stock("org/other"))
    write_run(runs, 5, {"a": mc()}, other_base("w", "org/other", "bb"))
    assert baselines(runs, store, "base/w") == {
        ("base/dense", "a"): "base/w",
        ("base/x", "a"): "base/w",
        ("other/w", "a"): "other/dense",
    }


def test_tasks_that_a_named_uncompressed_run_lacks_come_from_the_others(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    for number, tasks in enumerate([["a"], ["a", "b"]]):
        write_run(runs, number, {name: mc() for name in tasks})
    write_run(runs, 3, {"a": mc(), "b": mc()}, evidence("w"))
    found = baselines(runs, store, "dense#1")
    assert found == {("w", "a"): "dense#1", ("w", "b"): "dense#2", ("dense#2", "a"): "dense#1"}


def test_a_named_baseline_adopts_a_quantized_checkpoint_of_another_name(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    write_run(runs, 1, {"a": mc()})
    write_run(runs, 2, {"a": mc()}, config=stock("org/base-GPTQ"))
    logs = read(runs, store)
    assert choose_baselines(logs.runs).by_task == {}
    assert choose_baselines(logs.runs, "base/dense").by_task == {("base-GPTQ(unverified gptq)", "a"): "base/dense"}


def test_an_unknown_baseline_lists_the_labels(tmp_path: Path, store: ItemStore) -> None:
    write_run(tmp_path / "runs", 1, {"a": mc()})
    logs = read(tmp_path / "runs", store)
    with pytest.raises(UserError, match=r"unknown label of a run .* 'densse'\. Did you mean 'dense'\? Known: dense\."):
        choose_baselines(logs.runs, "densse")
