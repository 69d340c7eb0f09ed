"""Several samples files at a time: this process reads, and so do others that it starts.

The others are plain interpreters that are given one file after the other. Unlike those of `multiprocessing` they do
not run the caller's main module again, so a script needs no guard and a notebook no file. Whatever another process
cannot do (it does not start, it is killed), this one does itself.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import cache
from .sources import Outcome, Source, read_source, spill_source

__all__ = ["WORTH", "read_sources", "serve", "usable_cores"]

WORTH = 256 << 20
"""Bytes of all files from which other processes are started: one takes as long to start as 50 MB take to read."""
_PACKED = 8
"""How much a packed file holds, in its own bytes: about."""
_WAITING = 4
"""Files read ahead of their turn that are held in memory."""
_MOST = 8
_READY = b"ready\n"


def usable_cores() -> int:
    """Cores that this process may use, at most 8: more would wait for this process, which writes all rows."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    return min(cores, _MOST)


def read_sources(sources: Sequence[Source], folder: Path, workers: int) -> Iterator[Outcome]:
    """Read files.

    Args:
        sources: The files.
        folder: Folder of the cache.
        workers: Processes that read, this one included.

    Yields:
        What each file held, in the order of `sources`.

    Raises:
        Exception: What `read_source` raised, in whichever process.
    """
    size = sum(_size(source.path) for source in sources)
    others = min(workers, len(sources)) - 1 if size >= WORTH else 0
    with _Others(sources, folder).started(others) as shared:
        ahead: dict[int, Outcome] = {}
        turn = 0
        while turn < len(sources):
            if turn not in ahead and not shared.done[turn].done() and len(ahead) < _WAITING:
                mine = shared.claim()
                if mine is not None:
                    ahead[mine] = read_source(sources[mine], folder)
                    continue
            yield ahead.pop(turn) if turn in ahead else _taken_up(shared.done[turn], sources[turn], folder)
            turn += 1


def _taken_up(done: Future[Outcome | None], source: Source, folder: Path) -> Outcome:
    """What another process left on disk; read here if it left nothing, or what can't be read."""
    outcome = done.result()
    if outcome is None or outcome.entry is None:
        return read_source(source, folder)
    outcome.read = cache.load(outcome.entry)
    return outcome if outcome.read is not None else read_source(source, folder)


class _Others:
    """Other processes, each with a thread here that hands it files until none is left."""

    def __init__(self, sources: Sequence[Source], folder: Path) -> None:
        self.done: list[Future[Outcome | None]] = [Future() for _ in sources]
        """By file: what another process made of it, or None if it could not."""
        self._sources, self._folder = sources, folder
        self._next = iter(range(len(sources)))
        self._lock = threading.Lock()

    def claim(self) -> int | None:
        """A file that nobody has read yet, for the caller to read."""
        with self._lock:
            return next(self._next, None)

    @contextmanager
    def started(self, count: int) -> Iterator[_Others]:
        """Run `count` other processes; leaving ends them."""
        if count < 1:
            yield self
            return
        with tempfile.TemporaryDirectory(prefix="lm-eval-ext-") as spill:
            processes = [process for _ in range(count) if (process := _start()) is not None]
            threads = [
                threading.Thread(target=self._feed, args=(process, Path(spill)), daemon=True) for process in processes
            ]
            for thread in threads:
                thread.start()
            try:
                yield self
            finally:
                with self._lock:
                    self._next = iter(())
                for process in processes:
                    process.kill()
                for thread in threads:
                    thread.join()

    def _feed(self, process: subprocess.Popen[bytes], spill: Path) -> None:
        # Until it has started, every file is left to whoever can read it now.
        while _ready(process) and (index := self.claim()) is not None:
            try:
                answer = _ask(process, (self._sources[index], self._folder, spill))
            except Exception:  # it is gone, or what it says is no answer
                self.done[index].set_result(None)
                break
            if isinstance(answer, OSError):  # it had no room to leave the rows in, which this process does without
                self.done[index].set_result(None)
            elif isinstance(answer, BaseException):
                self.done[index].set_exception(answer)
            else:
                self.done[index].set_result(answer)
        with contextlib.suppress(OSError):
            process.communicate()


def _ready(process: subprocess.Popen[bytes]) -> bool:
    """Wait until a process can be asked, which it says with one line each time; False if it is gone."""
    assert process.stdout is not None
    return process.stdout.readline() == _READY


def _ask(process: subprocess.Popen[bytes], question: Any) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    pickle.dump(question, process.stdin)
    process.stdin.flush()
    return pickle.load(process.stdout)


def _start() -> subprocess.Popen[bytes] | None:
    command = [sys.executable or "", "-c", _CODE, repr(sys.path), __name__]
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except OSError:
        return None


_CODE = """
import ast, importlib, sys
sys.path[:] = ast.literal_eval(sys.argv[1])
importlib.import_module(sys.argv[2]).serve()
"""


def serve() -> None:
    """Read the files that come on standard input until it ends: what another process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a user's Ctrl-C reaches all; the one that started this ends it
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # nothing but answers may go out there
    while True:
        answers.write(_READY)
        answers.flush()
        try:
            source, folder, spill = pickle.load(given)
        except EOFError:
            return
        pickle.dump(_answer(source, folder, spill), answers)


def _answer(source: Source, folder: Path, spill: Path) -> Any:
    try:
        return spill_source(source, folder, spill)
    except Exception as error:
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return RuntimeError(f"{type(error).__name__}: {error}")
        return error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size * (_PACKED if path.suffix == ".gz" else 1)
    except OSError:
        return 0
