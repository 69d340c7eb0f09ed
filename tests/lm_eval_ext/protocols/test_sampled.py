"""The sampled BBQ tasks through lm_eval itself: what is sent, drawn, scored and logged, and analysed afterwards."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from analysis import analyze
from lm_eval_ext import plugin
from lm_eval_ext.datasets.bbq.items import BBQ_SCHEME
from lm_eval_ext.datasets.bbq.rows import CATEGORIES
from lm_eval_ext.errors import UserError
from lm_eval_ext.protocols.answers import sampled_answer
from lm_eval_ext.protocols.metrics import sampled_metrics
from lm_eval_ext.protocols.sampled import _with_settings
from tests.helpers.bbq_raw import raw_row, write_rows
from tests.helpers.runs import evaluate, strict, task_manager
from tests.helpers.tiny import tiny_model, tiny_tokenizer

DEMO, RATH = "bbq_itemlevel_sampled_demo", "bbq_itemlevel_rath_sampled"
SEEDS = [42, 123, 456, 789, 1024]
RATES = ["srs", "usr", "anti_rate", "expected_srs", "srs_study", "usr_study"]
ENDS = ("amb", "disamb")
SPLIT = [f"{name}_{end}" for name in RATES for end in ENDS]
METRICS = ["acc", *SPLIT, "unparsed", "answer"]  # of the task: a rate over both conditions would have no one meaning
EVERY = ["acc", *RATES, "acc_amb", "acc_disamb", *SPLIT, "unparsed", "answer"]
ROLES = ["anti_stereotype", "stereotype", "unknown"]
LIMIT = 12


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama that says letters, brackets, line ends, and now and then something else."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("talker") / "model"
    model, tokenizer = tiny_model("llama", max_position_embeddings=2048), tiny_tokenizer()
    # All hidden states lean to one side, and the rows of what is to be said with them.
    said = {"A": 0.13, "B": 0.13, "C": 0.13, ")": 0.12, ".": 0.06, "the": 0.03, "</s>": 0.14}
    with torch.no_grad():
        model.model.embed_tokens.weight.add_(0.5)
        for token in range(300):
            model.lm_head.weight[token] += said.get(tokenizer.decode([token]).strip(), -0.05)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs of the demonstration task, each made once: (results, folder of its files)."""
    plugin.activate()
    home = tmp_path_factory.mktemp("runs")
    done: dict[str, Any] = {}

    def of(name: str, size: int = 8, **args: Any) -> tuple[Any, Path]:
        if name not in done:
            options: dict[str, Any] = {"limit": LIMIT, "batch_size": size, "bootstrap_iters": 0}
            found = evaluate(talker, [DEMO], model="compressed_hf", args=args, output=home / name, **options)
            done[name] = (found, home / name)
        return done[name]

    return of


def lines(output: Path) -> list[dict[str, Any]]:
    (path,) = output.rglob("samples_*.jsonl")
    return [strict(line) for line in path.read_text().splitlines()]


def test_what_is_sent_and_logged(run: Any) -> None:
    logged = lines(run("pair/dense")[1])
    assert len(logged) == LIMIT
    for line in logged:
        prompt = line["arguments"]["gen_args_0"]["arg_0"]
        assert prompt.startswith("Answer the multiple-choice question below.")
        assert prompt.endswith("\n\nAnswer:")
        asked = line["arguments"]["gen_args_0"]["arg_1"]
        assert (asked["temperature"], asked["max_gen_toks"], asked["seeds"]) == (0.3, 5, SEEDS)
        assert line["arguments"]["gen_args_1"] == {"arg_0": prompt, "arg_1": asked | {"first_token": ["A", "B", "C"]}}
        assert line["metrics"] == METRICS
        answer, roles = line["answer"], line["doc"]["item"]["roles"]
        assert [said["seed"] for said in answer["texts"]] == SEEDS
        assert [said["text"] for said in answer["texts"]] == line["filtered_resps"][0] == line["resps"][0]
        for said in answer["texts"]:
            assert said["role"] == (None if said["choice"] is None else roles[said["choice"]])
            assert said["study_role"] == (None if said["study_choice"] is None else roles[said["study_choice"]])
        ends = ("amb", "disamb") if line["doc"]["item"]["condition"] == "ambig" else ("disamb", "amb")
        assert line[f"expected_srs_{ends[0]}"] == answer["probs"][roles.index("stereotype")]
        assert line[f"expected_srs_{ends[1]}"] is None
    statuses = {said["status"] for line in logged for said in line["answer"]["texts"]}
    assert statuses == {"answered", "unparsed"}


def test_the_letters_probabilities_are_those_of_a_plain_forward_pass(run: Any, talker: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(talker), AutoTokenizer.from_pretrained(talker)
    words = [tokenizer.decode([token]).strip() for token in range(len(tokenizer))]
    letters = [[token for token, word in enumerate(words) if word == letter] for letter in "ABC"]
    assert all(letters)
    any_letter = [token for tokens in letters for token in tokens]
    for line in lines(run("pair/dense")[1]):
        prompt = tokenizer(line["arguments"]["gen_args_0"]["arg_0"], return_tensors="pt").input_ids
        with torch.no_grad():
            logits = model(prompt).logits[0, -1].double()
        plain, drawn = logits.softmax(-1), (logits / 0.3).softmax(-1)
        answer = line["answer"]
        assert answer["letter_mass"] == pytest.approx(float(plain[any_letter].sum()), rel=1e-4)
        assert answer["drawn_letter_mass"] == pytest.approx(float(drawn[any_letter].sum()), rel=1e-4)
        weights = [float(drawn[tokens].sum()) for tokens in letters]
        assert answer["probs"] == pytest.approx([weight / sum(weights) for weight in weights], rel=1e-4)
        assert 0 < answer["letter_mass"] < 1


def test_an_unchanged_model_draws_the_same_whatever_the_batch(run: Any) -> None:
    assert run("pair/dense")[0]["results"][DEMO]["srs_amb,none"] == run("again", 1)[0]["results"][DEMO]["srs_amb,none"]
    first, again = lines(run("pair/dense")[1]), lines(run("again", 1)[1])
    assert [line["resps"][0] for line in first] == [line["resps"][0] for line in again]
    assert [line["answer"]["texts"] for line in first] == [line["answer"]["texts"] for line in again]


def test_aggregates_are_means_over_items(run: Any) -> None:
    results, output = run("pair/dense")
    logged = lines(output)
    for name in METRICS[:-1]:
        known = [line[name] for line in logged if line[name] is not None]
        assert results["results"][DEMO][f"{name},none"] == pytest.approx(sum(known) / len(known))
    assert not any(name.startswith("answer") for name in results["results"][DEMO])


def test_analysis_takes_a_row_a_seed(run: Any, tmp_path: Path) -> None:
    folder = run("pair/dense")[1].parent
    run("pair/rounded", method="rtn", bits=2, group_size=32)
    found = analyze(folder, tmp_path / "report")
    assert [issue.kind for issue in found.issues] == []
    assert [pair.task for pair in found.pairing.pairs] == [DEMO]
    items = pd.read_parquet(tmp_path / "report" / "items.parquet")
    assert len(items) == 2 * LIMIT * len(SEEDS)
    assert set(items["seed"]) == set(SEEDS)
    rates = found.tables["rates"]
    dense = rates[(rates["run"] == "dense") & (rates["aggregate"] == "pooled") & (rates["subset"] == "all")]
    for condition in ("ambig", "disambig"):
        (row,) = dense[dense["condition"] == condition].to_dict("records")
        asked = [line for line in lines(folder / "dense") if line["doc"]["item"]["condition"] == condition]
        roles = [said["role"] for line in asked for said in line["answer"]["texts"]]
        assert (row["n"], row["n_unparsed"]) == (len(roles), roles.count(None))
        counted = {"n_against": ROLES[0], "n_toward": ROLES[1], "n_neutral": ROLES[2], "n_off": "none of them"}
        assert {name: row[name] for name in counted} == {name: roles.count(role) for name, role in counted.items()}
        assert roles.count(None) < len(roles)
    changed = items.pivot(index=["item_id", "seed"], columns="run", values="text")
    assert (changed.iloc[:, 0] != changed.iloc[:, 1]).any()


def test_the_studies_items_are_asked(talker: Path, tmp_path: Path) -> None:
    plugin.activate()
    for category in CATEGORIES:
        rows = [raw_row(0, category=category), raw_row(1, category=category, condition="disambig", label=0)]
        write_rows(tmp_path / f"{category}.jsonl", rows)
    results = evaluate(
        talker,
        [RATH],
        model="compressed_hf",
        metadata={"bbq_dir": str(tmp_path)},
        apply_chat_template=True,
        bootstrap_iters=0,
    )
    samples = results["samples"][RATH]
    assert sorted(sample["doc"]["item"]["category"] for sample in samples) == [
        "Age", "Gender_identity", "Race_ethnicity", "Religion", "SES",
    ]  # fmt: skip
    assert {sample["doc"]["item"]["condition"] for sample in samples} == {"ambig"}


@pytest.mark.parametrize("way", ["metadata", "gen_kwargs"])
def test_seeds_temperature_and_length_are_a_matter_of_one_place(way: str, talker: Path) -> None:
    plugin.activate()
    settings = {"seeds": [7, 8, 9], "temperature": 0.7, "max_gen_toks": 2}
    given: dict[str, Any] = {"metadata": {"sampling": settings}} if way == "metadata" else {"gen_kwargs": settings}
    results = evaluate(talker, [DEMO], model="compressed_hf", limit=2, bootstrap_iters=0, **given)
    assert results["configs"][DEMO]["repeats"] == 3
    for sample in results["samples"][DEMO]:
        texts, letters = sample["arguments"]
        assert {key: texts[1][key] for key in settings} == settings
        assert {key: letters[1][key] for key in settings} == settings
        assert [said["seed"] for said in sample["answer"]["texts"]] == [7, 8, 9]
        assert [said["text"] for said in sample["answer"]["texts"]] == sample["resps"][0] == sample["filtered_resps"][0]
    # Nothing of it stays behind: the YAML's settings are shared by all tasks that include it.
    again = evaluate(talker, [DEMO], model="compressed_hf", limit=1, bootstrap_iters=0)
    assert again["samples"][DEMO][0]["arguments"][0][1]["seeds"] == SEEDS


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"seeds": [1, 2]}, "are given together: --metadata"),
        ({"sampling": {"seed": [1, 2]}}, "unknown key of sampling in --metadata 'seed'. Did you mean 'seeds'"),
        ({"sampling": {"seeds": 3}}, "seeds: expected a list of whole numbers, none twice, got 3"),
        ({"sampling": {"seeds": [3, 3]}}, r"none twice, got \[3, 3\]"),
        ({"sampling": {"seeds": [True]}}, "expected a list of whole numbers"),
        ({"sampling": {"seeds": []}}, "expected a list of whole numbers"),
    ],
)
def test_settings_that_are_none(metadata: dict[str, Any], told: str, talker: Path) -> None:
    plugin.activate()
    with pytest.raises(UserError, match=told):
        evaluate(talker, [DEMO], model="compressed_hf", limit=1, metadata=metadata, bootstrap_iters=0)


def test_the_logged_seeds_are_those_of_the_requests_that_were_answered() -> None:
    task = task_manager().load([DEMO])["tasks"][DEMO]
    task.set_config("num_fewshot", 0)
    task.set_config("generation_kwargs", {"seeds": [5, 6]}, update=True)
    task.build_all_requests(limit=1, rank=0, world_size=1)
    assert [request.repeats for request in task.instances] == [2, 1]
    task.set_config("generation_kwargs", {"seeds": [7, 8]}, update=True)
    (_, doc), *_ = task.doc_iterator(limit=1)
    letters = json.dumps({"plain": [-1.0, -2.0, -3.0], "drawn": [-1.0, -4.0, -7.0]})
    scored = task.process_results(doc, [["A", "B"], [letters]])
    assert [(said["seed"], said["text"]) for said in scored["answer"]["texts"]] == [(5, "A"), (6, "B")]
    with pytest.raises(UserError, match="1 texts for 2 seeds; leave filter_list out"):
        task.process_results(doc, [["A"], [letters]])
    with pytest.raises(UserError, match="the model gave ' B' where the letters' probabilities were asked for"):
        task.process_results(doc, [["A", "B"], [" B"]])


def test_settings_of_one_task_are_no_other_tasks() -> None:
    manager = task_manager(sampling={"temperature": 0.9})
    names = [DEMO, "bbq_itemlevel_sampled_demo"]
    first, second = (manager.load([name])["tasks"][name] for name in names)
    first.set_config("generation_kwargs", {"seeds": [1]}, update=True)
    first.config.generation_kwargs["until"].append("x")
    assert (second.config.generation_kwargs["seeds"], second.config.generation_kwargs["until"]) == (SEEDS, [])
    assert second.config.generation_kwargs["temperature"] == 0.9
    config = {"generation_kwargs": {"seeds": [1]}, "metadata": {"sampling": {"seeds": [2]}}}
    assert _with_settings(config)["generation_kwargs"] == {"seeds": [2]}
    assert config["generation_kwargs"] == {"seeds": [1]}


def test_the_command_line_of_the_documentation(talker: Path, tmp_path: Path) -> None:
    """Both ways at once: --gen_kwargs wins, and the log says what was sent."""
    line = [sys.executable, "-m", "lm_eval_ext", "run", "--model", "compressed_hf", "--tasks", DEMO, "--limit", "1"]
    line += ["--model_args", f"pretrained={talker}", "--log_samples", "--output_path", str(tmp_path), "--device", "cpu"]
    line += ["--metadata", '{"sampling": {"seeds": [1, 2, 3], "temperature": 0.7, "max_gen_toks": 8}}']
    subprocess.run([*line, "--gen_kwargs", "seeds=[4,5],temperature=0.9"], check=True, capture_output=True)
    (logged,) = lines(tmp_path)
    sent = logged["arguments"]["gen_args_0"]["arg_1"]
    assert (sent["seeds"], sent["temperature"], sent["max_gen_toks"]) == ([4, 5], 0.9, 8)
    assert [said["seed"] for said in logged["answer"]["texts"]] == [4, 5]


def test_the_answer_by_hand() -> None:
    plain = [math.log(p) for p in (0.2, 0.1, 0.4)]
    # Squares of 2 : 1 : 4, of which a word that is no letter has left nine tenths.
    drawn = [math.log(0.9 * p / 21) for p in (4, 1, 16)]
    answer = sampled_answer(["B", "based on", "(C)", "Answer: B", "x"], SEEDS, plain, drawn, ROLES)
    assert answer["probs"] == pytest.approx([4 / 21, 1 / 21, 16 / 21])
    assert answer["letter_mass"] == pytest.approx(0.7)
    assert answer["drawn_letter_mass"] == pytest.approx(0.9)
    assert answer["margin"] == pytest.approx(12 / 21)
    assert (answer["status"], answer["choice"], answer["role"]) == ("answered", None, None)
    texts = answer["texts"]
    assert texts is not None
    assert [said["choice"] for said in texts] == [1, None, 2, 1, None]
    assert [said["study_choice"] for said in texts] == [1, 1, 2, 0, None]
    item: Any = {"roles": ROLES, "key": 2, "condition": "ambig", "scheme": BBQ_SCHEME.to_record()}
    metrics = sampled_metrics(item, answer)
    assert list(metrics) == EVERY
    expected = {
        "acc": 1 / 5,
        "srs": 2 / 3,
        "usr": 1 / 3,
        "anti_rate": 0.0,
        "expected_srs": pytest.approx(1 / 21),
        "srs_study": 2 / 4,
        "usr_study": 1 / 4,
    }
    split = {f"{name}_{end}": value if end == "amb" else None for name, value in expected.items() for end in ENDS}
    assert metrics | {"answer": None} == expected | split | {"unparsed": 2 / 5, "answer": None}


def test_answers_at_the_edges() -> None:
    item: Any = {"roles": ["undetermined", "undetermined", "unknown"], "key": 2, "condition": "ambig"}
    item["scheme"] = BBQ_SCHEME.to_record()
    nothing = sampled_answer(["", "x"], [1, 2], None, None, item["roles"])
    assert (nothing["status"], nothing["probs"], nothing["drawn_letter_mass"]) == ("unparsed", None, None)
    never = sampled_answer(["", "x"], [1, 2], [-90.0] * 3, [-math.inf] * 3, item["roles"])
    assert (never["probs"], never["drawn_letter_mass"]) == (None, 0.0)
    metrics = sampled_metrics(item, nothing)
    assert list(metrics) == EVERY
    counted = {"acc", "acc_amb", "unparsed", "answer"}
    assert {name for name, value in metrics.items() if value is not None} == counted
    assert (metrics["acc"], metrics["acc_amb"], metrics["unparsed"]) == (0.0, 0.0, 1.0)
    given = sampled_answer(["C", "A"], [1, 2], [-1.0, -2.0, -3.0], [-1.0, -4.0, -7.0], item["roles"])
    undetermined = sampled_metrics(item, given)
    assert {name for name, value in undetermined.items() if value is not None} == counted
    assert (undetermined["acc"], undetermined["acc_amb"], undetermined["unparsed"]) == (0.5, 0.5, 0.0)
    sure = sampled_answer(["A"], [1], [-2.0, -1.0, -1.0], [-math.inf, 0.0, -math.inf], ROLES)
    assert sure["probs"] == [0.0, 1.0, 0.0]
