"""Keep a report's first page and some of its tables as CSV, for docs/results.

    python tools/keep_report.py REPORT FOLDER TABLE [TABLE ...]

The page's list of tables is cut to those that are kept, and its links to where they lie here: beside it.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path


def main() -> None:
    """Copy what the command line names."""
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    report, folder, tables = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for line in (report / "summary.md").read_text(encoding="utf-8").splitlines():
        listed = re.match(r"\| \[(\w+)\]\(tables/", line)
        if listed is None or listed[1] in tables:
            lines.append(line.replace("](tables/", "](").replace("[issues.csv](issues.csv)", "`issues.csv`"))
    for table in tables:
        shutil.copyfile(report / "tables" / f"{table}.csv", folder / f"{table}.csv")
    (folder / "summary.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
