from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.compare.baselines import choose_baselines
from analysis.compare.differences import DIFFERENCES
from analysis.compare.pairing import Pairing, check_allowed, pair_runs
from analysis.errors import UserError
from analysis.logs import ItemStore, read_logs
from tests.helpers.runlogs import (
    DENSE,
    Task,
    bbq_line,
    choice_line,
    drawn_line,
    evidence,
    rolling_line,
    sha,
    text_line,
    write_run,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ItemStore]:
    with ItemStore(tmp_path / "items.parquet") as opened:
        yield opened


def lines(*numbers: int, **changes: Any) -> list[dict[str, Any]]:
    return [choice_line(i, i % 2, **changes) for i in numbers or range(4)]


def rolling(number: int = 0) -> Task:
    """A document of five words, with the perplexity of its log-likelihood."""
    return Task([rolling_line(number, -3.0)], "loglikelihood_rolling", {"word_perplexity,none": math.exp(3 / 5)})


def pair(folder: Path, store: ItemStore, *allow: str) -> Pairing:
    logs = read_logs(folder, store)
    return pair_runs(logs, choose_baselines(logs.runs), allow)


def two_runs(
    folder: Path,
    base: Task,
    run: Task,
    *,
    base_top: dict[str, Any] | None = None,
    top: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    write_run(folder / "runs", 1, {"t": base}, evidence("dense", **DENSE), **(base_top or {}))
    write_run(folder / "runs", 2, {"t": run}, evidence("w", **changes), **(top or {}))
    return folder / "runs"


def test_equal_conditions_make_a_pair(tmp_path: Path, store: ItemStore) -> None:
    runs = two_runs(tmp_path, Task(lines()), Task([choice_line(i, 1) for i in range(4)]))
    found = pair(runs, store)
    assert [(entry.run, entry.baseline, entry.task, entry.accepted) for entry in found.pairs] == [
        ("w", "dense", "t", ())
    ]
    assert (found.refusals, found.issues) == ([], [])


def redone(**doc: Any) -> dict[str, Any]:
    """Another document with its hash."""
    return {"doc": doc, "doc_hash": sha(json.dumps(doc, indent=2, ensure_ascii=False))}


def engine(**said: Any) -> dict[str, Any]:
    return {"engine": {"name": "vllm", "version": "0.11", **said}}


ENGINES = {
    "engine": ({}, engine()),
    "engine_version": (engine(), engine(version="0.12")),
    # Beside weights that were pruned, and by an engine's argument: nothing says that the cache is what is studied.
    "kv_cache": (engine(), engine(kv_cache="fp8")),
    "parallel": (engine(), engine(parallel="tp=2")),
    "batch_invariant": (engine(batch_invariant=False), engine(batch_invariant=True)),
}
"""Of each difference of engines, what the baseline's and the run's configuration say."""


def changed(name: str) -> tuple[Task, Task, dict[str, Any], dict[str, Any]]:
    """Two tasks that differ in one way only: baseline, run, the run's top level, the run's evidence."""
    base, run, top, compression = Task(lines()), Task(lines()), {}, {}
    if name == "items":
        run = Task(lines(0, 1, 2))
    if name == "filters":
        base = Task([*lines(), *lines(filter="other")])
    if name == "docs":
        run.lines[2] |= redone(question="another question")
    if name == "targets":
        run.lines[2] |= {"target": "7", "target_hash": sha("7")}
    if name == "prompts":
        run.lines[2] = choice_line(2, 0, prompt="Please") | {"doc_hash": base.lines[2]["doc_hash"]}
    if name == "requests":
        run.lines[2]["arguments"]["gen_args_1"]["arg_1"] = " another option"
    if name == "chat_template":
        top = {"chat_template_sha": "c" * 64}
    if name == "system_instruction":
        top = {"system_instruction_sha": "s" * 64}
    if name == "fewshot":
        run.shots = 5
    if name == "task_version":
        run.version = 2.0
    if name == "protocol":
        base = Task([bbq_line(i, 0) for i in range(4)])
        run = Task([bbq_line(i, 0, protocol="cyclic") for i in range(4)])
    if name == "metric":
        for line in run.lines:
            line |= {"exact_match": line.pop("acc"), "metrics": ["exact_match"]}
    if name in ENGINES:
        top = {"config": ENGINES[name][1]}
    if name == "scoring_dtype":
        compression = {"softmax_dtype": "bfloat16"}
    if name == "window":
        base, run = (rolling() for _ in range(2))
        top = {"max_length": 2048}
    if name == "rolling_bos":
        base, run = (rolling() for _ in range(2))
        top = {"config": {"encoding": {"adds": True, "rolling_bos": "once"}}}
    return base, run, top, compression


@pytest.mark.parametrize("name", DIFFERENCES)
def test_each_difference_alone_is_refused_by_its_name_and_accepted_by_it(
    tmp_path: Path, store: ItemStore, name: str
) -> None:
    base, run, top, compression = changed(name)
    base_top = {"config": ENGINES[name][0]} if name in ENGINES else None
    runs = two_runs(tmp_path, base, run, top=top, base_top=base_top, **compression)
    logs = read_logs(runs, store)
    chosen = choose_baselines(logs.runs)
    refused = pair_runs(logs, chosen)
    (refusal,) = refused.refusals
    assert [difference.name for difference in refusal.differences] == [name]
    assert refused.pairs == []
    (error,) = [issue for issue in refused.issues if issue.level == "error"]
    assert error.message == refusal.message
    label = "w+kv-fp8(unverified)" if name == "kv_cache" else "w"
    assert error.message.startswith(f"{label} on t is not comparable with dense: {name} (")
    assert error.message.endswith(f"--allow {name}")

    accepted = pair_runs(logs, chosen, [name])
    (entry,) = accepted.pairs
    assert [difference.name for difference in entry.accepted] == [name]
    assert accepted.refusals == []
    assert any(issue.kind == "accepted" and name in issue.message for issue in accepted.issues)
    others = [other for other in DIFFERENCES if other != name]
    assert pair_runs(logs, chosen, others).pairs == []


@pytest.mark.parametrize(
    ("mine", "theirs", "refused"),
    [
        ((True, "once"), (True, "once"), False),
        ((True, "once"), (True, "hf"), True),
        ((True, "hf"), None, False),  # another model, or a log of before: as hf
        ((True, "once"), None, True),
        ((False, "once"), None, False),  # nothing is added, so nothing differs
        ((False, "once"), (False, "hf"), False),
    ],
)
def test_what_was_scored_beside_a_documents_own_tokens(
    mine: tuple[bool, str], theirs: tuple[bool, str] | None, refused: bool, tmp_path: Path, store: ItemStore
) -> None:
    base, run = (rolling() for _ in range(2))
    tops = [
        {} if facts is None else {"config": {"encoding": dict(zip(("adds", "rolling_bos"), facts, strict=True))}}
        for facts in (theirs, mine)
    ]
    found = pair(two_runs(tmp_path, base, run, base_top=tops[0], top=tops[1]), store)
    assert [difference.name for refusal in found.refusals for difference in refusal.differences] == (
        ["rolling_bos"] if refused else []
    )


def test_a_refusal_counts_and_names_an_item(tmp_path: Path, store: ItemStore) -> None:
    run = Task([*lines(0, 1, 2), choice_line(9, 0)])
    run.lines[1] |= redone(question="another question")
    (refusal,) = pair(two_runs(tmp_path, Task(lines()), run), store).refusals
    assert refusal.message == (
        "w on t is not comparable with dense: items (1 answers of 4 only in the run, 1 of 4 only in the "
        "baseline, e.g. t/9); docs (1 of 3 common answers, e.g. t/1). Run both alike, or accept the "
        "difference: --allow items --allow docs"
    )


def test_seeds_belong_to_the_identity(tmp_path: Path, store: ItemStore) -> None:
    base, run = Task([drawn_line(0, [0, 1])], "generate_until"), Task([drawn_line(0, [0])], "generate_until")
    runs = two_runs(tmp_path, base, run)
    logs = read_logs(runs, store)
    chosen = choose_baselines(logs.runs)
    assert [entry.name for entry in pair_runs(logs, chosen).refusals[0].differences] == ["items"]
    kept = pair_runs(logs, chosen, ["items"])
    for label in ("w", "dense"):
        assert kept.items(store, label, "dense", "t", ["seed"])["seed"].tolist() == [42]


def test_allowed_items_leave_what_all_runs_of_a_baseline_share(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    write_run(runs, 1, {"t": Task(lines(0, 1, 2, 3))}, evidence("dense", **DENSE))
    write_run(runs, 2, {"t": Task(lines(1, 2, 3, 4))}, evidence("a"))
    write_run(runs, 3, {"t": Task(lines(0, 1, 2, 3))}, evidence("b"))
    write_run(runs, 4, {"t": Task(lines(7))}, evidence("c"))
    found = pair(runs, store, "items")
    assert [entry.run for entry in found.pairs] == ["a", "b"]
    for label in ("dense", "a", "b"):
        assert found.items(store, label, "dense", "t", ["doc_id"])["doc_id"].tolist() == [1, 2, 3]
    (refusal,) = found.refusals
    assert refusal.run == "c"
    assert "no item in common" in refusal.message
    assert "--allow" not in refusal.message


def test_order_of_lines_does_not_matter(tmp_path: Path, store: ItemStore) -> None:
    runs = two_runs(tmp_path, Task(lines()), Task(lines(3, 1, 0, 2)))
    assert len(pair(runs, store).pairs) == 1


def test_the_scoring_dtype_is_the_one_computed_in(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    write_run(runs, 1, {"t": Task(lines())})  # a stock float32 run scores in float32 without being asked
    write_run(runs, 2, {"t": Task(lines())}, evidence("w"))
    assert len(pair(runs, store).pairs) == 1


def test_generation_has_no_scoring_dtype(tmp_path: Path, store: ItemStore) -> None:
    base, run = (Task([text_line(0, "4")], "generate_until") for _ in range(2))
    assert len(pair(two_runs(tmp_path, base, run, softmax_dtype="bfloat16"), store).pairs) == 1


def test_turns_matter_only_with_examples(tmp_path: Path, store: ItemStore) -> None:
    top = {"fewshot_as_multiturn": True}
    assert pair(two_runs(tmp_path / "a", Task(lines()), Task(lines()), top=top), store).refusals == []
    with ItemStore(tmp_path / "b.parquet") as other:
        runs = two_runs(tmp_path / "b", Task(lines(), shots=2), Task(lines(), shots=2), top=top)
        (refusal,) = pair(runs, other).refusals
    assert "fewshot (2 examples, each its own turn against 2 examples)" in refusal.message


def test_rolling_documents_are_compared_by_their_hash(tmp_path: Path, store: ItemStore) -> None:
    base, run = (rolling(i) for i in range(2))
    (refusal,) = pair(two_runs(tmp_path, base, run), store).refusals
    assert [difference.name for difference in refusal.differences] == ["docs"]


def test_versions_batch_size_and_dtype_are_only_noted(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    config = {"batch_size": "auto"}
    write_run(runs, 1, {"t": Task(lines()), "u": Task(lines())}, evidence("dense", **DENSE), config=config)
    write_run(runs, 2, {"t": Task(lines(prompt="Q"))}, evidence("w", dtype="bfloat16"), config=config,
              lm_eval_version="0.4.14", transformers_version="5.18.0")  # fmt: skip
    found = pair(runs, store)
    assert found.refusals == []
    notes = {issue.kind for issue in found.issues if issue.level == "note"}
    assert notes == {"lm_eval_version", "transformers_version", "batch_size", "dtype", "fewer_tasks"}


def test_a_compressed_run_with_its_baselines_weights_is_no_sign_of_harmlessness(
    tmp_path: Path, store: ItemStore
) -> None:
    runs = two_runs(tmp_path, Task(lines()), Task(lines()), weights_hash_after="aa" * 32)
    found = pair(runs, store)
    assert [(issue.kind, issue.level) for issue in found.issues] == [("unchanged_weights", "warning")]


def test_another_kv_cache_leaves_the_weights_as_they_were(tmp_path: Path, store: ItemStore) -> None:
    runs = two_runs(tmp_path, Task(lines()), Task(lines()), weights_hash_after="aa" * 32, kv={"format": "int4"})
    assert [issue.kind for issue in pair(runs, store).issues] == []


def test_an_uncompressed_run_may_repeat_its_baseline(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    write_run(runs, 1, {"t": Task(lines())})
    write_run(runs, 2, {"t": Task(lines())})
    logs = read_logs(runs, store)
    found = pair_runs(logs, choose_baselines(logs.runs, "dense#1"))
    assert (len(found.pairs), found.issues) == (1, [])


def test_an_unknown_difference_names_the_nearest() -> None:
    assert check_allowed(["items", "items"]) == frozenset({"items"})
    with pytest.raises(
        UserError,
        match=r"unknown difference \(--allow\) 'promts'\. Did you mean 'prompts'\? Known: batch_invariant",
    ):
        check_allowed(["promts"])


def test_shown_rows_are_pairs_baselines_and_runs_without_one(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    write_run(runs, 1, {"t": Task(lines()), "u": Task(lines())}, evidence("dense", **DENSE))
    write_run(runs, 2, {"t": Task(lines()), "u": Task(lines(0)), "v": Task(lines())}, evidence("w"))
    write_run(runs, 3, {"t": Task(lines())}, evidence("x", base={"pretrained": "other"}, weights_hash_before="bb"))
    logs = read_logs(runs, store)
    chosen = choose_baselines(logs.runs)
    assert pair_runs(logs, chosen).shown(logs, chosen) == [
        ("base/dense", "t", "base/dense"),
        ("base/dense", "u", "base/dense"),
        ("base/w", "t", "base/dense"),
        ("other/x", "t", "other/x"),
    ]
