"""How lm_eval finds our model and our tasks.

lm_eval 0.4.13 discovers nothing by itself. The start-up hook calls `register_model`, `add_tasks` and `check_output`
when lm_eval is imported; `lm-eval-ext run` calls `activate`. Each of them does nothing where its work is already
done, by us or by lm_eval, so hook, front-end and a later lm_eval that discovers plugins go together.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from lm_eval_ext.errors import show_in_one_line
from lm_eval_ext.threads import wait_politely

__all__ = [
    "MODELS",
    "MODEL_NAME",
    "MODEL_TARGET",
    "TASKS_PATH",
    "activate",
    "add_tasks",
    "check_output",
    "register_model",
]

log = logging.getLogger(__name__)

MODEL_NAME = "compressed_hf"
# A string, not an EntryPoint: lm_eval replaces only string placeholders by the class that they name.
MODEL_TARGET = "lm_eval_ext.models.compressed_hf:CompressedHFLM"
MODELS = {
    MODEL_NAME: MODEL_TARGET,
    "served_itemlevel": "lm_eval_ext.models.engines.served:ServedLM",
    "vllm_itemlevel": "lm_eval_ext.models.engines.in_process:InProcessVLLM",
}
"""Our models by the name that --model takes."""
TASKS_PATH = Path(__file__).parent / "tasks"
# Set on the function that we put in place of lm_eval's, so that it is wrapped only once.
_MARK = "adds_lm_eval_ext_tasks"


def activate(asked: Sequence[str] = ()) -> None:
    """Make the lm_eval of this process know our model and our tasks.

    Args:
        asked: Names of the tasks that are to be run, where they are known. If all are ours, lm_eval's own tasks stay
            out of the index: reading their 14,000 files is most of the time until a run starts.

    Imports lm_eval's registries, but no torch. Calling it again changes nothing.

    Raises:
        RuntimeError: If this release of lm_eval builds its task index in a way that we do not know.
    """
    # lm_eval.models first: lm_eval fills its own registry only while that is empty, so with our name in it
    # beforehand "hf" and all the others would be missing.
    import_module("lm_eval.models")
    register_model()
    tasks = import_module("lm_eval.tasks")
    add_tasks()
    if asked and set(asked) <= set(tasks.TaskManager(include_defaults=False).all_tasks):
        _leave_out(Path(str(tasks.__file__)).parent)
    check_output()


def _leave_out(folder: Path) -> None:
    """Keep a folder out of every task index that is built from here on."""
    index = import_module("lm_eval.tasks._index").TaskIndex
    build = index.build

    @wraps(build)
    def build_without(paths: Iterable[Path], *args: Any, **kwargs: Any) -> dict[str, Any]:
        found: dict[str, Any] = build([path for path in paths if path != folder], *args, **kwargs)
        return found

    index.build = staticmethod(build_without)


def register_model() -> None:
    """Register our models with lm_eval, unless lm_eval loads models from entry points by itself.

    Must run after lm_eval.models has registered lm_eval's own models. A model's module is not imported:
    lm_eval does that when the name is asked for. Threads are told how to wait while that still acts.
    """
    from lm_eval.api import registry

    show_in_one_line()
    wait_politely()
    if hasattr(registry, "load_plugins") or hasattr(registry, "import_plugins"):
        return
    for name, target in MODELS.items():
        if name not in registry.model_registry:
            registry.model_registry.register(name, target=target)


def check_output() -> None:
    """Have lm_eval's output folder checked before a run, and its files after it; see `outputs.guard_tracker`."""
    from lm_eval_ext.outputs import guard_tracker

    show_in_one_line()
    guard_tracker()


def add_tasks() -> None:
    """Make every TaskManager index our task folder, behind lm_eval's own tasks and the user's `include_path`.

    A name that lm_eval or the user has defined is left as it is. A tag that exists gets our tasks added;
    through `include_path` it would lose its other tasks instead, which is why we do not go that way.

    Raises:
        RuntimeError: If this release of lm_eval builds its task index in a way that we do not know.
    """
    index_module = import_module("lm_eval.tasks._index")
    original = vars(index_module.TaskIndex).get("build")
    if not isinstance(original, staticmethod):
        raise RuntimeError(f"TaskIndex.build is not what it was in lm_eval 0.4.13; use --include_path {TASKS_PATH}")
    build = original.__func__
    if _MARK in vars(build):
        return
    tag = index_module.Kind.TAG

    @wraps(build)
    def build_with_ours(*args: Any, **kwargs: Any) -> dict[str, Any]:
        index: dict[str, Any] = build(*args, **kwargs)
        for name, entry in build([TASKS_PATH]).items():
            present = index.setdefault(name, entry)
            if present is not entry and present.kind is tag and entry.kind is tag:
                present.tags |= entry.tags
        _add_brought(index, index_module)
        return index

    vars(build_with_ours)[_MARK] = True
    index_module.TaskIndex.build = staticmethod(build_with_ours)


def _add_brought(index: dict[str, Any], index_module: Any) -> None:
    """Put the tasks of other packages' data sets into an index; a name that is taken stays, with a warning."""
    from lm_eval_ext.tasks.brought import brought_tasks

    for name, package, config in brought_tasks():
        entry = index_module.Entry(name=name, kind=index_module.Kind.PY_TASK, yaml_path=None, cfg=config)
        if index.setdefault(name, entry) is not entry:
            log.warning("task %s of package %s is left out: there is another task of that name", name, package)
