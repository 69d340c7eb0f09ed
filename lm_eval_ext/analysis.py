"""The package `analysis` under a name that no file of a user's can take: `from lm_eval_ext.analysis import analyze`.

A notebook often lies beside an `analysis.py` of its own, which Python finds first. Where the `analysis` that Python
finds is ours, this module is that very module, and so are its submodules. Where it is another, ours is loaded from its
place beside `lm_eval_ext` under the name `lm_eval_ext.analysis`; that changes nothing, as all its imports are relative.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from lm_eval_ext.errors import UserError

if TYPE_CHECKING:
    from analysis import *  # noqa: F403  (for type checkers alone; what runs is below)
    from analysis import publish as publish
    from analysis import report as report

_NAME = "analysis"
# Beside lm_eval_ext: in a checkout, which is what an editable install points to, and in site-packages.
_OURS = Path(__file__).parent.parent / _NAME / "__init__.py"


def _check() -> None:
    """Refuse to go on without our package, or with another's files in its place.

    Raises:
        UserError: Naming the file that is missing or foreign.
    """
    if _OURS.is_file() and (_OURS.parent / "pipeline.py").is_file():
        return
    found = "is another package's" if _OURS.is_file() else "is missing"
    raise UserError(
        f"the package analysis of lm-eval-ext can't be loaded: {_OURS} {found}. "
        "Reinstall lm-eval-ext, in an environment where no other package brings a module analysis"
    )


def _is_ours() -> bool:
    """Whether `import analysis` gives our package. What is found is not run: it may be anything."""
    found: ModuleType | ModuleSpec | None = sys.modules[_NAME] if _NAME in sys.modules else find_spec(_NAME)
    # A folder without __init__.py has no file.
    place = getattr(found, "origin" if isinstance(found, ModuleSpec) else "__file__", None)
    return place is not None and Path(place).resolve() == _OURS.resolve()


class _SameModules(MetaPathFinder, Loader):
    """Finds `lm_eval_ext.analysis.X` as `analysis.X`, so that no module and no class of it is there twice."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for submodules of this module alone."""
        return ModuleSpec(fullname, self) if fullname.startswith(f"{__name__}.") else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the other module in this one's place: what stands in sys.modules at the end is what the import gives."""
        sys.modules[module.__name__] = import_module(_NAME + module.__name__.removeprefix(__name__))


def _load() -> None:
    """Load our package under this module's name."""
    spec = spec_from_file_location(__name__, _OURS, submodule_search_locations=[str(_OURS.parent)])
    assert spec is not None
    assert spec.loader is not None
    sys.modules[__name__] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[__name__])


_check()
if _is_ours():
    sys.meta_path.insert(0, _SameModules())
    sys.modules[__name__] = import_module(_NAME)
else:
    _load()
