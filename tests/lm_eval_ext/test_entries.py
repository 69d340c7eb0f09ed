"""What other packages bring: found by metadata alone, loaded when used, and named in every error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lm_eval_ext.datasets.catalogue import find_dataset
from lm_eval_ext.entries import GROUPS, entries, find
from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends.registry import BACKENDS, backend_entries, backend_named
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.recipe.catalogue import METHODS, method_class, method_entries, method_names
from lm_eval_ext.models.recipe.resolve import recipe_keys, resolve
from tests.helpers.packages import write_package

METHOD = GROUPS["method"]
GOOD = """
from typing import Any, ClassVar, Literal
from lm_eval_ext.models.native.method import MatrixMethod

class Halve(MatrixMethod):
    kind: ClassVar[Literal["prune", "quantize"]] = "quantize"
    method: Literal["halve"] = "halve"
    depth: int = 1

    def apply(self, weight, matrix):
        return weight / 2**self.depth
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on sys.path; what a test imports from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_a_method_of_another_package(site: Path) -> None:
    write_package(site, {METHOD: {"halve": "halving:Halve"}}, {"halving.py": GOOD}, "halving-lm", "2.0")
    assert "halve" in method_names()
    assert "halving" not in sys.modules
    entry = method_entries()["halve"]
    assert (entry.package, entry.is_ours) == ("halving-lm 2.0", False)
    recipe = resolve(method="halve", depth=3)
    assert recipe.label == "halve(depth=3)"
    assert recipe.method == "halve"
    assert "depth" in recipe_keys(method="halve")
    assert "depth" not in recipe_keys(method="rtn")


def test_ours_are_listed_with_our_name() -> None:
    assert {entry.package for name, entry in method_entries().items() if name in METHODS} == {"lm-eval-ext 0.1.0"}
    assert set(BACKENDS) <= set(backend_entries())


@pytest.mark.parametrize("name", METHODS)
def test_our_methods_are_where_the_list_says(name: str) -> None:
    assert method_class(name).model_fields["method"].default == name


@pytest.mark.parametrize(
    ("target", "text", "line"),
    [
        ("absent:X", "", r"can't be loaded \(ModuleNotFoundError: No module named 'absent'\)"),
        ("mod:X", "import no_such_library\n", r"can't be loaded \(ModuleNotFoundError: No module named 'no_such"),
        ("mod:X", "def broken(:\n", r"can't be loaded \(SyntaxError: invalid syntax"),
        ("mod:X", "Y = 1\n", r"can't be loaded \(AttributeError: .*no attribute 'X'\)"),
        ("mod:X", "X = 1\n", r"is no config class of a method: it must be a subclass of Method or LibraryStep"),
        ("mod:X", "class X: ...\n", r"is no config class of a method"),
        ("mod:Halve", GOOD, r"says method 'halve'; write `method: Literal\[\"mine\"\] = \"mine\"`"),
        (
            "mod:X",
            "from typing import Literal\nfrom lm_eval_ext.models.recipe.step import LibraryStep\n"
            "class X(LibraryStep):\n    method: Literal['mine'] = 'mine'\n",
            r"lacks kind and backend, which every method must say",
        ),
    ],
)
def test_a_faulty_method_is_named_with_its_package(target: str, text: str, line: str, site: Path) -> None:
    write_package(site, {METHOD: {"mine": target}}, {"mod.py": text})
    with pytest.raises(UserError, match=rf"^package toy 0\.1: method 'mine' \({target}\) {line}") as caught:
        method_class("mine")
    assert "\n" not in str(caught.value)
    # Whoever asks for another method is not disturbed.
    assert make_step({"method": "rtn", "bits": 4}).method == "rtn"
    assert "bits" in recipe_keys(method="rtn")


def test_a_name_that_we_have_already(site: Path) -> None:
    write_package(site, {METHOD: {"rtn": "mod:Halve"}}, {"mod.py": GOOD})
    with pytest.raises(UserError, match=r"^method 'rtn' is offered by lm-eval-ext 0\.1\.0 and by toy 0\.1; uninstall"):
        method_class("rtn")


def test_a_name_of_two_packages(site: Path) -> None:
    for name in ("one", "two"):
        write_package(site, {METHOD: {"halve": "mod:Halve"}}, {"mod.py": GOOD}, name)
    with pytest.raises(UserError, match=r"method 'halve' is offered by (one|two) 0\.1 and by (one|two) 0\.1;"):
        method_class("halve")


def test_one_package_on_two_paths_is_one(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        write_package(site / folder, {METHOD: {"halve": "mod:Halve"}}, {"mod.py": GOOD})
        monkeypatch.syspath_prepend(site / folder)
    assert method_entries()["halve"].rivals == ()


def test_the_nearest_name(site: Path) -> None:
    write_package(site, {METHOD: {"halve": "mod:Halve"}}, {"mod.py": GOOD})
    with pytest.raises(UserError, match=r"unknown method 'halves'. Did you mean 'halve'\?"):
        method_class("halves")
    with pytest.raises(UserError, match="method must be a name, got 4"):
        find(4, method_entries(), "method")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("X = 1\n", "is no backend named 'mine': it needs the attributes name and prepare"),
        ("class X:\n    name = 'other'\n    def prepare(self): ...\n", "is no backend named 'mine'"),
        ("class X:\n    def __init__(self, x): ...\n", r"can't be made \(TypeError: .*missing 1 required"),
    ],
)
def test_a_faulty_backend(text: str, line: str, site: Path) -> None:
    write_package(site, {GROUPS["backend"]: {"mine": "mod:X"}}, {"mod.py": text})
    with pytest.raises(UserError, match=rf"^package toy 0\.1: backend 'mine' \(mod:X\) {line}"):
        backend_named("mine")


def test_a_step_of_a_backend_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"unknown backend 'nativ'. Did you mean 'native'\?"):
        backend_named("nativ")


def test_ours_alone_are_sorted() -> None:
    assert list(entries("method", {"b": "x:B", "a": "x:A"}))[:2] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("X = 1\n", "is no data set: expected a Dataset, got int"),
        (
            "from tests.helpers.toy import TOY_PLAIN as X\n",
            "is a data set named 'toy_plain'; both names must be the same",
        ),
        ("import no_such_library\n", "can't be loaded"),
    ],
)
def test_a_faulty_data_set(text: str, line: str, site: Path) -> None:
    write_package(site, {GROUPS["data set"]: {"mine": "mod:X"}}, {"mod.py": text})
    with pytest.raises(UserError, match=rf"^package toy 0\.1: data set 'mine' \(mod:X\) {line}"):
        find_dataset("mine")


def test_a_data_set_of_our_name(site: Path) -> None:
    write_package(site, {GROUPS["data set"]: {"bbq": "mod:X"}}, {"mod.py": "X = 1\n"})
    with pytest.raises(UserError, match=r"data set 'bbq' is offered by lm-eval-ext 0\.1\.0 and by toy 0\.1; uninstall"):
        find_dataset("bbq")


def test_a_data_set_of_another_package_is_found(site: Path) -> None:
    text = "from tests.helpers.toy import TOY_PLAIN\n"
    write_package(site, {GROUPS["data set"]: {"toy_plain": "mod:TOY_PLAIN"}}, {"mod.py": text})
    assert find_dataset("toy_plain").name == "toy_plain"
    assert find_dataset("bbq").name == "bbq"


OPTIONS = """
from typing import ClassVar, Literal
from lm_eval_ext.models.recipe.step import LibraryStep

class Mine(LibraryStep):
    kind: ClassVar[Literal["prune", "quantize"]] = "quantize"
    backend: ClassVar[str] = "native"
    method: Literal["mine"] = "mine"
    bits: int = 4
"""


def test_a_librarys_own_options(site: Path) -> None:
    write_package(site, {METHOD: {"mine": "mod:Mine"}}, {"mod.py": OPTIONS})
    recipe = resolve(method="mine", options={"damp": 0.1, "device": "cuda:1"})
    assert recipe.steps[0].options == {"damp": 0.1, "device": "cuda:1"}
    assert recipe.label == "mine(options=damp:0.1+device:cuda:1)"
    assert resolve(method="mine", options='{"damp": 0.1}').steps[0].options == {"damp": 0.1}
    file = site / "mine.yaml"
    file.write_text("name: gentle\nsteps: [{method: mine, bits: 3, options: {damp: 0.1, order: true}}]\n")
    # One option is replaced, the others stay.
    changed = resolve(recipe=str(file), options={"damp": 0.2})
    assert changed.steps[0].options == {"damp": 0.2, "order": True}
    assert changed.steps[0].bits == 3
    assert resolve(recipe=str(file)).label == "gentle"
    for wrong in ("damp:0.1", "[1]", 4):
        with pytest.raises(UserError, match="method mine: options"):
            resolve(method="mine", options=wrong)
