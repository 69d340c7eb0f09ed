"""The command `lm-eval-ext`: what it lists, what it passes on, and how a user's fault looks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

import analysis.errors
import lm_eval_ext
from lm_eval_ext.cli import main
from tests.helpers.packages import write_package
from tests.helpers.venvs import ROOT, Venv

RECIPES = {path.stem: path for path in (ROOT / "recipes").glob("*.yaml")}


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command in this process; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["lm-eval-ext", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"lm-eval-ext {lm_eval_ext.__version__}\n"


def test_recipes_list(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "recipes", "list") == 0
    recipes, _, entries = capsys.readouterr().out.partition("\n\n")
    lines = recipes.splitlines()
    assert [line.split()[0] for line in lines] == sorted(RECIPES)
    seen = [re.split(r"\s{2,}", line) for line in entries.splitlines()]
    for row in (["method", "wanda"], ["backend", "native"], ["data set", "crows_pairs"]):
        assert [*row, "lm-eval-ext 0.1.0"] in seen
    for line in lines:
        name, methods = line.split("  ")[0], line.split()[1]
        recipe = yaml.safe_load(RECIPES[name].read_text())
        cache = recipe.get("kv", {}).get("format", "none")
        alone = "kv" if cache.startswith("int") else cache if cache == "none" else f"kv_{cache}"
        assert methods == ("+".join(step["method"] for step in recipe["steps"]) or alone)


def test_what_other_packages_bring_is_listed_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nothing of it can be imported: names come from metadata alone.
    groups = {"methods": {"halve": "absent:Halve", "rtn": "absent:Rtn"}, "datasets": {"parcels": "absent:PARCELS"}}
    write_package(tmp_path, {f"lm_eval_ext.{group}": lines for group, lines in groups.items()}, name="halving-lm")
    monkeypatch.syspath_prepend(tmp_path)
    assert call(monkeypatch, "recipes", "list") == 2
    seen = capsys.readouterr()
    rows = [re.split(r"\s{2,}", line) for line in seen.out.partition("\n\n")[2].splitlines()]
    assert ["method", "halve", "halving-lm 0.1"] in rows
    assert ["method", "rtn", "lm-eval-ext 0.1.0 and halving-lm 0.1"] in rows
    assert ["data set", "parcels", "halving-lm 0.1"] in rows
    clash = "method 'rtn' is offered by lm-eval-ext 0.1.0 and by halving-lm 0.1; uninstall all but one"
    assert seen.err.splitlines()[-1] == f"error: {clash}"
    # Our own recipes of that method can't say which one they mean.
    assert f"error: recipe 'rtn-4': {clash}" in seen.err.splitlines()


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipes_show(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "recipes", "show", name) == 0
    assert capsys.readouterr().out == RECIPES[name].read_text().rstrip() + "\n"


@pytest.fixture
def faulty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packaged recipes, one of them without a method that exists."""
    for name in ("dense", "rtn-4", "wanda-50"):
        (tmp_path / f"{name}.yaml").write_text(RECIPES[name].read_text())
    (tmp_path / "broken.yaml").write_text("name: broken\nsteps: [{method: wandb, sparsity: 0.5}]\n")
    monkeypatch.setattr("lm_eval_ext.models.recipe.files.recipe_folder", lambda: tmp_path)
    return tmp_path


@pytest.mark.usefixtures("faulty_folder")
def test_a_bad_recipe_is_named_and_the_others_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "recipes", "list") == 2
    seen = capsys.readouterr()
    recipes = seen.out.partition("\n\n")[0]
    assert [line.split()[0] for line in recipes.splitlines()] == ["dense", "rtn-4", "wanda-50"]
    assert len(seen.err.splitlines()) == 1
    assert seen.err.startswith("error: recipe 'broken': unknown method 'wandb'. Did you mean 'wanda'?")


@pytest.mark.parametrize("text", ["name: x\nsteps: [{method: wandb}]\n", "name: x\nsteps: [", "[]", "\udcff"])
def test_show_refuses_an_invalid_recipe(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    assert call(monkeypatch, "recipes", "show", str(file)) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert len(seen.err.splitlines()) == 1
    assert str(file) in seen.err


def test_users_fault_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "recipes", "show", "wnda-50") == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert len(seen.err.splitlines()) == 1
    assert seen.err.startswith("error: unknown recipe 'wnda-50'. Did you mean 'wanda-50'?")


def test_fault_of_the_other_package_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(name: str) -> str:
        raise analysis.errors.UserError(f"nothing to\nanalyse in {name}")

    monkeypatch.setattr("lm_eval_ext.models.recipe.files.load_recipe", fail)
    assert call(monkeypatch, "recipes", "show", "runs") == 2
    assert capsys.readouterr().err == "error: nothing to analyse in runs\n"


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_EVAL_EXT_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["lm-eval-ext", "recipes", "show", "wnda-50"])
    with pytest.raises(lm_eval_ext.errors.UserError, match="wnda-50"):
        main()


def test_our_own_fault_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("lm_eval_ext.models.recipe.files.load_recipe", fail)
    monkeypatch.setattr(sys, "argv", ["lm-eval-ext", "recipes", "show", "any"])
    with pytest.raises(ZeroDivisionError):
        main()


def test_command_line_loads_nothing_heavy(installed: Venv, tmp_path: Path) -> None:
    source = (
        "import sys, lm_eval_ext.cli\n"
        "print(*{'torch', 'transformers', 'lm_eval', 'datasets', 'pandas', 'numpy'} & set(sys.modules))"
    )
    done = installed.code(source, tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (
            [
                "--model",
                "compressed_hf",
                "--model_args",
                "pretrained=M,bits=4",
                "-s",
                "-b",
                "4",
                "-o",
                "runs",
            ],
            [
                "run",
                "--model",
                "compressed_hf",
                "--model_args",
                "pretrained=M,bits=4",
                "-s",
                "-b",
                "4",
                "-o",
                "runs",
            ],
        ),
        (["run", "--tasks", "a,b", "--limit=8"], ["run", "--tasks", "a,b", "--limit=8"]),
        (["ls", "tasks", "--include_path", "d"], ["ls", "tasks", "--include_path", "d"]),
        (
            ["-E", '{"a": [1, 2]}', "--gen_kwargs", "x=1", "y=2"],
            ["run", "-E", '{"a": [1, 2]}', "--gen_kwargs", "x=1", "y=2"],
        ),
        (["--help"], ["run", "--help"]),
        ([], ["run"]),
    ],
)
def test_run_passes_everything_on(given: list[str], passed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", lambda: seen.append(sys.argv[1:]))
    assert call(monkeypatch, "run", *given) == 0
    assert seen == [passed]


@pytest.mark.slow
def test_run_knows_our_tasks_where_the_hook_is_off(installed: Venv, tmp_path: Path) -> None:
    off = {"LM_EVAL_EXT_NO_HOOK": "1"}
    arguments = ["validate", "--tasks", "bbq_itemlevel_demo"]
    done = installed.run(installed.folder / "bin" / "lm-eval-ext", "run", *arguments, cwd=tmp_path, env=off)
    assert (done.returncode, "All tasks found and valid" in done.stdout) == (0, True), done.stderr
