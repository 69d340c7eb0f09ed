"""lm_eval finds our model and tasks: through the start-up hook, through `activate`, and only once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.venvs import ROOT, SITE, Venv, build

# Prints what a stock lm_eval knows, as JSON; include_defaults=False leaves its own 14,000 names out.
PROBE = """
import json, logging, sys
from lm_eval.tasks import TaskManager
import lm_eval.models
from lm_eval.api.registry import model_registry
target = model_registry._objs.get("compressed_hf")
manager = TaskManager(include_defaults=False, include_path=sys.argv[1:] or None)
print(json.dumps({
    "target": target, "stock": "hf" in model_registry, "tasks": manager.all_tasks,
    "paths": {n: str(e.yaml_path) for n, e in manager.task_index.items()},
    "tags": {n: sorted(e.tags) for n, e in manager.task_index.items() if e.yaml_path is None},
    "heavy": sorted({"torch", "transformers"} & set(sys.modules)),
}))
"""


def probe(env: Venv, cwd: Path, *paths: Path, variables: dict[str, str] | None = None) -> dict[str, Any]:
    done = env.run("-c", PROBE, *paths, cwd=cwd, env=variables)
    assert done.returncode == 0, done.stderr
    known: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return known


def test_hook_makes_stock_lm_eval_know_us(installed: Venv, tmp_path: Path) -> None:
    known = probe(installed, tmp_path)
    assert known["target"] == "lm_eval_ext.models.compressed_hf:CompressedHFLM"  # a string, never an EntryPoint
    assert known["stock"] is True
    assert "bbq_itemlevel_demo" in known["tasks"]
    assert known["heavy"] == []


def test_hook_is_switched_off(installed: Venv, tmp_path: Path) -> None:
    known = probe(installed, tmp_path, variables={"LM_EVAL_EXT_NO_HOOK": "1"})
    assert known["target"] is None
    assert known["tasks"] == []
    assert known["stock"] is True


def test_hook_loads_one_module_and_nothing_more(installed: Venv, tmp_path: Path) -> None:
    source = "import sys; print(*sorted(sys.modules))"
    on = set(installed.code(source, tmp_path).stdout.split())
    off = set(installed.code(source, tmp_path, {"LM_EVAL_EXT_NO_HOOK": "1"}).stdout.split())
    assert on - off == {"_lm_eval_ext_hook"}


def test_users_task_wins_over_ours(installed: Venv, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "demo.yaml").write_text("task: bbq_itemlevel_demo\ndataset_path: json\noutput_type: generate_until\n")
    known = probe(installed, tmp_path, mine)
    assert known["paths"]["bbq_itemlevel_demo"] == str(mine / "demo.yaml")
    assert "bbq_itemlevel_text" in known["tasks"]


def test_our_folder_given_by_hand_changes_nothing(installed: Venv, tmp_path: Path) -> None:
    tasks = installed.site / "lm_eval_ext" / "tasks"
    assert probe(installed, tmp_path, tasks) == probe(installed, tmp_path)


def test_modules_keep_their_own_loader(installed: Venv, tmp_path: Path) -> None:
    source = """
import inspect, lm_eval.models, lm_eval.tasks
from importlib.machinery import SourceFileLoader
for module in (lm_eval.models, lm_eval.tasks):
    assert type(module.__loader__) is type(module.__spec__.loader) is SourceFileLoader, module.__loader__
    assert inspect.getsource(module)
"""
    done = installed.code(source, tmp_path)
    assert done.returncode == 0, done.stderr


def test_spec_can_be_looked_at_without_importing(installed: Venv, tmp_path: Path) -> None:
    name = "lm_eval.models"
    source = f"from importlib.util import find_spec; print(find_spec({name!r}).loader.get_filename({name!r}))"
    done = installed.code(source, tmp_path)
    assert Path(done.stdout.strip()).parts[-3:] == ("lm_eval", "models", "__init__.py"), done.stderr


@pytest.fixture
def hooked(tmp_path: Path) -> Venv:
    """An environment with the hook and the dependencies, but without lm_eval_ext."""
    env = Venv(tmp_path / "venv")
    for name in ("lm_eval_ext_hook.pth", "_lm_eval_ext_hook.py"):
        shutil.copy(ROOT / "hook" / name, env.site)
    env.see(SITE)
    return env


def test_missing_package_costs_a_line(hooked: Venv, tmp_path: Path) -> None:
    # The repository's editable path file isn't read here, so lm_eval_ext is really absent.
    assert hooked.code("pass", tmp_path).stderr == ""
    done = hooked.code("import lm_eval.models", tmp_path)
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("lm-eval-ext: start-up hook failed in register_model (ModuleNotFoundError: ")
    assert "LM_EVAL_EXT_NO_HOOK=1" in lines[0]


def test_broken_package_costs_a_line(hooked: Venv, tmp_path: Path) -> None:
    (hooked.site / "lm_eval_ext").mkdir()
    (hooked.site / "lm_eval_ext" / "__init__.py").write_text("def broken(:\n")
    assert hooked.code("pass", tmp_path).stderr == ""
    done = hooked.code("from lm_eval.tasks import TaskManager; TaskManager(include_defaults=False)", tmp_path)
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
    assert "SyntaxError" in done.stderr


def test_a_file_that_takes_our_name_is_named(installed: Venv, tmp_path: Path) -> None:
    (tmp_path / "lm_eval_ext.py").write_text("x = 1\n")
    done = installed.code("import lm_eval.models", tmp_path)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert f"If {tmp_path / 'lm_eval_ext.py'} is yours, rename it; else reinstall lm-eval-ext, or set" in line


def fake_lm_eval(env: Venv, registry: str, index: str = "") -> None:
    """A release of lm_eval that is unlike 0.4.13, in front of the real one."""
    for folder in ("api", "models", "tasks"):
        (env.site / "lm_eval" / folder).mkdir(parents=True)
        (env.site / "lm_eval" / folder / "__init__.py").write_text("")
    (env.site / "lm_eval" / "__init__.py").write_text("")
    (env.site / "lm_eval" / "api" / "registry.py").write_text(registry)
    (env.site / "lm_eval" / "tasks" / "_index.py").write_text(index)


@pytest.mark.parametrize("name", ["load_plugins", "import_plugins"])
def test_model_is_left_to_an_lm_eval_that_loads_plugins(wheel: Path, tmp_path: Path, name: str) -> None:
    env = Venv(tmp_path / "venv")
    env.install(wheel)
    # No model_registry at all: touching it would fail, and the hook would say so.
    fake_lm_eval(env, f"def {name}(): ...\n")
    done = env.code("import lm_eval.models", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_unknown_task_index_names_the_way_out(wheel: Path, tmp_path: Path) -> None:
    env = Venv(tmp_path / "venv")
    env.install(wheel)
    fake_lm_eval(env, "", "class TaskIndex:\n    def build(self, paths): return {}\n")
    done = env.code("import lm_eval.tasks", tmp_path)
    assert done.returncode == 0
    assert f"--include_path {env.site / 'lm_eval_ext' / 'tasks'}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_tag_that_exists_gets_our_tasks_added(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lm_eval.tasks import TaskManager, _index

    from lm_eval_ext import plugin

    def task(folder: str, name: str) -> Path:
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        text = f"task: {name}\ntag: shared\ndataset_path: json\noutput_type: generate_until\n"
        (path / f"{name}.yaml").write_text(text)
        return path

    monkeypatch.setattr(plugin, "TASKS_PATH", task("ours", "our_task"))
    # Unwrap what a hook in this interpreter may have wrapped, so that the folder above is the one in use.
    build_index = _index.TaskIndex.build
    monkeypatch.setattr(_index.TaskIndex, "build", staticmethod(getattr(build_index, "__wrapped__", build_index)))
    plugin.add_tasks()
    manager = TaskManager(include_defaults=False, include_path=task("theirs", "their_task"))
    assert manager.task_index["shared"].tags == {"our_task", "their_task"}


def test_activate_twice_wraps_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.api.registry import model_registry
    from lm_eval.tasks import _index

    from lm_eval_ext import plugin

    monkeypatch.setattr(_index.TaskIndex, "build", staticmethod(_index.TaskIndex.build))
    plugin.activate()
    first = _index.TaskIndex.build
    plugin.activate()
    assert _index.TaskIndex.build is first
    assert plugin.MODEL_NAME in model_registry
    assert "hf" in model_registry


def test_registering_keeps_a_class_that_is_loaded_already(monkeypatch: pytest.MonkeyPatch) -> None:
    import lm_eval.models  # noqa: F401  (fills the registry)
    from lm_eval.api.registry import model_registry

    from lm_eval_ext import plugin

    class Loaded: ...

    monkeypatch.setitem(model_registry._objs, plugin.MODEL_NAME, Loaded)
    plugin.register_model()
    assert model_registry._objs[plugin.MODEL_NAME] is Loaded


def test_simple_evaluate(installed: Venv, tmp_path: Path, tiny_checkpoint: Path) -> None:
    source = f"""
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
results = simple_evaluate(
    model="compressed_hf", model_args="pretrained={tiny_checkpoint},recipe=magnitude-50", device="cpu",
    tasks=["bbq_itemlevel_demo"], task_manager=TaskManager(include_defaults=False), limit=2,
)
print(results["config"]["compression"]["label"], results["n-samples"]["bbq_itemlevel_demo"]["effective"])
"""
    done = installed.code(source, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "magnitude-50 2"


@pytest.mark.slow
def test_accelerate_launch(installed: Venv, tmp_path: Path) -> None:
    options = [
        "--cpu",
        "--num_processes=1",
        "--num_machines=1",
        "--mixed_precision=no",
        "--dynamo_backend=no",
    ]
    arguments = ["--model", "dummy", "--tasks", "bbq_itemlevel_demo", "--limit", "2"]
    done = installed.run(*("-m", "accelerate.commands.launch", *options, "-m", "lm_eval", *arguments), cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "bbq_itemlevel_demo" in done.stdout


def test_editable_install_carries_the_hook(tmp_path: Path) -> None:
    env = Venv(tmp_path / "venv")
    before = env.files()
    env.install(build(tmp_path, "build_editable"))
    env.see(SITE)
    known = probe(env, tmp_path)
    assert known["target"] == "lm_eval_ext.models.compressed_hf:CompressedHFLM"
    assert "bbq_itemlevel_demo" in known["tasks"]
    assert Path(known["paths"]["bbq_itemlevel_demo"]).is_relative_to(ROOT / "lm_eval_ext")
    env.pip("uninstall", "--yes", "lm-eval-ext")
    (env.site / "zz_dependencies.pth").unlink()
    assert env.files() - before == set()


def test_the_hook_brings_no_module_but_itself(installed: Venv, tmp_path: Path) -> None:
    # What a start costs is measured in benchmarks/startup.py; what could make it dear is an import.
    code = "import sys; print(' '.join(sys.modules))"
    on, off = (
        installed.run("-c", code, cwd=tmp_path, env={"LM_EVAL_EXT_NO_HOOK": switch}).stdout.split() for switch in "01"
    )
    assert set(on) - set(off) == {"_lm_eval_ext_hook"}


@pytest.mark.parametrize(("sleep", "passed"), [(0.0, True), (0.4, False)])
def test_the_startup_benchmark_tells_a_cheap_hook_from_a_dear_one(tmp_path: Path, sleep: float, passed: bool) -> None:
    # The hook costs well below a millisecond; 200 leave room for whatever else the machine does meanwhile.
    hook = tmp_path / "hook"
    shutil.copytree(ROOT / "hook", hook, ignore=shutil.ignore_patterns("__pycache__"))
    with (hook / "_lm_eval_ext_hook.py").open("a") as module:
        module.write(f"\nimport time\ntime.sleep({sleep})\n")
    line = [sys.executable, ROOT / "benchmarks" / "startup.py", "--pairs", "7", "--limit-ms", "200", "--hook", hook]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == (0 if passed else 1), done.stdout + done.stderr
    (wall,) = (line for line in done.stdout.splitlines() if line.startswith("wall"))
    added = float(wall.split("added")[1].split()[0])
    assert 1000 * sleep - 200 < added < 1000 * sleep + 200
