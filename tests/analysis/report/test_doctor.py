"""What `examine` says of a folder: what is there, what can be compared, and lines that mend the rest."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from analysis import UserError, analyze
from analysis.report import Examination, examine
from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, samples_of, write_run


def task(shift: int = 0, **changes: Any) -> Task:
    """Items whose scores are another's with another shift."""
    lines = []
    for i in range(6):
        scores = [[str(-1.0 - 0.1 * shift - i * (1 + option) / 7), "False"] for option in range(3)]
        chosen = {"resps": [[score] for score in scores], "filtered_resps": scores, "acc": float(i % 2)}
        lines.append(choice_line(i, 0, **chosen, **changes))
    return Task(lines)


def smol(label: str, **changes: Any) -> dict[str, Any]:
    return evidence(label, base={"pretrained": "org/smol", "revision": None}, **changes)


def args(**arguments: Any) -> dict[str, Any]:
    return {"model_args": {"pretrained": "org/smol", "dtype": "float32", **arguments}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five runs: a baseline, one that is comparable, two with another prompt, a checkpoint of another name."""
    write_run(tmp_path, 1, {"arc": task(), "bbh": task(9)}, smol("dense", **DENSE), config=args(recipe="dense"))
    write_run(tmp_path, 2, {"arc": task(1), "bbh": task(2)}, smol("rtn-4"))
    write_run(tmp_path, 3, {"arc": task(3), "bbh": task(4, prompt="Please")}, smol("rtn-3"))
    write_run(tmp_path, 4, {"arc": task(5), "bbh": task(6, prompt="Please")}, smol("wanda-50"))
    write_run(tmp_path, 5, {"arc": task(7)}, config=args() | {"model_args": {"pretrained": "org/smol-GPTQ"}})
    return tmp_path


def commands(found: Examination) -> list[str | None]:
    return [finding.command for finding in found.findings]


def test_five_runs_in_a_few_lines(folder: Path) -> None:
    found = examine([folder])
    # 4 runs of 12 answers and one of 6.
    assert found.found == "5 runs of 2 base models, 2 tasks, 54 answers, lm_eval 0.4.13"
    assert [(row["run"], row["tasks"], row["answers"], row["compared with"]) for row in found.rows] == [
        ("smol/dense", "arc, bbh", "12", "baseline of smol/rtn-3, smol/rtn-4, smol/wanda-50"),
        ("smol/rtn-4", "arc, bbh", "12", "smol/dense"),
        ("smol/rtn-3", "arc, bbh", "12", "smol/dense, 1 of 2 tasks"),
        ("smol/wanda-50", "arc, bbh", "12", "smol/dense, 1 of 2 tasks"),
        ("smol-GPTQ(unverified gptq)", "arc", "6", "nothing"),
    ]
    prompts, alone = found.findings
    assert prompts.text == (
        "smol/rtn-3, smol/wanda-50 on bbh: not comparable with smol/dense: prompts (6 of 6 common answers, e.g. "
        "bbh/0), and likewise in 1 more"
    )
    assert prompts.advice == "Run both alike, or accept it"
    assert alone.text == (
        "smol-GPTQ(unverified gptq): it is unverified gptq, and nothing says which model it was made from (there are "
        "runs of org/smol)"
    )
    assert commands(found) == [
        f"lm-eval-ext analyze {folder} --allow prompts",
        f"lm-eval-ext analyze {folder} --base org/smol-GPTQ=org/smol",
    ]  # fmt: skip
    assert (found.warnings, found.comparisons, found.complete, found.more) == ([], 4, False, 0)
    assert found.command == f"lm-eval-ext analyze {folder}"


def test_what_it_tells_to_type_is_complete(folder: Path) -> None:
    found = examine([folder], "smol/dense", ["prompts"])
    assert (found.findings, found.complete, found.comparisons) == ([], True, 7)
    words = shlex.split(found.command)
    assert words[3:] == ["--allow", "prompts", "--baseline", "smol/dense"]


@pytest.mark.parametrize("options", [{}, {"baseline": "smol/dense"}, {"allow": ["prompts"]}, {"tasks": ["arc"]}])
def test_it_is_complete_where_analyze_is(options: dict[str, Any], folder: Path, tmp_path_factory: Any) -> None:
    output = tmp_path_factory.mktemp("out") / "report"
    before = sorted(folder.rglob("*"))
    found = examine([folder], **options)
    assert sorted(folder.rglob("*")) == before
    made = analyze(folder, output, **options)
    assert (found.complete, found.comparisons) == (made.complete, len(made.pairing.pairs))


def test_lost_samples_are_told_apart_by_run_and_run_again(folder: Path) -> None:
    run = write_run(folder, 6, {"arc": task(8)}, smol("rtn-2"), config=args(recipe="rtn-2", max_length=512))
    samples_of(run, "arc").unlink()
    found = examine([folder], "smol/dense", ["prompts"])
    (lost,) = found.findings
    assert lost.text.startswith(
        "smol/rtn-2 on arc: not comparable with smol/dense: no_items (the run has no samples file"
    )
    assert lost.command == (
        "lm_eval --model compressed_hf --model_args pretrained=org/smol,dtype=float32,recipe=rtn-2,max_length=512 "
        f"--tasks arc --batch_size 8 --output_path {folder} --log_samples"
    )
    assert found.warnings == []


def test_compressed_runs_alone_are_told_once(tmp_path: Path) -> None:
    for number, label in enumerate(("rtn-4", "rtn-3", "wanda-50")):
        write_run(tmp_path, number, {"arc": task(number)}, smol(label), config=args(recipe=label))
    found = examine([tmp_path])
    (finding,) = found.findings
    assert finding.text == "rtn-4, rtn-3, wanda-50: no run without compression was found"
    assert finding.command is not None
    assert "pretrained=org/smol,dtype=float32,recipe=dense" in finding.command
    assert [row["compared with"] for row in found.rows] == ["nothing"] * 3


def test_two_baselines_are_a_finding(tmp_path: Path) -> None:
    for number in (1, 2):
        write_run(tmp_path, number, {"arc": task()}, smol("dense", **DENSE))
    write_run(tmp_path, 3, {"arc": task(1)}, smol("rtn-4"))
    found = examine([tmp_path])
    (finding,) = found.findings
    assert finding.text.startswith("task arc of rtn-4 has 2 possible baselines: dense#1 (")
    assert finding.command == f"lm-eval-ext analyze {tmp_path} --baseline 'dense#1'"
    assert (found.complete, found.comparisons) == (False, 0)
    assert examine([tmp_path], "dense#1").complete


def test_warnings_are_a_line_a_kind(folder: Path) -> None:
    for number in (6, 7):
        path = samples_of(write_run(folder, number, {"arc": task(4 + number)}, smol(f"x-{number}")), "arc")
        path.write_bytes(path.read_bytes()[:-30])
    found = examine([folder])
    (warning,) = found.warnings
    assert warning.startswith("truncated: line 6 breaks off; the file is cut off, 5 complete documents of 6 are kept (")
    assert warning.endswith("), and 1 more")


def test_of_many_runs_the_first_are_listed(tmp_path: Path) -> None:
    write_run(tmp_path, 0, {"arc": task()}, smol("dense", **DENSE))
    for number in range(1, 20):
        write_run(tmp_path, number, {"arc": task(number)}, smol(f"x-{number}"))
    found = examine([tmp_path])
    assert (len(found.rows), found.more, found.complete) == (12, 8, True)
    assert found.rows[0]["compared with"] == "baseline of x-1, x-10, x-11, x-12 and 15 more"


def test_faults_of_the_user_are_those_of_analyze(folder: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'smol/dense'"):
        examine([folder], "smol/dens")
    with pytest.raises(UserError, match="Did you mean 'prompts'"):
        examine([folder], None, ["promts"])
    with pytest.raises(UserError, match="no task matches"):
        examine([folder], None, (), ["mmlu"])


def test_a_run_that_can_not_be_read_is_missing_and_said(folder: Path) -> None:
    (folder / "results_2026-01-02T03-04-05.000009.json").write_text("{")
    options: dict[str, Any] = {"baseline": "smol/dense", "allow": ["prompts"]}
    found = examine([folder], **options)
    assert (found.findings, found.complete) == ([], False)
    (said,) = found.warnings
    assert said.startswith("unreadable: ")
    assert "(results_2026-01-02T03-04-05.000009.json)" in said


def test_it_takes_several_folders_and_files(folder: Path, tmp_path_factory: Any) -> None:
    other = tmp_path_factory.mktemp("other")
    run = write_run(other, 9, {"arc": task(11)}, smol("rtn-2"))
    found = examine([folder, run], "smol/dense", ["prompts"])
    assert found.complete
    assert found.rows[-1]["compared with"] == "smol/dense"
    assert found.command == f"lm-eval-ext analyze {folder} {run} --allow prompts --baseline smol/dense"


def test_where_a_missing_run_would_go(tmp_path: Path) -> None:
    run = write_run(tmp_path, 1, {"arc": task()}, smol("rtn-4"), config=args(recipe="rtn-4"))
    (finding,) = examine(run).findings
    assert finding.command is not None
    assert f"--output_path {tmp_path} --log_samples" in finding.command
