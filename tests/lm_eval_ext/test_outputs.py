"""What lm_eval can't write is told before the run, and what it failed to write is told after it."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lm_eval_ext import plugin
from lm_eval_ext.errors import UserError
from lm_eval_ext.outputs import _lines, refuse_unwritable
from tests.helpers.venvs import LM_EVAL, Venv

RESULTS = {
    "results": {"t": {"alias": "t", "acc,none": 0.5, "acc_stderr,none": "N/A"}},
    "versions": {"t": 1}, "n-shot": {"t": 0}, "higher_is_better": {"t": {"acc": True}}, "configs": {"t": {}},
}  # fmt: skip
SAMPLE = {"arguments": [["p", " A"]], "resps": [[("-1.0", "True")]], "filtered_resps": [("-1.0", "True")], "target": 0}
SAMPLE |= {"doc_hash": "a", "prompt_hash": "b", "target_hash": "c", "doc": {"text": "word " * 40}}


def test_a_folder_that_can_be_written_passes_and_is_not_made(tmp_path: Path) -> None:
    refuse_unwritable(str(tmp_path))
    refuse_unwritable(str(tmp_path / "new" / "deeper"))
    refuse_unwritable(str(tmp_path / "new" / "results.json"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["file", "file/below", "file/below/x.json"])
def test_a_file_where_a_folder_is_needed(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file, not a folder"):
        refuse_unwritable(str(tmp_path / path))


@pytest.mark.skipif(not Path("/sys").is_dir(), reason="/sys is Linux's")
def test_a_folder_that_refuses_files() -> None:
    # Not even root makes files there.
    with pytest.raises(UserError, match=r"--output_path /sys/runs can't be written to \((Operation|Permission|Read)"):
        refuse_unwritable("/sys/runs")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        refuse_unwritable(str(tmp_path / "runs"))


@contextmanager
def small_files() -> Iterator[None]:
    """Stands for a full disk: no file may be larger than 2,000 bytes."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_a_disk_that_is_full_is_seen_before_the_run(tmp_path: Path) -> None:
    with small_files(), pytest.raises(UserError, match="File too large"):
        refuse_unwritable(str(tmp_path))


@pytest.fixture
def tracker(tmp_path: Path) -> object:
    """lm_eval's own tracker with our guard, about to write into a folder."""
    plugin.check_output()
    plugin.check_output()
    from lm_eval.loggers import EvaluationTracker

    made = EvaluationTracker(output_path=str(tmp_path / "runs"))
    made.general_config_tracker.model_name_sanitized = "m"
    return made


def test_what_is_written_whole_passes(tracker: object, tmp_path: Path) -> None:
    tracker.save_results_aggregated(dict(RESULTS), {"t": [SAMPLE]})
    tracker.save_results_samples("t", [dict(SAMPLE), dict(SAMPLE)])
    results, samples = sorted((tmp_path / "runs" / "m").iterdir())
    assert json.loads(results.read_text())["results"] == RESULTS["results"]
    assert len(samples.read_text().splitlines()) == 2


def test_a_single_results_file_and_no_output_pass(tmp_path: Path) -> None:
    plugin.check_output()
    from lm_eval.loggers import EvaluationTracker

    for path in (str(tmp_path / "mine.json"), None):
        tracker = EvaluationTracker(output_path=path)
        tracker.save_results_aggregated(dict(RESULTS), {"t": [SAMPLE]})
        tracker.save_results_samples("t", [dict(SAMPLE)])
    assert sorted(path.name.split("_")[0] for path in tmp_path.iterdir()) == ["mine", "samples"]


def test_samples_that_fill_the_disk_are_an_error_and_leave_no_half(
    tracker: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker.save_results_aggregated(dict(RESULTS), {"t": [SAMPLE]})
    with small_files(), pytest.raises(UserError, match=r"samples_t_.*jsonl could not be written \(File too large\)"):
        tracker.save_results_samples("t", [dict(SAMPLE) for _ in range(40)])
    assert [path.name.split("_")[0] for path in (tmp_path / "runs" / "m").iterdir()] == ["results"]
    assert "|acc   |" in capsys.readouterr().out


def test_results_that_fill_the_disk_are_an_error_and_leave_no_half(
    tracker: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_files(), pytest.raises(UserError, match=r"results_.*json could not be written"):
        tracker.save_results_aggregated(RESULTS | {"config": "long " * 1000}, {"t": [SAMPLE]})
    assert list((tmp_path / "runs" / "m").iterdir()) == []
    assert "|acc   |" in capsys.readouterr().out


def test_results_that_cant_be_written_as_text(tracker: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"could not be written \(the warnings above say why\)"):
        tracker.save_results_aggregated(RESULTS | {"config": {"model_args": "\udce9"}}, {"t": [SAMPLE]})
    assert list((tmp_path / "runs" / "m").iterdir()) == []


@pytest.mark.slow
def test_the_stock_command_ends_before_the_model_is_loaded(installed: Venv, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    arguments = ["--model", "hf", "--model_args", "pretrained=/nope", "--tasks", "bbq_itemlevel_demo"]
    done = installed.run(LM_EVAL, *arguments, "--output_path", "taken/runs", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: --output_path taken/runs: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "lines"), [(b"", 0), (b"a\n", 1), (b"a\nb", -1), (b"a", -1), (b"a\n" * 600_000, 600_000), (b"\n", 1)]
)
def test_lines_count_only_where_the_last_is_whole(text: bytes, lines: int, tmp_path: Path) -> None:
    (tmp_path / "samples.jsonl").write_bytes(text)
    assert _lines(tmp_path / "samples.jsonl") == lines


def test_samples_that_stop_between_two_lines_are_an_error(tracker: object, tmp_path: Path) -> None:
    tracker.save_results_aggregated(dict(RESULTS), {"t": [SAMPLE]})
    with pytest.raises(UserError, match=r"samples_t_.*jsonl could not be written \(the warnings above say why\)"):
        tracker.save_results_samples("t", [dict(SAMPLE), {"arguments": []}])
    assert [path.name.split("_")[0] for path in (tmp_path / "runs" / "m").iterdir()] == ["results"]
