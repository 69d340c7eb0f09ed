"""Logs that lm-eval itself writes: a tiny random model and a rounded copy of it, four kinds of tasks."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import Analysis, analyze
from analysis.schema.items import ITEMS

pytestmark = pytest.mark.slow

QUESTIONS = [
    {"question": f"What is {a} plus {b}?", "choices": [f"{a + b}", f"{a + b + 1}", f"{a * b + 7}"], "answer": 0}
    for a in range(1, 5)
    for b in range(1, 4)
]
COMMON = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
metadata: {{version: 1.0}}
"""
TASKS = {
    "tiny_choice": """
output_type: multiple_choice
doc_to_text: "Q: {{question}}\\nA:"
doc_to_target: answer
doc_to_choice: choices
metric_list: [{metric: acc}, {metric: acc_norm}]
""",
    "tiny_text": """
output_type: generate_until
doc_to_text: "Q: {{question}}\\nA:"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 4}
metric_list: [{metric: exact_match}]
filter_list:
  - {name: strict-match, filter: [{function: regex, regex_pattern: "([0-9]+)"}, {function: take_first}]}
  - {name: flexible, filter: [{function: take_first}]}
""",
    "tiny_last": """
output_type: loglikelihood
doc_to_text: "Q: {{question}}\\nA:"
doc_to_target: " {{choices[answer]}}"
metric_list: [{metric: perplexity}, {metric: acc}]
""",
    "tiny_rolling": """
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{question}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
""",
    "tiny_all": "",
}
GROUP = """
group: tiny_all
task: [tiny_choice, tiny_last]
aggregate_metric_list: [{metric: acc}]
metadata: {version: 1.0}
"""


def rounded_copy(checkpoint: Path, folder: Path) -> Path:
    """The checkpoint with every matrix rounded to quarters: another model of the same tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_((parameter * 4).round() / 4)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(folder)
    return folder


def evaluate(model: Path, tasks: Path, output: Path) -> dict[str, Any]:
    """Run lm-eval as its command does, samples logged; returns its results."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    tracker = EvaluationTracker(output_path=str(output))
    results: dict[str, Any] = simple_evaluate(
        model="hf",
        model_args=f"pretrained={model},dtype=float32",
        tasks=["tiny_all", "tiny_text", "tiny_rolling"],
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        device="cpu",
        batch_size=8,
        bootstrap_iters=0,
        log_samples=True,
        evaluation_tracker=tracker,
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for name, lines in samples.items():
        tracker.save_results_samples(task_name=name, samples=lines)
    return results


@pytest.fixture(scope="module")
def compared(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Analysis, dict[str, Any], dict[str, Any]]:
    home = tmp_path_factory.mktemp("real")
    (home / "questions.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in QUESTIONS))
    (home / "tasks").mkdir()
    for name, text in TASKS.items():
        common = COMMON.format(name=name, data=home / "questions.jsonl")
        (home / "tasks" / f"{name}.yaml").write_text(GROUP if name == "tiny_all" else common + text)
    first = evaluate(tiny_checkpoint, home / "tasks", home / "runs")
    second = evaluate(rounded_copy(tiny_checkpoint, home / "rounded"), home / "tasks", home / "runs")
    # Two uncompressed runs of two models: the baseline has to be named.
    return analyze(home / "runs", home / "report", baseline=f"{tiny_checkpoint.name}/dense"), first, second


def test_nothing_is_at_fault_in_lm_evals_own_files(compared: tuple[Analysis, Any, Any]) -> None:
    found, _, _ = compared
    assert [issue.kind for issue in found.issues] == ["other_base_model"]
    assert found.pairing.refusals == []
    assert {pair.task for pair in found.pairing.pairs} == {"tiny_choice", "tiny_text", "tiny_last", "tiny_rolling"}


def test_accuracies_are_lm_evals(compared: tuple[Analysis, dict[str, Any], dict[str, Any]]) -> None:
    found, first, second = compared
    flips = found.tables["flips"].set_index(["task", "filter"])
    metrics = {"tiny_choice": "acc", "tiny_last": "acc", "tiny_text": "exact_match"}
    assert len(flips) == 4
    for (task, name), row in flips.iterrows():
        key = f"{metrics[task]},{name}"
        assert row["accuracy_baseline"] == pytest.approx(first["results"][task][key])
        assert row["accuracy"] == pytest.approx(second["results"][task][key])
        assert row["n"] == len(QUESTIONS)
    # The random model and its copy do differ, or the comparison above would show nothing.
    choice = flips.loc[("tiny_choice", "none")]
    assert choice["correct_to_wrong"] + choice["wrong_to_correct"] + choice["changed_same_correctness"] > 0


def test_choices_are_the_options_of_the_highest_score(compared: tuple[Analysis, Any, Any]) -> None:
    found, _, _ = compared
    items = ITEMS.conform(pd.read_parquet(found.output / "items.parquet"))
    chosen = items[items["task"] == "tiny_choice"]
    # The key is option 0 throughout, so a right answer is choice 0 and the reverse.
    assert ((chosen["choice"] == 0) == chosen["correct"]).all()
    assert (chosen["status"] == "answered").all()
    assert set(items["protocol"]) == {"multiple_choice", "loglikelihood", "generate_until"}
    assert len(items) == 2 * 4 * len(QUESTIONS)


def test_perplexities_are_lm_evals(compared: tuple[Analysis, dict[str, Any], dict[str, Any]]) -> None:
    found, first, second = compared
    gap = found.tables["evaluation_gap"].set_index(["perplexity_task", "perplexity_metric"])
    assert set(gap.index) == {
        ("tiny_rolling", "word_perplexity"), ("tiny_rolling", "byte_perplexity"), ("tiny_last", "perplexity"),
    }  # fmt: skip
    for (task, metric), row in gap.iterrows():
        before, after = (results["results"][task][f"{metric},none"] for results in (first, second))
        assert (row["perplexity_baseline"], row["perplexity"]) == (before, after)
        if math.isfinite(before) and math.isfinite(after):
            assert row["perplexity_pct_change"] == pytest.approx(100 * (after - before) / before)
