"""A command in a process of its own: its output goes to a file, and from there it is told how far it has come."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ended_with_us", "last_lines", "position", "watch"]

_PAUSE = 0.25
# What lm_eval's bars are called, what a reader calls it, and which part of a run lies before it and with it. The parts
# are those of the demonstration on two cores; a run that skips one only moves on faster.
_PHASES = {
    "Loading weights": ("loading the model", 0.0, 0.05),
    "Compressing": ("compressing", 0.05, 0.25),
    "Running loglikelihood requests": ("answering the items", 0.25, 0.85),
    "Running loglikelihood_rolling requests": ("reading the text", 0.85, 1.0),
}
_BAR = re.compile(rf"({'|'.join(_PHASES)})[^\r\n|]*?: +(\d+)%\|")
_ANY_BAR = re.compile(r"\d+%\|")
_TAIL = 4096


def watch(command: Sequence[str], environment: Mapping[str, str], log: Path | None, look: Callable[[], object]) -> int:
    """Run a command to its end; leaving early, by whatever exception, ends it.

    Args:
        command: Program and arguments.
        environment: All its variables.
        log: File that its output is added to; None leaves it on the terminal.
        look: Called four times a second while it runs.

    Returns:
        Its exit code.
    """
    output = None if log is None else log.open("ab")
    try:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output and subprocess.STDOUT
        )
        try:
            while True:
                look()
                try:
                    return process.wait(_PAUSE)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:
                _stop(process)
            look()
    finally:
        if output is not None:
            output.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def ended_with_us() -> Iterator[None]:
    """Let a request to end, or a terminal that closes, be an exception, so that the command is ended too."""
    signals = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
    # Elsewhere than in the main thread Python lets nobody set a handler; what is ignored (nohup) stays so.
    main = threading.current_thread() is threading.main_thread()
    mine = [number for number in signals if main and signal.getsignal(number) is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def position(log: Path, start: int) -> tuple[str, float]:
    """How far a run of lm_eval has come, by the last bar in its log.

    Args:
        log: The file.
        start: Where the run begins in it, in bytes.

    Returns:
        What it does, in words, and the part of it that is done, from 0 to 1; ("", 0) before the first bar.
    """
    with log.open("rb") as file:
        file.seek(max(start, file.seek(0, os.SEEK_END) - _TAIL))
        text = file.read().decode(errors="replace")
    bars = _BAR.findall(text)
    if not bars:
        return "", 0.0
    phase, percent = bars[-1]
    words, begin, end = _PHASES[phase]
    return words, begin + (end - begin) * int(percent) / 100


def last_lines(log: Path, start: int, most: int = 12) -> list[str]:
    """The last lines that a command wrote, without bars and blank ones."""
    with log.open("rb") as file:
        file.seek(start)
        lines = re.split(r"[\r\n]+", file.read().decode(errors="replace"))
    return [line for line in lines if line.strip() and not _ANY_BAR.search(line)][-most:]
