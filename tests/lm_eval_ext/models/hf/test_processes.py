"""Several processes: the logs of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lm_eval_ext import plugin
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.hf.processes import in_turn
from tests.helpers.runs import evaluate
from tests.helpers.shared import ROOT
from tests.helpers.tiny import write_tiny

TASKS = ("bbq_itemlevel_demo", "bbq_itemlevel_text_demo", "bbq_itemlevel_sampled_demo", "text_perplexity")
LIMIT = 5  # of which two processes get three and two


def launch(model: Path, output: Path) -> None:
    """Run lm_eval's command in two processes on the CPU."""
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    line += ["-m", "lm_eval", "run", "--model", "compressed_hf", "--tasks", ",".join(TASKS)]
    line += ["--model_args", f"pretrained={model},dtype=float32", "--device", "cpu", "--limit", str(LIMIT)]
    line += ["--batch_size", "auto", "--output_path", str(output), "--log_samples"]
    settings = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(line, capture_output=True, text=True, env=os.environ | settings, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("on rank 1...") == len(TASKS)


def read(output: Path) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Results, and the logged lines by task."""
    (results,) = output.rglob("results_*.json")  # written once
    lines = {}
    for task in TASKS:
        (path,) = output.rglob(f"samples_{task}_2*.jsonl")
        lines[task] = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    return json.loads(results.read_text(encoding="utf-8")), lines


def same(ours: Any, other: Any) -> None:
    """Equal, numbers up to rounding; lm_eval logs log-likelihoods as texts."""
    if isinstance(ours, dict):
        assert list(ours) == list(other)
        for key in ours.keys() - {"distributions"}:
            same(ours[key], other[key])
        if "distributions" in ours:
            kept, others = ours["distributions"], other["distributions"]
            assert all(kept[name] == others[name] for name in ("version", "k", "vocabulary", "read", "windows"))
            # Which entries are kept hangs on chances, whose last bits may differ.
            assert kept["entries"] == pytest.approx(others["entries"], rel=0.01)
    elif isinstance(ours, list):
        assert len(ours) == len(other)
        for one, two in zip(ours, other, strict=True):
            same(one, two)
    elif isinstance(ours, str) and ours != other:
        same(json.loads(ours), json.loads(other))  # a number, or the letters' log-probabilities as JSON
    elif isinstance(ours, float):
        assert ours == pytest.approx(other, abs=2e-4, rel=1e-5)
    else:
        assert ours == other


@pytest.mark.slow
def test_two_processes_log_what_one_does(tmp_path: Path) -> None:
    model = write_tiny("llama", tmp_path / "model", max_position_embeddings=2048)
    plugin.activate()
    evaluate(model, list(TASKS), model="compressed_hf", limit=LIMIT, batch_size=4, output=tmp_path / "one")
    launch(model, tmp_path / "two")
    one, alone = read(tmp_path / "one")
    two, shared = read(tmp_path / "two")
    for task in TASKS:
        assert [line["doc_id"] for line in shared[task]] == list(range(LIMIT))
        same(shared[task], alone[task])
    same(two["results"], one["results"])
    assert two["task_hashes"] == one["task_hashes"]
    assert two["n-samples"] == one["n-samples"]
    draws = [[line["resps"][0] for line in logged["bbq_itemlevel_sampled_demo"]] for logged in (alone, shared)]
    assert draws[0] == draws[1]
    assert all(len(texts) == 5 for texts in draws[0])


def test_no_process_is_given_requests_to_keep_step(tiny_checkpoint: Path) -> None:
    lm = CompressedHFLM(pretrained=str(tiny_checkpoint), device="cpu")
    count = torch.tensor(7)
    assert lm.all_gather(count) is count
    lm._world_size = 3
    # lm_eval pads by the largest less one's own.
    assert lm.all_gather(count).tolist() == [7, 7, 7]
    assert lm.all_gather(torch.tensor([2])).tolist() == [2, 2, 2]


def test_samples_and_metrics_in_the_order_of_the_documents() -> None:
    def sample(doc: int, name: str) -> dict[str, Any]:
        return {"doc_id": doc, "filter": name}

    samples = [
        {"a": [sample(doc, name) for name in ("strict", "loose") for doc in docs], "b": [sample(docs[0], "none")]}
        for docs in ((0, 3), (1, 4), (2,))
    ]
    merged = in_turn(samples)
    assert [(s["filter"], s["doc_id"]) for s in merged["a"]] == [
        *(("strict", doc) for doc in range(5)),
        *(("loose", doc) for doc in range(5)),
    ]
    assert [s["doc_id"] for s in merged["b"]] == [0, 1, 2]
    metrics = [{"a": {("acc", "strict"): values}} for values in ([0.0, 0.3], [0.1, 0.4], [0.2])]
    assert in_turn(metrics) == {"a": {("acc", "strict"): [0.0, 0.1, 0.2, 0.3, 0.4]}}
