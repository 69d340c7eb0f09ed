"""Start-up hook through which a stock ``lm_eval`` finds lm-eval-ext; docs/plugin.md tells the whole story.

``lm_eval_ext_hook.pth`` runs this at every start of the interpreter, so it imports only ``sys``
(importlib.util alone would cost ten times the rest) and does nothing until lm_eval itself is imported. The
work is done by ``lm_eval_ext.plugin``.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType
else:
    Loader = object

# A module of lm_eval, and the function of lm_eval_ext.plugin to call once that module has run.
_STEPS = {
    "lm_eval.models": "register_model",
    "lm_eval.tasks": "add_tasks",
    "lm_eval.loggers.evaluation_tracker": "check_output",
}


def _run(step: str) -> None:
    """Call one function of lm_eval_ext.plugin; whatever goes wrong costs a line on stderr, never lm_eval."""
    try:
        from lm_eval_ext import plugin

        getattr(plugin, step)()
    except Exception as error:
        reason = " ".join(str(error).split())
        # A file of that name beside a notebook is found before ours.
        taken = getattr(sys.modules.get("lm_eval_ext"), "__file__", None)
        mend = f"If {taken} is yours, rename it; else reinstall" if taken else "Reinstall"
        sys.stderr.write(
            f"lm-eval-ext: start-up hook failed in {step} ({type(error).__name__}: {reason}); lm_eval goes "
            f"on without it. {mend} lm-eval-ext, or set LM_EVAL_EXT_NO_HOOK=1.\n"
        )


class _Loader(Loader):
    """Stands in for a module's loader once, to run our step after the module's own code."""

    def __init__(self, loader: "Loader", step: str) -> None:
        self._loader = loader
        self._step = step

    def create_module(self, spec: "ModuleSpec") -> "ModuleType | None":
        return self._loader.create_module(spec)

    def exec_module(self, module: "ModuleType") -> None:
        # The module keeps its real loader: nothing of ours shows in it afterwards.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _run(self._step)

    def __getattr__(self, name: str) -> object:
        # Tools that look at a spec without importing it ask its loader for more (get_code, get_source, ...).
        return getattr(self._loader, name)


class _Finder:
    """Meta-path finder that answers only for the modules in ``_STEPS``, from what the other finders say."""

    @staticmethod
    def find_spec(
        name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if name not in _STEPS:
            return None
        for finder in sys.meta_path:
            spec = None if finder is _Finder else finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, _STEPS[name])
                return spec
        return None


sys.meta_path.insert(0, _Finder)
