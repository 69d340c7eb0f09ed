"""One process that imports a library once and carries out many requests of a backend's script, one after the other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends.making import SCRIPTS

LOOP = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
import run_llmcompressor as script
import script_parts
for line in sys.stdin:
    sys.argv[1:] = line.split()
    try:
        script_parts.serve(script.work)
        print("done", flush=True)
    except BaseException as error:
        print("failed", type(error).__name__, " ".join(str(error).split()), flush=True)
"""


class ScriptServer:
    """Stands in for `run_isolated`, with the same answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.log = (folder / "server.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOOP, str(SCRIPTS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )

    def run(self, script: Path, request: Mapping[str, Any], *, log: Path, python: str | None = None) -> dict[str, Any]:
        """Carry out one request of run_llmcompressor.py."""
        assert script.name == "run_llmcompressor.py"
        assert python is None
        self.count += 1
        asked, answered = (self.folder / f"{kind}-{self.count}.json" for kind in ("request", "result"))
        asked.write_text(json.dumps(dict(request)), encoding="utf-8")
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{asked} {answered}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("done"):
                result: dict[str, Any] = json.loads(answered.read_text(encoding="utf-8"))
                return result
            if line.startswith("failed"):
                raise UserError(f"{script.name} ended with code 1: {line.removeprefix('failed ').strip()}")
        raise UserError(f"{script.name} ended: {(self.folder / 'server.log').read_text(errors='replace')[-2000:]}")

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.log.close()
