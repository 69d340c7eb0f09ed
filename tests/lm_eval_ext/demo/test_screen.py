"""What a terminal and a file see of the demonstration's steps; time is set by hand."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from lm_eval_ext.demo.screen import Screen, clock


class Time:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr("lm_eval_ext.demo.screen.time", clock)
    return clock


def shown(screen: Screen, time: Time, file: io.StringIO) -> list[str]:
    """Two steps, the first of which takes 60 seconds; the second is four times as long. Halfway it goes back once."""
    with screen:
        screen.say("[begin]")
        screen.begin("a [b]")
        time.now = 30
        screen.move("thinking", 0.5)
        screen.move("resting", 0.4)
        screen._bar.refresh()
        time.now = 60
        screen.end()
        screen.rest()
        screen.begin("c")
        screen.end()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue()).replace("\r", "\n").splitlines()


@pytest.mark.parametrize("verbose", [False, True])
def test_plain_lines_where_nothing_moves(verbose: bool, time: Time) -> None:
    file = io.StringIO()
    screen = Screen(Console(file=file, force_terminal=verbose, width=30), [1, 4], moving=not verbose)
    assert shown(screen, time, file) == [
        "[begin]",
        "step 1 of 2, a [b] ...",
        "step 1 of 2, a [b]: 1:00, about 4:00 left",
        "step 2 of 2, c ...",
        "step 2 of 2, c: 0:00",
    ]


def test_a_terminal_has_a_line_that_moves(time: Time) -> None:
    file = io.StringIO()
    lines = [
        line.strip()
        for line in shown(Screen(Console(file=file, force_terminal=True, width=80), [1, 4], moving=True), time, file)
    ]
    (moved,) = {line for line in lines if "resting" in line}
    # Half of a fifth is done after 30 seconds: nine times as much is left, and what is done stays done.
    assert re.fullmatch(r"\S 1/2 a \[b\]: resting [━╸╺]+ +10%  0:30, about 4:30 left", moved)
    assert lines.count("step 1 of 2, a [b]: 1:00") == 1
    assert "\x1b[?25h" in file.getvalue()  # the cursor is back


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (60, "1:00"), (3605, "60:05")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
