"""Draw what `lm-eval-ext analyze` prints as an SVG, for the README.

python tools/picture.py RUNS docs/images/analyze.svg
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from rich.console import Console

from analysis import analyze
from analysis.report import print_analysis


def main() -> None:
    """Analyse the runs into a temporary folder and save the terminal's view of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    runs, picture = arguments.runs.resolve(), arguments.picture.resolve()
    console = Console(record=True, width=150)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # so that the picture shows the report's name and not where it happened to lie
        print_analysis(analyze(runs, "report"), console)
        os.chdir(picture.anchor)
    picture.parent.mkdir(parents=True, exist_ok=True)
    console.save_svg(str(picture), title=f"lm-eval-ext analyze {arguments.runs.name} --output report")


if __name__ == "__main__":
    main()
