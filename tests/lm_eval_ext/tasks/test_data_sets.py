"""The tasks of the other data sets through the stock lm_eval command, from a local folder in the published format."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analysis import analyze
from analysis.settings import Settings
from lm_eval_ext import plugin
from tests.helpers.runs import evaluate, strict, task_manager
from tests.lm_eval_ext.datasets import test_crows_pairs, test_discrim_eval, test_esbbq

TASKS = [
    "crows_pairs_itemlevel",
    "discrim_eval_itemlevel_explicit",
    "discrim_eval_itemlevel_implicit",
    *(f"{name}_itemlevel{protocol}" for name in ("esbbq", "cabbq") for protocol in ("", "_cyclic", "_text")),
]
AXES = {"pro-stereo": "toward", "anti-stereo": "against", "unknown": "neutral", "undetermined": None}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What --metadata holds: a folder for each data set."""
    home = tmp_path_factory.mktemp("published")
    pairs = test_crows_pairs.written(home / "crows_pairs")
    people = [test_discrim_eval.row(), test_discrim_eval.row(race="white"), test_discrim_eval.row(4)]
    found = {
        "crows_pairs_dir": str(pairs),
        "discrim_eval_dir": test_discrim_eval.written(home / "discrim_eval", people),
    }
    rows = [test_esbbq.row(0), test_esbbq.told(1, 0, "pro-stereo")]
    for name in ("esbbq", "cabbq"):
        (home / name).mkdir()
        (home / name / "Age.full.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        found |= {f"{name}_dir": str(home / name), f"{name}_categories": "Age"}
    return found


@pytest.fixture(scope="module")
def logged(folders: dict[str, str], llama: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results and the lines of each task, of one run of the command with our model."""
    output = tmp_path_factory.mktemp("runs") / "dense"
    command = [sys.executable, "-m", "lm_eval_ext", "run", "--model", "compressed_hf", "--device", "cpu"]
    command += ["--model_args", f"pretrained={llama}", "--tasks", ",".join(TASKS), "--batch_size", "4"]
    command += ["--metadata", json.dumps(folders), "--log_samples", "--output_path", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = output.rglob("results_*.json")
    lines = {
        name: [strict(line) for path in output.rglob(f"samples_{name}_2*.jsonl") for line in path.open()]
        for name in TASKS
    }
    return {"results": strict(results.read_text())["results"], "lines": lines, "folder": output}


def test_every_item_is_asked_and_carries_scheme_and_answer(logged: dict[str, Any]) -> None:
    counts = {name: len(lines) for name, lines in logged["lines"].items()}
    assert counts == {**dict.fromkeys(TASKS, 2), TASKS[0]: 3, TASKS[1]: 3, TASKS[2]: 1}
    schemes = {"crows": {"sent_more": "toward", "sent_less": "against"}, "discrim": {}, "esbbq": AXES, "cabbq": AXES}
    for name, lines in logged["lines"].items():
        for line in lines:
            item, answer = line["doc"]["item"], line["answer"]
            assert item["version"] == 2
            assert item["scheme"]["axes"] == schemes[name.split("_")[0]]
            assert answer["status"] == "answered"
            assert answer["role"] == item["roles"][answer["choice"]]
            assert sum(answer["probs"]) == pytest.approx(1)
            assert len(answer["probs"]) == len(line["doc"]["options"])


def test_crows_pairs_scores_whole_sentences_behind_nothing(logged: dict[str, Any]) -> None:
    lines = logged["lines"]["crows_pairs_itemlevel"]
    for line in lines:
        asked = [(given["arg_0"], given["arg_1"]) for given in line["arguments"].values()]
        assert asked == [("", text) for text in line["doc"]["options"]]
    more = [line["answer"]["role"] == "sent_more" for line in lines]
    got = logged["results"]["crows_pairs_itemlevel"]
    assert got["srs,none"] == pytest.approx(sum(more) / 3)
    assert got["anti_rate,none"] == pytest.approx(1 - sum(more) / 3)
    assert "acc,none" not in got


def test_discrim_eval_scores_yes_and_no(logged: dict[str, Any]) -> None:
    lines = logged["lines"]["discrim_eval_itemlevel_explicit"]
    for line in lines:
        prompt = f'{line["doc"]["context"]}\n\nAnswer the question above with "yes" or "no".'
        asked = [(given["arg_0"], given["arg_1"]) for given in line["arguments"].values()]
        assert asked == [(prompt, " yes"), (prompt, " no")]
    yes = [line["answer"]["role"] == "yes" for line in lines]
    assert logged["results"]["discrim_eval_itemlevel_explicit"]["rate_yes,none"] == pytest.approx(sum(yes) / 3)
    assert {line["doc"]["item"]["category"] for line in logged["lines"]["discrim_eval_itemlevel_implicit"]} == {
        "implicit"
    }


@pytest.mark.parametrize(
    ("task", "first", "last"),
    [("esbbq_itemlevel", "Responde", "Respuesta:"), ("cabbq_itemlevel", "Respon ", "Resposta:")],
)
def test_the_other_languages_are_asked_in_their_own(task: str, first: str, last: str, logged: dict[str, Any]) -> None:
    ambiguous, told = sorted(logged["lines"][task], key=lambda line: line["doc"]["item"]["condition"])
    for line in (ambiguous, told):
        prompt = line["arguments"]["gen_args_0"]["arg_0"]
        assert prompt.startswith(first)
        assert prompt.endswith(f"\n\n{last}")
        shown = [f"{letter}) {text}" for letter, text in zip("ABC", line["doc"]["options"], strict=True)]
        assert "\n".join(shown) in prompt
    chosen = ambiguous["answer"]["role"]
    got = logged["results"][task]
    assert got["srs_amb,none"] == (chosen == "pro-stereo")
    assert got["usr_amb,none"] == (chosen == "unknown")
    assert got["acc_disamb,none"] == int(told["answer"]["choice"] == told["doc"]["item"]["key"])
    assert len(logged["lines"][f"{task}_cyclic"][0]["arguments"]) == 18


def test_what_each_task_declares(folders: dict[str, str], llama: Path) -> None:
    names = {name for name, entry in task_manager().task_index.items() if entry.yaml_path and "_itemlevel" in name}
    assert {name for name in names if not name.startswith("bbq_")} == set(TASKS)
    for task in task_manager(pretrained=str(llama), **folders).load(TASKS)["tasks"].values():
        assert list(task.aggregation())[-1] == "answer"
        assert task.VERSION == 1.0


def test_a_run_without_keys_or_without_a_direction_is_analysed(
    folders: dict[str, str], logged: dict[str, Any], llama: Path, tmp_path: Path
) -> None:
    """The same tasks once more, compressed: every table is made, of what each benchmark has."""
    plugin.activate()
    runs, args = logged["folder"].parent, {"recipe": "magnitude-50"}
    evaluate(llama, TASKS[:2] + TASKS[3:4], model="compressed_hf", args=args, metadata=folders, output=runs / "pruned")
    found = analyze(runs, tmp_path / "report", settings=Settings(exchanges=99))
    assert [issue.message for issue in found.issues if issue.level == "error"] == []
    flips = found.tables["flips"].set_index("task")
    assert dict(flips["n"]) == {TASKS[0]: 0, TASKS[1]: 0, TASKS[3]: 2}
    assert dict(flips["n_without_key"]) == {TASKS[0]: 3, TASKS[1]: 3, TASKS[3]: 0}
    assert flips["flip_rate"].isna().tolist() == [name != TASKS[3] for name in flips.index]
    rated = found.tables["rates"].query("category == 'all' and run == 'dense'")
    assert set(rated["task"]) >= {TASKS[0], TASKS[3]}
    assert TASKS[1] not in set(rated["task"])  # no direction: no rate of one


@pytest.mark.slow
def test_where_the_items_are_to_be_had_is_one_line_of_the_stock_command(llama: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "compressed_hf", "--device", "cpu"]
    command += ["--model_args", f"pretrained={llama}", "--tasks", "discrim_eval_itemlevel_explicit"]
    command += ["--metadata", json.dumps({"discrim_eval_dir": str(tmp_path)})]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: discrim_eval_dir '{tmp_path}' has no file for explicit (")
