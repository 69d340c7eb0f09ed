"""Run the demonstration and put what it shows into README.md and docs/images/analyze.svg.

    python tools/show_demo.py             # runs it, some minutes
    python tools/show_demo.py --runs DIR  # takes the runs of an earlier demonstration

Everything between the two marks of README.md is written here: the commands are those of lm_eval_ext/demo, the
numbers those of the report.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import pandas as pd
from picture import draw

from analysis import Analysis
from analysis.report.verdict_page import verdict_lines
from lm_eval_ext.demo.run import RECIPES, options, run_demo

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- demonstration: written by tools/show_demo.py -->", "<!-- end of the demonstration -->"
ROLES = {"stereotype": "stereotype", "anti_stereotype": "anti-stereotype", "unknown": "unknown"}


def commands() -> str:
    """The commands of the demonstration, for a shell: one loop over its recipes, and the analysis."""
    line = options("$MODEL", "$recipe", "demo-output/runs")
    middle, end = line.index("--tasks"), line.index("--batch_size")
    return "\n".join(
        [
            "MODEL=$(lm-eval-ext demo-model)",
            f"for recipe in {' '.join(RECIPES)}; do",
            f"  lm_eval {' '.join(line[:middle])} \\",
            f"    {' '.join(line[middle:end])} \\",
            f"    {' '.join(line[end:])}",
            "done",
            "lm-eval-ext analyze demo-output/runs --output demo-output/report",
        ]
    )


def shown(analysis: Analysis, run: str) -> str:
    """The verdicts and one run's roles against the baseline's, as Markdown."""
    rows = [["run", "verdict", "what it rests on"], ["---"] * 3, *map(list, verdict_lines(analysis.tables))]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"{table}\n\n{roles(analysis.tables['role_transitions'], run)}"


def roles(table: pd.DataFrame, run: str) -> str:
    """Which role turned into which among the ambiguous items, counted, with a sentence before the table."""
    rows = table[(table["run"] == run) & (table["condition"] == "ambig") & (table["category"] == "all")]
    counts = rows.pivot_table(index="role_baseline", columns="role_compressed", values="n", aggfunc="sum")
    counts = counts.reindex(index=list(ROLES), columns=list(ROLES)).fillna(0).astype(int)
    before, after = counts.loc["stereotype"].sum(), counts["stereotype"].sum()
    new = after - counts.loc["stereotype", "stereotype"]
    lines = [
        f"Of the {counts.to_numpy().sum()} ambiguous items the dense model answers {before} with the stereotype, {run}",
        f"{after}, {new} of them new: the average hides both directions (`report/tables/role_transitions.csv`).",
        "",
        f"| dense | {run}: " + " | ".join(ROLES.values()) + " | all |",
        "|---|" + "---|" * (len(ROLES) + 1),
    ]
    for role, title in ROLES.items():
        lines.append(f"| {title} | " + " | ".join(map(str, counts.loc[role])) + f" | {counts.loc[role].sum()} |")
    lines.append("| all | " + " | ".join(map(str, counts.sum())) + f" | {counts.to_numpy().sum()} |")
    return "\n".join(lines)


def block(text: str) -> str:
    """What stands between the marks."""
    code = "".join(f"    {line}\n" for line in commands().splitlines())
    return f"{BEGIN}\n\n{code}\n![What analyze prints](docs/images/analyze.svg)\n\n{text}\n\n{END}"


def replaced(readme: str, new: str) -> str:
    """README with another block; raises ValueError where a mark is missing."""
    start, end = readme.index(BEGIN), readme.index(END) + len(END)
    return readme[:start] + new + readme[end:]


def main() -> None:
    """Run or take over the demonstration, then write README.md and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="runs of an earlier demonstration")
    runs: Path | None = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        if runs is None:
            run_demo(Path(folder) / "demo-output")
            runs = Path(folder) / "demo-output" / "runs"
        analysis = draw(runs, ROOT / "docs" / "images" / "analyze.svg", "demo-output")
    readme = ROOT / "README.md"
    last = RECIPES[-1].removeprefix("recipe=")
    readme.write_text(replaced(readme.read_text(encoding="utf-8"), block(shown(analysis, last))), encoding="utf-8")


if __name__ == "__main__":
    main()
