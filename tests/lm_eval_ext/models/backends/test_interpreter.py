"""Another interpreter for a library: what it has is asked of it, and it is it that works."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends.interpreter import interpreter_of, versions_in
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.recipe.build import make_step
from tests.helpers.tiny import write_tiny
from tests.helpers.venvs import SITE, Venv


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Venv:
    return Venv(tmp_path_factory.mktemp("other") / "venv")


def test_each_interpreter_tells_its_own_versions(venv: Venv) -> None:
    names = ("torch", "no-such-package")
    assert versions_in(None, names, "m") == {"torch": version("torch"), "no-such-package": None}
    with pytest.raises(UserError, match=f"method m: torch is not installed for {venv.python}; install it there"):
        versions_in(str(venv.python), names, "m")


@pytest.mark.parametrize(
    ("python", "line"),
    [
        ("/no/such/python", "the interpreter /no/such/python can't be started: No such file"),
        ("/bin/false", "does not answer as a Python"),
    ],
)
def test_what_is_no_interpreter_is_a_line(python: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        versions_in(python, ("torch",), "m")


def test_steps_that_follow_each_other_run_in_one() -> None:
    first = make_step({"method": "smoothquant", "options": {"python": "/a/python"}})
    second = make_step({"method": "llmc_rtn", "bits": 4, "options": {"python": "/b/python"}})
    assert interpreter_of([first, first]) == "/a/python"
    assert interpreter_of([make_step({"method": "llmc_rtn", "bits": 4})]) is None
    with pytest.raises(UserError, match="run in one interpreter, these ask for /a/python, /b/python"):
        interpreter_of([first, second])


@pytest.mark.slow
def test_the_other_interpreter_does_the_work(venv: Venv, tmp_path: Path, own_cache: Path) -> None:
    pytest.importorskip("llmcompressor", reason="llm-compressor is an extra")
    # Another environment with the same packages: that it is another one is what counts.
    venv.see(SITE)
    source = write_tiny("llama", tmp_path / "llama")
    options = {"python": str(venv.python)}
    model = CompressedHFLM(
        pretrained=str(source), device="cpu", method="llmc_rtn", bits=4, group_size=32, options=options
    )
    found = model.get_model_info()["compression"]
    assert (found["status"], found["bits"]) == ("proved", 4.0)
    assert found["claim"]["facts"]["python"] == str(venv.python) != sys.executable
