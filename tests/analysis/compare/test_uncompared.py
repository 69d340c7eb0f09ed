"""Runs and tasks that are compared with nothing, and the lines that issues tell the user to type."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from analysis import Analysis, Settings, analyze
from analysis.compare.commands import AnalyzeCommand
from analysis.logs import Issue
from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, samples_of, write_run


def task(shift: int = 0, **changes: Any) -> Task:
    return Task([choice_line(i, (i + shift) % 3) for i in range(6)], **changes)


def stock(name: str, **arguments: Any) -> dict[str, Any]:
    return {"model_args": {"pretrained": name, "dtype": "float32", **arguments}}


def w(name: str = "org/smol", label: str = "rtn-4", before: str = "ab") -> dict[str, Any]:
    return evidence(label, base={"pretrained": name, "revision": None}, weights_hash_before=before * 32)


def analysed(folder: Path, **options: Any) -> Analysis:
    return analyze(folder / "runs", folder / "report", **options)


def errors(found: Analysis) -> list[Issue]:
    return [issue for issue in found.issues if issue.level == "error"]


def typed(issue: Issue) -> list[str]:
    """The words of the line that an issue tells to type."""
    (line,) = re.findall(r"type `([^`]*)`", issue.message)
    return shlex.split(line)


def again(folder: Path, issue: Issue) -> Analysis:
    """The analysis that an issue tells to type, as the command line makes it."""
    words = typed(issue)
    assert words[:3] == ["lm-eval-ext", "analyze", str(folder / "runs")]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert options.pop("--output") == str(folder / "report")
    (option,) = options
    assert option in ("--baseline", "--base")
    return analysed(folder, **{option[2:]: options[option] if option == "--baseline" else [options[option]]})


def test_stock_runs_of_two_models_are_compared_by_the_line_that_is_named(tmp_path: Path) -> None:
    # The other model was run first; the model that it is made from has the shorter name.
    write_run(tmp_path / "runs", 1, {"t": task()}, config=stock("org/smol-tuned"))
    write_run(tmp_path / "runs", 2, {"t": task(1)}, config=stock("org/smol"))
    found = analysed(tmp_path)
    (error,) = errors(found)
    assert error.kind == "nothing_to_compare"
    assert error.message.startswith("nothing is compared: no run is compressed (smol-tuned/dense, smol/dense). ")
    assert typed(error)[-2:] == ["--baseline", "smol/dense"]
    assert not found.complete
    done = again(tmp_path, error)
    assert done.complete
    assert [(pair.run, pair.baseline) for pair in done.pairing.pairs] == [("smol-tuned/dense", "smol/dense")]


def test_a_checkpoint_beside_compared_runs_is_not_forgotten(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"t": task()}, config=stock("org/smol"))
    write_run(tmp_path / "runs", 2, {"t": task(1)}, w())
    write_run(tmp_path / "runs", 3, {"t": task(2)}, config=stock("org/smol-GPTQ"))
    found = analysed(tmp_path)
    (error,) = errors(found)
    assert (error.kind, len(found.pairing.pairs)) == ("no_baseline", 1)
    assert error.message.startswith(
        "smol-GPTQ(unverified gptq) is not compared with anything: it is unverified gptq, and nothing says which model "
        "it was made from (there are runs of org/smol). To say that it was made from org/smol, type"
    )
    done = again(tmp_path, error)
    assert done.complete
    assert {pair.run for pair in done.pairing.pairs} == {"rtn-4", "smol-GPTQ(unverified gptq)"}
    assert done.runs.set_index("run").loc["smol-GPTQ(unverified gptq)", ["base_model", "base_by"]].tolist() == [
        "org/smol",
        "--base",
    ]


def test_a_checkpoint_is_no_baseline_unless_it_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"t": task()}, config=stock("org/smol", load_in_4bit=True))
    write_run(tmp_path / "runs", 2, {"t": task(1)}, w())
    found = analysed(tmp_path)
    said = {error.message.partition(". ")[0] for error in errors(found)}
    assert said == {
        "smol(unverified bitsandbytes-4) is not compared with anything: no run without compression was found",
        "rtn-4 is not compared with anything: no run without compression was found (smol(unverified bitsandbytes-4): "
        "unverified, and so a baseline only by --baseline)",
    }
    done = analysed(tmp_path, baseline="smol(unverified bitsandbytes-4)")
    assert [(pair.run, pair.baseline) for pair in done.pairing.pairs] == [("rtn-4", "smol(unverified bitsandbytes-4)")]


def test_a_compressed_run_alone_is_told_how_to_evaluate_its_baseline(tmp_path: Path) -> None:
    arguments = stock("org/smol", recipe="rtn-4", group_size=64, max_length=512)
    config = {**arguments, "batch_size": "4", "limit": 100.0}
    write_run(tmp_path / "runs", 1, {"t": task(shots=2)}, w(), config=config, chat_template_sha="c" * 64)
    (error,) = errors(analysed(tmp_path))
    assert error.kind == "no_baseline"
    assert " ".join(typed(error)) == (
        "lm_eval --model compressed_hf --model_args pretrained=org/smol,dtype=float32,max_length=512,recipe=dense "
        f"--tasks t --num_fewshot 2 --apply_chat_template --batch_size 4 --limit 100 --output_path {tmp_path / 'runs'} "
        "--log_samples"
    )


def test_an_uncompressed_run_alone_is_told_how_to_compress_it(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"t": task(), "u": task()}, config=stock("org/smol"))
    (error,) = errors(analysed(tmp_path))
    assert error.message.startswith("nothing is compared: dense is the only run. ")
    words = typed(error)
    assert words[:5] == [
        "lm_eval", "--model", "compressed_hf", "--model_args", "pretrained=org/smol,dtype=float32,recipe=rtn-4",
    ]  # fmt: skip
    assert words[words.index("--tasks") + 1] == "t,u"


def test_a_lone_model_behind_an_interface_can_not_be_compressed(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"t": task()}, config={"model": "local-completions", "model_args": {"model": "m"}})
    (error,) = errors(analysed(tmp_path))
    assert error.message.endswith("is the only run. Evaluate another model on the same tasks")


def test_runs_without_a_common_task_have_nothing_to_compare(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"t": task()}, config=stock("org/a"))
    write_run(tmp_path / "runs", 2, {"u": task()}, config=stock("org/b"))
    (error,) = errors(analysed(tmp_path))
    assert "no two of the runs have a task in common (a/dense, b/dense)" in error.message
    (error,) = errors(analysed(tmp_path, baseline="a/dense"))
    assert "no other run has a task in common with a/dense" in error.message


def test_a_task_that_no_baseline_holds_is_missing(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"t": task()}, evidence("dense", **DENSE), config=stock("org/smol", recipe="dense"))
    write_run(tmp_path / "runs", 2, {"t": task(1), "u": task(), "v": task()}, evidence("rtn-4"))
    found = analysed(tmp_path)
    (error,) = errors(found)
    assert (error.kind, len(found.pairing.pairs)) == ("task_without_baseline", 1)
    words = typed(error)
    assert "pretrained=org/smol,dtype=float32,recipe=dense" in words
    assert words[words.index("--tasks") + 1] == "u,v"


def test_tasks_that_only_the_baseline_has_are_a_note(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"t": task(), "u": task()}, evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 2, {"v": task()}, evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 3, {"t": task(1)}, evidence("rtn-4"))
    found = analysed(tmp_path)
    assert found.complete
    notes = [(issue.kind, issue.message) for issue in found.issues if issue.kind in ("fewer_tasks", "lone_baseline")]
    assert sorted(notes) == [
        ("fewer_tasks", "rtn-4 lacks tasks that dense#1 has: u"),
        ("lone_baseline", "dense#2 is compared with nothing: no compressed run of its model has v"),
    ]


@pytest.mark.parametrize("options", [{}, {"baseline": "dense"}])
def test_a_run_and_its_baseline_are_all_there_is(options: dict[str, Any], tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"t": task()}, evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 2, {"t": task(1)}, evidence("rtn-4"))
    assert analysed(tmp_path, **options).complete


def test_deleted_samples_are_a_missing_comparison(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"t": task()}, evidence("dense", **DENSE))
    run = write_run(tmp_path / "runs", 2, {"t": task(1)}, evidence("rtn-4"))
    samples_of(run, "t").unlink()
    found = analysed(tmp_path, allow=["items"])
    assert [issue.kind for issue in errors(found)] == ["refused"]
    assert not found.complete


def test_several_candidates_are_told_apart_by_a_line_to_type(tmp_path: Path) -> None:
    for number in (1, 2):
        write_run(tmp_path / "runs", number, {"t": task()}, evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 3, {"t": task(1)}, evidence("rtn-4"))
    with pytest.raises(ValueError, match=re.escape(f"analyze {tmp_path / 'runs'} --output")) as caught:
        analysed(tmp_path)
    assert "--baseline 'dense#1'`" in str(caught.value)
    assert analysed(tmp_path, baseline="dense#1").complete


def test_a_line_repeats_what_was_typed_and_is_quoted(tmp_path: Path) -> None:
    folder = tmp_path / "my runs"
    write_run(folder, 1, {"t": task()}, config=stock("org/a"))
    write_run(folder, 2, {"t": task(1)}, config=stock("org/b;rm x"))
    settings = Settings(margin=0.1)
    found = analyze(folder, tmp_path / "r", tasks=["t*"], allow=["items", "docs"], settings=settings)
    (error,) = errors(found)
    line = (
        f"lm-eval-ext analyze '{folder}' --output {tmp_path / 'r'} --task 't*' --allow docs --allow items --margin 0.1 "
        "--baseline a/dense"
    )
    assert f"type `{line}`" in error.message


def test_a_command_line_leaves_out_what_is_not_given() -> None:
    command = AnalyzeCommand(("a b", "c"), {"output": None, "task": (), "allow": ["items"], "exchanges": 9})
    assert command.text() == "lm-eval-ext analyze 'a b' c --allow items --exchanges 9"
    assert command.text(baseline="x#1", exchanges=None) == "lm-eval-ext analyze 'a b' c --allow items --baseline 'x#1'"
    assert command.allowing(["docs", "items"]).endswith("--allow items --allow docs --exchanges 9")
