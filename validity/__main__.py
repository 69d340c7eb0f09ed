"""Run the study and write its page: `python -m validity`."""

from __future__ import annotations

import argparse
from pathlib import Path

from validity.study import SEED, cells, run_study
from validity.write import page


def main() -> None:
    """Run all cells and write the page."""
    parser = argparse.ArgumentParser(prog="python -m validity", description=__doc__)
    parser.add_argument("--replications", type=int, default=2000, help="per cell (2000)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the study ({SEED})")
    parser.add_argument("--workers", type=int, default=None, help="processes (one per core)")
    parser.add_argument("--out", type=Path, default=Path("docs/validity.md"), help="page to write")
    given = parser.parse_args()
    frame = run_study(cells(), given.replications, given.seed, given.workers)
    text = page(frame, replications=given.replications, seed=given.seed, command="make validity")
    given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
