"""Run the study and write its page: `python -m validity`."""

from __future__ import annotations

import argparse
from pathlib import Path

from validity.study import SEED, cells, run_study
from validity.words import churn_section, run_churn, run_verdicts, verdict_section
from validity.write import page

REPLICATIONS = 1000
READING = Path(__file__).with_name("reading.md")


def main() -> None:
    """Run all cells and write the page."""
    parser = argparse.ArgumentParser(prog="python -m validity", description=__doc__)
    parser.add_argument("--replications", type=int, default=REPLICATIONS, help=f"per cell ({REPLICATIONS})")
    parser.add_argument("--seed", type=int, default=SEED, help=f"of the study ({SEED})")
    parser.add_argument("--workers", type=int, default=None, help="processes (one per core)")
    parser.add_argument("--out", type=Path, default=Path("docs/validity.md"), help="page to write")
    given = parser.parse_args()
    frame = run_study(cells(), given.replications, given.seed, given.workers)
    words = run_verdicts(given.replications, given.seed, given.workers)
    churn = run_churn(max(1, given.replications // 4), given.seed, given.workers)
    # The reading is of the results that the defaults give; those of another seed nobody has read.
    read = (given.replications, given.seed) == (REPLICATIONS, SEED)
    text = page(
        frame,
        replications=given.replications,
        seed=given.seed,
        command="make validity",
        reading=READING.read_text(encoding="utf-8") if read else None,
    )
    # What a reader came for stands first.
    sections = [*verdict_section(words), *churn_section(churn)]
    given.out.write_text("\n".join([*sections, text]), encoding="utf-8")


if __name__ == "__main__":
    main()
