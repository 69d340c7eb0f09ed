"""A command whose output goes to a log: how far it is, what it said last, and that it ends when it is left."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from lm_eval_ext.demo.watch import ended_with_us, last_lines, position, watch

# As lm_eval and transformers write them: one bar over the other, each after a carriage return.
BARS = "\rRunning loglikelihood requests:   0%|          | 0/10 [00:00<?, ?it/s]"
HALF = "\rRunning loglikelihood requests:  50%|█████     | 5/10 [00:01<00:01,  4.0it/s]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("", 0.0)),
        ("INFO nothing yet\n", ("", 0.0)),
        ("Loading weights: 100%|██████████| 272/272 [00:00<00:00, 1.0it/s]", ("loading the model", 0.05)),
        ("Compressing (wanda):  50%|█████     | 105/210 [00:08<00:08]", ("compressing", 0.15)),
        (BARS, ("answering the items", 0.25)),
        (f"{BARS}{HALF}", ("answering the items", 0.55)),
        (f"{HALF}\nRunning loglikelihood_rolling requests:   0%|  | 0/6", ("reading the text", 0.85)),
        (f"{HALF}\nTokenizing inputs:   4%|▎         | 63/1800", ("answering the items", 0.55)),
    ],
)
def test_position_is_that_of_the_last_bar(text: str, expected: tuple[str, float], tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f"Running loglikelihood_rolling requests: 100%|█| 6/6\n{text}", encoding="utf-8")
    start = len("Running loglikelihood_rolling requests: 100%|█| 6/6\n".encode())
    words, part = position(log, start)
    assert (words, part) == (expected[0], pytest.approx(expected[1]))


def test_last_lines_are_of_this_command_and_no_bars(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(f"earlier\nfirst\n{BARS}{HALF}\n\n\nsecond\r\nerror: third", encoding="utf-8")
    assert last_lines(log, len("earlier\n")) == ["first", "second", "error: third"]
    assert last_lines(log, 0, most=2) == ["second", "error: third"]


def test_output_is_added_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    looks: list[int] = []
    source = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    assert watch([sys.executable, "-c", source], os.environ, log, lambda: looks.append(log.stat().st_size)) == 3
    assert log.read_text() == "before\nout\nerr\n"
    assert looks[-1] == log.stat().st_size


@pytest.mark.parametrize("stubborn", [False, True])
def test_leaving_ends_the_command(stubborn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One that takes no notice of a request to end is killed, after five seconds; the test waits for less.
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " if stubborn else ""
    source = f"import os, signal, time; {ignore}print(os.getpid(), flush=True); time.sleep(60)"
    log = tmp_path / "log"

    def look() -> None:
        if log.read_text().endswith("\n"):
            raise KeyboardInterrupt

    log.touch()
    with pytest.raises(KeyboardInterrupt):
        watch([sys.executable, "-c", source], os.environ, log, look)
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)


def test_a_request_to_end_is_an_exception_only_inside() -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with pytest.raises(SystemExit) as ended, ended_with_us():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_with_us():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
