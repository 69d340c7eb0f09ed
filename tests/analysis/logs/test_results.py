from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.logs.find import find_runs
from analysis.logs.results import RunLog, read_results
from tests.helpers.runlogs import Task, choice_line, evidence, rolling_line, write_run


def read(folder: Path, *patterns: str) -> tuple[RunLog, list[tuple[str, str]]]:
    (files,), _ = find_runs(folder)
    run, issues = read_results(files, folder, patterns)
    assert run is not None
    return run, [(issue.kind, issue.level) for issue in issues]


def tasks(**changes: Any) -> dict[str, Task]:
    return {"mc": Task([choice_line(0, 0)], **changes)}


def test_every_fact_of_a_compressed_run(tmp_path: Path) -> None:
    write_run(
        tmp_path,
        7,
        tasks(shots=5),
        evidence("wanda-50", bits="4", base={"pretrained": "org/base/", "revision": "v2"}),
        config={
            "batch_size": "auto:4",
            "limit": 0.5,
            "model_args": {"gguf_file": "a.gguf", "recipe": "my.yaml"},
            "encoding": {"adds": True, "rolling_bos": "once"},
        },
        chat_template_sha="ct",
        system_instruction_sha="si",
        fewshot_as_multiturn="True",
    )
    run, issues = read(tmp_path)
    assert issues == []
    assert run.facts == {
        "label": "wanda-50",
        "evidence_version": 1,
        "model_type": "compressed_hf",
        "pretrained": "org/base/",
        "pretrained_args": None,
        "revision": "v2",
        "revision_args": "main",
        "model_name": "org/base",
        "base_hash": "aa" * 32,
        "method": "wanda",
        "recipe_values": {"name": "wanda-50", "version": 1},
        "recipe_args": "my.yaml",
        "method_args": None,
        "calibration_values": {"source": "c4", "samples": 128, "token_hash": "cc" * 32},
        "sparsity": 0.5,
        "bits": 4.0,
        "achieved_sparsity": 0.4998,
        "bits_per_weight": 32.0,
        "decoder_sparsity": None,
        "decoder_bits_per_weight": None,
        # printf 'wanda-50' | sha256sum
        "weights_hash": "b45a571cd58f0ab5ab37fd71b3f0eedb5b0643993e99208a35351f23c10c58b4",
        "calibration_source": "c4",
        "calibration_hash": "cc" * 32,
        "dtype": "float32",
        "dtype_args": "torch.float32",
        "softmax_dtype": "float32",
        "softmax_dtype_args": None,
        "batch_size": "auto:4",
        "max_length": 512,
        "special_tokens": True,
        "rolling_bos": "once",
        "chat_template_sha": "ct",
        "system_instruction_sha": "si",
        "fewshot_as_multiturn": True,
        "limit": 0.5,
        "lm_eval_version": "0.4.13",
        "transformers_version": "5.17.0",
        "attachments": ["a.gguf"],
        "arguments": {"gguf_file": "a.gguf", "recipe": "my.yaml"},
        "system_instruction": None,
        "use_cache": None,
        "status": None,
        "doubts": (),
        "origin_base": None,
        "origin_by": None,
        "kv": {},
        "engine_values": {},
        "serves": None,
    }
    assert run.base_model == "org/base+a.gguf@v2"
    assert run.date == "2026-01-02T03:04:05.000007"
    task = run.tasks["mc"]
    assert (task.version, task.n_shot, task.n_effective, task.output_type) == ("1.0", 5, 1, "multiple_choice")


def test_a_stock_run_is_the_dense_run_of_its_model(tmp_path: Path) -> None:
    arguments = 'pretrained=org/base,dtype=bfloat16,max_memory={"0": "1GB", "1": "2GB"},peft=me/lora'
    write_run(tmp_path, 1, tasks(), config={"model_args": arguments, "model_dtype": "torch.bfloat16"})
    run, _ = read(tmp_path)
    assert (run.label, run.is_dense, run.base_model) == ("dense", True, "org/base+me/lora")
    assert (run.dtype, run.softmax_dtype, run.scoring_dtype) == ("bfloat16", "default", "bfloat16")


def test_scoring_dtype_of_a_stock_run_from_its_arguments(tmp_path: Path) -> None:
    write_run(tmp_path, 1, tasks(), config={"model_args": {"pretrained": "m", "softmax_dtype": "float32"}})
    run, _ = read(tmp_path)
    assert (run.softmax_dtype, run.scoring_dtype) == ("float32", "float32")


def test_perplexities_of_any_task_but_not_their_standard_errors(tmp_path: Path) -> None:
    metrics = {
        "word_perplexity,none": "12.5",
        "word_perplexity_stderr,none": "N/A",
        "byte_perplexity,none": float("inf"),
        "bits_per_byte,none": 1.0,
        "perplexity,strict": 3,
        "token_perplexity,none": float("nan"),
    }
    write_run(tmp_path, 1, {"wt": Task([rolling_line(0, -1.0)], "loglikelihood_rolling", metrics, log=False)})
    run, issues = read(tmp_path)
    assert run.tasks["wt"].perplexities == {
        "word_perplexity": 12.5, "byte_perplexity": float("inf"), "perplexity,strict": 3.0,
    }  # fmt: skip
    assert issues == []  # a rolling task has no items that could be missing


def test_results_without_samples_are_named(tmp_path: Path) -> None:
    write_run(tmp_path, 1, tasks(log=False))
    (files,), _ = find_runs(tmp_path)
    _, (issue,) = read_results(files, tmp_path)
    assert (issue.kind, issue.file) == ("no_samples", files.results.name)
    assert "--log_samples" in issue.message
    assert "mc" in issue.message


def test_a_samples_file_of_a_task_that_the_results_do_not_know(tmp_path: Path) -> None:
    path = write_run(tmp_path, 1, tasks())
    (tmp_path / path.name.replace("results", "samples_other").replace(".json", ".jsonl")).touch()
    run, issues = read(tmp_path)
    assert (list(run.tasks), issues) == (["mc"], [("unknown_task", "warning")])


def test_patterns_choose_tasks(tmp_path: Path) -> None:
    write_run(tmp_path, 1, {name: Task([choice_line(0, 0)]) for name in ("bbq_age", "bbq_ses", "arc")})
    assert list(read(tmp_path, "bbq*", "nothing")[0].tasks) == ["bbq_age", "bbq_ses"]
    assert list(read(tmp_path)[0].tasks) == ["bbq_age", "bbq_ses", "arc"]


@pytest.mark.parametrize(
    ("version", "noted"), [(1, []), (2, []), (3, []), (4, []), (5, [("evidence_version", "note")])]
)
def test_newer_evidence_is_noted(version: int, noted: list[tuple[str, str]], tmp_path: Path) -> None:
    write_run(tmp_path, 1, tasks(), evidence("x", schema_version=version))
    assert read(tmp_path)[1] == noted


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "Expecting property name"),
        ("[]", "results: missing"),
        ('{"results": {"t": {}}}', "config.model: missing"),
        ('{"results": {}, "config": {"model": "hf"}}', "configs: missing"),
        (json.dumps({"results": {}, "configs": {}, "config": {"model": "hf", "compression": {"sparsity": "half"}}}),
         "config.compression.sparsity: expected a number, got 'half'"),
    ],
)  # fmt: skip
def test_an_unreadable_results_file_is_left_out_by_name(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "results_2026-01-02T03-04-05.json").write_text(content)
    (files,), _ = find_runs(tmp_path)
    run, (issue,) = read_results(files, tmp_path)
    assert run is None
    assert (issue.kind, issue.file) == ("unreadable", "results_2026-01-02T03-04-05.json")
    assert message in issue.message
