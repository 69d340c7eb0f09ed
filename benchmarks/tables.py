"""All tables of an analysis on logs that were read before: seconds, peak memory, and how both grow.

    python benchmarks/tables.py [--runs 13] [--items 3037] [--seeds 5] [--json FILE]

Logs in lm_eval's format (lib/sample_logs.py) with 1, 2 and 4 times a quarter of the items. Each size is analysed twice,
each time in a process of its own: the first fills the cache of what was read, the second is measured. The size of the
pruning study is --runs 39 --items 12148.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _machine import write_json


def analysed(logs: Path) -> dict[str, float]:
    """Analyse in this process: seconds, processor seconds, and peak resident megabytes, its children's included."""
    from analysis import analyze

    start, used = time.perf_counter(), time.process_time()
    analyze(logs, logs.parent / "report")
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "analyze": time.perf_counter() - start,
        "processor": time.process_time() - used,
        "peak_mb": peak / 1024,
    }


def measured(logs: Path, cache: Path) -> dict[str, float]:
    """The second of two analyses, each in a process of its own."""
    command = [sys.executable, __file__, "--logs", str(logs)]
    for _ in range(2):
        done = subprocess.run(
            command, env=os.environ | {"LM_EVAL_EXT_CACHE": str(cache)}, check=True, capture_output=True, text=True
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=13)
    parser.add_argument("--items", type=int, default=3037)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write everything there, with the machine")
    parser.add_argument("--logs", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.logs:
        print(json.dumps(analysed(given.logs)))
        return
    from lib.sample_logs import write_logs

    results: list[dict[str, Any]] = []
    print("| answers | seconds | processor seconds | peak memory, MB |\n|---|---|---|---|")
    for times in (1, 2, 4):
        items = given.items * times // 4
        with tempfile.TemporaryDirectory() as home:
            logs = Path(home) / "runs"
            write_logs(logs, runs=given.runs, items=items, seeds=given.seeds)
            row = {"answers": given.runs * items * given.seeds, **measured(logs, Path(home) / "cache")}
        results.append(row)
        print(f"| {row['answers']:,} | {row['analyze']:.1f} | {row['processor']:.1f} | {row['peak_mb']:,.0f} |")
    if given.json:
        write_json(given.json, results, "numpy", "pandas", "pyarrow", "msgspec", "statsmodels", "lm-eval-ext")


if __name__ == "__main__":
    main()
