"""What `lm-eval-ext analyze` prints as an SVG, for the README.

python tools/picture.py RUNS docs/images/analyze.svg
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from rich.console import Console

from analysis import Analysis, analyze
from analysis.report import print_analysis


def draw(runs: Path, picture: Path, folder: str) -> Analysis:
    """Analyse runs elsewhere and save the terminal's view of it.

    Args:
        runs: Folder of the runs.
        picture: SVG file to write.
        folder: Where the picture says that runs and report lie: `FOLDER/runs` and `FOLDER/report`.

    Returns:
        The analysis; its report is gone.
    """
    console = Console(record=True, width=150)
    before, picture = Path.cwd(), picture.resolve()
    with tempfile.TemporaryDirectory() as elsewhere:
        shutil.copytree(runs, Path(elsewhere) / folder / "runs")
        os.chdir(elsewhere)  # so that the picture shows the names and not where they happened to lie
        try:
            analysis = analyze(Path(folder) / "runs", Path(folder) / "report")
            print_analysis(analysis, console)
        finally:
            os.chdir(before)
    picture.parent.mkdir(parents=True, exist_ok=True)
    console.save_svg(str(picture), title=f"lm-eval-ext analyze {folder}/runs --output {folder}/report")
    return analysis


def main() -> None:
    """Draw what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    draw(arguments.runs, arguments.picture, "demo-output")


if __name__ == "__main__":
    main()
