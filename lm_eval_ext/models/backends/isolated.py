"""Run a script in a process of its own, for a library that changes whatever process it is imported into.

The script is a file that needs nothing of this package, so that another interpreter, with other releases of torch and
transformers, can run it. It is called as `python SCRIPT REQUEST RESULT`: it reads REQUEST (JSON), does the work, and
writes RESULT (JSON, an object).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_eval_ext.errors import UserError

__all__ = ["run_isolated"]

# Longer last lines are the dump of something.
_LAST = 300


def run_isolated(script: Path, request: Mapping[str, Any], *, log: Path, python: str | None = None) -> dict[str, Any]:
    """Run a script and wait for its result.

    Args:
        script: The file.
        request: What it is asked, in plain types.
        log: File that takes its output; what it held is lost.
        python: Interpreter; this one by default.

    Returns:
        What the script wrote.

    Raises:
        UserError: If the interpreter can't be started, the script ends with another code than 0 or by a signal, or
            leaves no result; with the last line of its output and the path of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    interpreter = python or sys.executable
    with tempfile.TemporaryDirectory(prefix="lm-eval-ext-") as folder:
        asked, answered = Path(folder) / "request.json", Path(folder) / "result.json"
        asked.write_text(json.dumps(dict(request)), encoding="utf-8")
        with log.open("wb") as output:
            try:
                process = subprocess.Popen(
                    [interpreter, str(script), str(asked), str(answered)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise UserError(f"the interpreter {interpreter} can't be started: {error.strerror}") from None
            code = _wait(process)
        if code != 0:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
            raise UserError(f"{script.name} {how}: {_last_line(log)} (all of it in {log})")
        if not answered.is_file():
            raise UserError(f"{script.name} ended without a result: {_last_line(log)} (all of it in {log})")
        result = json.loads(answered.read_text(encoding="utf-8"))
    assert isinstance(result, dict), type(result)
    return result


def _wait(process: subprocess.Popen[bytes]) -> int:
    """The exit code; the process and its children are ended with us, if we are."""
    try:
        return process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        raise


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    last = next((line for line in reversed(lines) if line), "it said nothing")
    return last if len(last) <= _LAST else last[:_LAST] + " ..."
