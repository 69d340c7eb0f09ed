"""Run every check on every family: `python -m tools.families [FAMILY ...] [--jobs 2] [--write docs/compression.md]`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from tools.families.build import families
from tools.families.examine import examine

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Print a line a family, and write the table where asked; 1 if a cell is wrong or a traceback."""
    parser = argparse.ArgumentParser(prog="python -m tools.families", description=__doc__)
    parser.add_argument("families", nargs="*", help="model types; all of AutoModelForCausalLM's by default")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--check", action="append", default=[], help="only this column; repeatable")
    parser.add_argument("--json", type=Path, help="file for all cells")
    parser.add_argument("--write", type=Path, help="page in which to replace the table")
    options = parser.parse_args(arguments)
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    names = options.families or families()
    table: dict[str, dict[str, tuple[str, str]]] = {}
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        results = pool.map(examine, names, [tuple(options.check)] * len(names))
        for name, cells in zip(names, results, strict=True):
            table[name] = cells
            odd = {key: cell for key, cell in cells.items() if cell[0] not in ("works", "built")}
            print(f"{name}: " + ("; ".join(f"{k} {s}: {d}" for k, (s, d) in odd.items()) or "works"), flush=True)
    if options.json:
        options.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    if options.write:
        from tools.families.table import write

        write(options.write, table)
    return int(any(status in ("wrong", "traceback") for cells in table.values() for status, _ in cells.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
