"""What it costs that threads sleep at barriers, and what it saves beside a busy neighbour.

    python benchmarks/threads.py [--items 48] [--rounds 3] [--json FILE]

The five-seed sampler on real BBQ items, the demonstration model in float32, two threads. Each setting runs in a process
of its own, in turn, round after round: alone on the machine, and with one core kept busy by another process. Only GNU
OpenMP reads these settings.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from _machine import write_json

from lm_eval_ext.threads import SPINS

SETTINGS: dict[str, dict[str, str]] = {
    "the library's own": {},
    "GOMP_SPINCOUNT=10000": {"GOMP_SPINCOUNT": "10000"},
    f"GOMP_SPINCOUNT={SPINS}": {"GOMP_SPINCOUNT": SPINS},
    "GOMP_SPINCOUNT=100": {"GOMP_SPINCOUNT": "100"},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
}
_BUSY = "while True: pass"


def one(items: int) -> float:
    """Items a second of ours, in this process."""
    import scoring
    from lm_eval.api.instance import Instance

    lm = scoring.load()
    contexts = list(dict.fromkeys(pair[0] for pair, _, _ in scoring.requests(lm, "letters", items)))
    arguments = {"seeds": scoring.SEEDS, "temperature": 0.3, "max_gen_toks": 5, "until": [], "stop_when": "abc"}
    asked = [Instance("generate_until", {}, (c, arguments), 0) for c in contexts for _ in scoring.SEEDS]
    lm.generate_until(asked[: 2 * len(scoring.SEEDS)], disable_tqdm=True)
    start = time.perf_counter()
    lm.generate_until(asked, disable_tqdm=True)
    return len(contexts) / (time.perf_counter() - start)


def in_process(setting: dict[str, str], items: int, *, busy: bool) -> float:
    """Items a second under a setting, in a process of its own."""
    env = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | setting
    neighbour = subprocess.Popen([sys.executable, "-c", _BUSY]) if busy else None
    try:
        command = [sys.executable, __file__, "--items", str(items), "--one"]
        done = subprocess.run(command, env=env | {"OMP_NUM_THREADS": "2"}, check=True, capture_output=True, text=True)
    finally:
        if neighbour is not None:
            neighbour.kill()
            neighbour.wait()
    return float(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(one(given.items))
        return
    found: dict[str, dict[str, list[float]]] = {name: {"alone": [], "beside a neighbour": []} for name in SETTINGS}
    for _ in range(given.rounds):
        for busy in (False, True):
            for name, setting in SETTINGS.items():
                found[name]["beside a neighbour" if busy else "alone"].append(
                    in_process(setting, given.items, busy=busy)
                )
    print(f"{'items a second':28s}{'alone':>24s}{'beside a neighbour':>24s}")
    for name, rates in found.items():
        cells = [f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})" for values in rates.values()]
        print(f"{name:28s}{cells[0]:>24s}{cells[1]:>24s}")
    if given.json is not None:
        record: dict[str, Any] = {"items": given.items, "items a second": found}
        write_json(given.json, record, "torch", "transformers", "lm_eval", "lm-eval-ext")


if __name__ == "__main__":
    main()
