"""`python -m tests.fuzz`: alter real logs in many ways; nothing may change a table without a word.

Exit code 1 if anything did, or raised; what did is printed, with the number that makes it again (`--only NUMBER`).
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from tqdm import tqdm

from tests.fuzz.campaign import run_many, run_some
from tests.fuzz.page import alone, counts, put

parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
parser.add_argument("--count", type=int, default=10_000, help="mutations (default 10,000)")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
parser.add_argument("--write", action="store_true", help="put the counts into docs/reliability.md")
parser.add_argument("--only", type=int, nargs="+", help="numbers of mutations to judge again")


def main() -> int:
    """Run, print what is wrong, write the page."""
    given = parser.parse_args()
    if given.only:
        for found in run_some(given.seed, given.only):
            print(found)
        return 0
    start, done, wrong = time.monotonic(), [], 0
    for found in tqdm(run_many(given.seed, given.count, given.workers), total=given.count, unit="mutation"):
        done.append(found)
        if found.outcome.name in ("SILENT", "traceback"):
            wrong += 1
            tqdm.write(str(found))
    text = counts(done, given.seed, time.monotonic() - start, given.workers)
    print(text)
    slowest = max(done, key=lambda entry: entry.seconds)
    print(f"\nslowest: {slowest.seconds:.1f} s, {slowest}")
    if given.write:
        put("counts", text)
        put("alone", alone())
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
