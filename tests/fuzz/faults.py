"""What can happen while an analysis runs: it is killed, others write to the same place, the disk is full.

`Runner` starts analyses without the seconds that imports take: one interpreter loads everything and forks.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from random import Random
from types import TracebackType

__all__ = ["Ended", "Runner", "damage", "strangers"]

_SIGNAL = 9


@dataclass(frozen=True)
class Ended:
    """How an analysis ended."""

    code: int
    """The command's exit code; negative for the signal that ended it."""
    said: str
    """Standard output and error."""
    seconds: float


class Runner:
    """Runs `lm-eval-ext analyze` again and again, each time in a process of its own."""

    def __init__(self) -> None:
        """Start the interpreter that forks."""
        self._server = subprocess.Popen(
            [sys.executable, "-c", "from tests.fuzz.faults import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Runner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()

    def start(self, runs: Path, output: Path, cache: Path, *, most: int = 0) -> Running:
        """Start an analysis; with `most`, no file may get more than so many bytes."""
        said = output.with_name(f"said-{time.monotonic_ns()}.txt")
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(runs, output, cache, most, said, sep="\t", file=self._server.stdin, flush=True)
        return Running(int(self._server.stdout.readline()), said)


class Running:
    """An analysis under way. A kill hits its main process alone."""

    def __init__(self, process: int, said: Path) -> None:
        """From the process and the file that it writes its end to."""
        self._process, self._said, self._start = process, said, time.monotonic()

    def kill(self) -> None:
        """End it as a power cut does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process, _SIGNAL)

    def wait(self) -> Ended:
        """Wait for its end."""
        done = self._said.with_suffix(".done")
        while not done.exists():
            time.sleep(0.005)
        time.sleep(0.001)
        code = int(done.read_text() or "0")
        said = self._said.read_text()
        done.unlink()
        self._said.unlink()
        return Ended(code, said, time.monotonic() - self._start)


def serve() -> None:
    """Fork an analysis for each line of standard input, and tell its process; what the interpreter of `Runner` does."""
    from analysis.logs import cache
    from lm_eval_ext.cli import main

    import_module("analysis.pipeline")  # once, before the forks
    cache.SMALLEST = 0  # the test's logs are small, and the cache is to be written
    for line in sys.stdin:
        runs, output, kept, most, said = line.rstrip("\n").split("\t")
        watcher = os.fork()
        if watcher:
            continue
        process = os.fork()
        if process:
            # The watcher tells the process, waits for its end and writes it down.
            print(process, flush=True)
            status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            part = Path(said).with_suffix(".part")
            part.write_text(str(status))
            part.rename(Path(said).with_suffix(".done"))
            os._exit(0)
        file = os.open(said, os.O_CREAT | os.O_WRONLY)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.environ["LM_EVAL_EXT_CACHE"] = kept
        if int(most):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))
        sys.argv = ["lm-eval-ext", "analyze", runs, "--output", output]
        try:
            code = main() or 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException as error:
            print(f"Traceback: {type(error).__name__}: {error}")
            code = 70
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(int(code))


def damage(path: Path, others: list[Path], rng: Random) -> str:
    """Damage a file in some way, or put another in its place; returns how."""
    raw = path.read_bytes()
    place = rng.randrange(len(raw))
    other = rng.choice(others).read_bytes()
    made = {
        "a bit flipped": raw[:place] + bytes([raw[place] ^ 1 << rng.randrange(8)]) + raw[place + 1 :],
        "cut off": raw[:place],
        "empty": b"",
        "zeros from a place on": raw[:place] + bytes(len(raw) - place),
        "another entry's content": other,
        "no Parquet": b"{}",
        "longer": raw + b"\x00" * 64,
    }
    how = rng.choice([*made])
    path.write_bytes(made[how])
    return f"{path.name[:20]} {how}"


def strangers(folder: Path, *known: str) -> list[str]:
    """Names in a folder other than those known: what a killed analysis has left."""
    return sorted(path.name for path in folder.iterdir() if path.name not in known)
