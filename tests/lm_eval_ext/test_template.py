"""The template of a plug-in package (docs/plugin-template): installed into an empty environment, and run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.venvs import LM_EVAL, ROOT, SITE, Venv, build

TEMPLATE = ROOT / "docs" / "plugin-template"


@pytest.fixture(scope="module")
def env(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """An environment with our wheel and the template's."""
    folder = tmp_path_factory.mktemp("template")
    env = Venv(folder / "venv")
    env.install(wheel)
    env.install(build(folder, root=TEMPLATE))
    env.see(SITE)
    return env


def test_the_template_is_as_short_as_promised() -> None:
    lines = (TEMPLATE / "lm_eval_ext_toy.py").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= 45


def test_it_is_listed_with_its_package_and_imported_by_nobody(env: Venv, tmp_path: Path) -> None:
    done = env.run(env.folder / "bin" / "lm-eval-ext", "recipes", "list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["method", "sign", "lm-eval-ext-toy", "0.1"] in rows
    assert ["data", "set", "parcels", "lm-eval-ext-toy", "0.1"] in rows
    source = (
        "import sys\n"
        "from lm_eval_ext.models.recipe.catalogue import method_names\n"
        "from lm_eval_ext.datasets.catalogue import dataset_entries\n"
        "print('sign' in method_names(), 'parcels' in dataset_entries(), 'lm_eval_ext_toy' in sys.modules)\n"
        "from lm_eval_ext.tasks.brought import brought_tasks\n"
        "print([name for name, *_ in brought_tasks()], *{'torch', 'lm_eval', 'transformers'} & set(sys.modules))"
    )
    assert env.code(source, tmp_path).stdout == "True True False\n['parcels_letters']\n"


@pytest.mark.slow
def test_its_method_and_its_data_set_run_through_the_stock_command(
    env: Venv, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    arguments = ["--model_args", f"pretrained={tiny_checkpoint},method=sign", "--device", "cpu"]
    job = ["--tasks", "parcels_letters", "--log_samples", "--output_path", "runs"]
    done = env.run(LM_EVAL, "--model", "compressed_hf", *arguments, *job, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = (tmp_path / "runs").rglob("results_*.json")
    found = json.loads(results.read_text())
    evidence = found["config"]["compression"]
    assert (evidence["label"], evidence["method"], evidence["bits"]) == ("sign-1", "sign", 1.0)
    assert (evidence["status"], evidence["totals"]["matrices"]) == ("proved", 14)
    assert found["n-samples"]["parcels_letters"]["effective"] == 3
    (samples,) = (tmp_path / "runs").rglob("samples_parcels_letters_*.jsonl")
    items = [json.loads(line)["doc"]["item"] for line in samples.read_text().splitlines()]
    assert sorted(item["item_id"] for item in items) == [f"parcels/doors/{number}" for number in range(3)]
    assert all(item["scheme"]["axes"]["courier"] == "toward" for item in items)


def test_its_own_test_passes(env: Venv, tmp_path: Path) -> None:
    done = env.run("-m", "pytest", "-q", "-p", "no:cacheprovider", TEMPLATE, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "6 passed" in done.stdout


def test_a_task_that_there_is_already_is_left_as_it_is(env: Venv, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "mine.yaml").write_text("task: parcels_letters\ndataset_path: json\noutput_type: generate_until\n")
    source = (
        "from lm_eval.tasks import TaskManager\n"
        f"manager = TaskManager(include_defaults=False, include_path={str(mine)!r})\n"
        "print(manager.task_index['parcels_letters'].yaml_path)"
    )
    done = env.code(source, tmp_path)
    assert done.stdout.splitlines()[-1] == str(mine / "mine.yaml"), done.stderr
    assert "task parcels_letters of package lm-eval-ext-toy 0.1 is left out" in done.stderr


def test_a_data_set_that_cannot_be_loaded_costs_a_line(wheel: Path, tmp_path: Path) -> None:
    from tests.helpers.packages import write_package

    env = Venv(tmp_path / "venv")
    env.install(wheel)
    write_package(env.site, {"lm_eval_ext.datasets": {"broken": "absent:X"}}, name="broken-lm")
    env.see(SITE)
    source = (
        "from lm_eval.tasks import TaskManager\n"
        "print('bbq_itemlevel_demo' in TaskManager(include_defaults=False).all_tasks)"
    )
    done = env.code(source, tmp_path)
    assert done.stdout == "True\n", done.stderr
    assert done.stderr.count("package broken-lm 0.1: data set 'broken' (absent:X) can't be loaded") == 1
    assert "Traceback" not in done.stderr
