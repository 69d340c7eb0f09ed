"""What holds for every test: a cache of its own, and nothing that is left out in silence."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.logs.cache import cache_folder
from lm_eval_ext.demo import model
from tests.helpers.shared import ROOT, shared_data, skipped_line


@pytest.mark.parametrize("number", [1, 2])
def test_no_test_sees_what_another_has_read(number: int) -> None:
    folder = cache_folder()
    assert not folder.exists()
    folder.mkdir()
    (folder / "seen").touch()


def test_fixtures_that_outlive_a_test_do_not_see_the_users_cache(
    monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.undo()
    whole = Path(os.environ["LM_EVAL_EXT_CACHE"])
    assert whole != own_cache
    assert whole.name.startswith("lm-eval-ext-tests-")


def test_the_demonstration_model_is_not_built_for_every_test(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = own_cache / "smollm2-135m-instruct"
    monkeypatch.undo()
    # What was built when the run began is there; another worker may have built it since.
    assert inside.exists() or not (Path(os.environ["LM_EVAL_EXT_CACHE"]) / inside.name).exists()
    monkeypatch.setenv("LM_EVAL_EXT_CACHE", str(own_cache))
    monkeypatch.setattr(model, "find_spec", lambda name: None)
    if inside.exists():  # built once, by whoever needs it; without it the package is asked for
        assert model.demo_model() == inside


def test_absent_data_skip_a_test_and_fail_where_nobody_watches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    monkeypatch.setenv("LM_EVAL_EXT_DATA", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    assert shared_data("there") == tmp_path / "there"
    with pytest.raises(pytest.skip.Exception, match="shared test data a/b is absent"):
        shared_data("a", "b")
    monkeypatch.setenv("CI", "true")
    assert shared_data("there") == tmp_path / "there"
    with pytest.raises(pytest.fail.Exception, match="CI=true"):
        shared_data("a", "b")


def test_a_run_without_the_data_says_so_in_its_last_lines(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "CI"} | {"LM_EVAL_EXT_DATA": str(tmp_path)}
    (tmp_path / "test_some.py").write_text(
        "import pytest\nfrom tests.helpers.shared import shared_data\n"
        "@pytest.mark.parametrize('n', range(5))\ndef test_one(n):\n    shared_data('x')\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "--rootdir", str(tmp_path), str(tmp_path)]
    without = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert without.returncode == 0, without.stdout + without.stderr
    assert skipped_line(["shared test data x is absent"] * 5) in without.stdout
    watched = subprocess.run(command, cwd=ROOT, env=env | {"CI": "true"}, capture_output=True, text=True)
    assert watched.returncode == 1
    assert "5 failed" in watched.stdout


def test_the_line_counts_what_was_skipped_for_want_of_data() -> None:
    reasons = ["shared test data bbq is absent", "needs a CUDA device", "shared test data x is absent"]
    assert (skipped_line(reasons) or "").startswith("2 tests were skipped")
    assert skipped_line(["needs a CUDA device"]) is None


def test_no_example_is_timed() -> None:
    @given(st.just(0.3))
    @settings(max_examples=1)
    def slow(seconds: float) -> None:
        time.sleep(seconds)

    slow()


@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"])
def test_a_number_of_threads_that_is_set_is_kept(variable: str) -> None:
    show = f"import os, tests.conftest; print(os.environ[{variable!r}])"
    for number, worker, kept in (("1", None, "1"), (None, None, "2"), (None, "gw0", "1"), ("2", "gw0", "2")):
        env = {k: v for k, v in os.environ.items() if k not in (variable, "PYTEST_XDIST_WORKER")}
        env |= {} if number is None else {variable: number}
        env |= {} if worker is None else {"PYTEST_XDIST_WORKER": worker}
        found = subprocess.run(
            [sys.executable, "-c", show], cwd=ROOT, env=env, check=True, capture_output=True, text=True
        )
        assert found.stdout.strip() == kept
