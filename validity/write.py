"""The study's outcome as a page of documentation."""

from __future__ import annotations

import pandas as pd

__all__ = ["SIZE_BAND", "page"]

SIZE_BAND = (0.03, 0.07)
COVER_BAND = (0.93, 0.97)
_CELL = ["templates", "seeds"]

_HOW = """\
Each replication draws a benchmark and answers it four times: as baseline and as runs at doses 1, 2 and 3. Tests of
one run against the baseline take the one at dose 3. A template has 8 to 80 items; an item's chance of a
stereotypical answer is logistic in a template effect (standard deviation 1.0) and an item effect (1.5) that all runs
share, with a population SRS of 0.20 (few events: 0.01). What is not stereotypical is anti-stereotypical or unknown,
by a second logistic draw of the same form. "1 seed" answers each item once, "5 seeds" five times. The scenarios
differ in what each run has for itself:

- **no change**: nothing; the answers are drawn anew from the same chances;
- **items flip, no net effect**: item effects of standard deviation 1.5, drawn for each run from one distribution;
- **templates move, no net effect**: template effects of 0.75 and item effects of 0.5, likewise;
- **few events**: item effects of 1.0 at an SRS of 0.01;
- **shift of 3, 5, 10 points**: item effects of 0.5, template effects of 0.25, and a population SRS that is higher by
  the shift at dose 3, and below it on a straight line in log-odds;
- **threshold**: as a shift of 10 points, all of it between doses 2 and 3.

In the first four the runs are exchangeable: items and templates change, the population does not. A test that rejects
there is wrong, at a rate that should be 0.05. In the others it is right, but for the test of a bend: nothing is bent
except in the last.
"""

_KINDS = """\
A test without a p-value (nothing changed, or nobody is named) has not rejected. An interval that does not exist is
left out of its coverage. Intervals in brackets are 95 % Wilson intervals of the simulation's own error.
"""


def page(frame: pd.DataFrame, *, replications: int, seed: int, command: str, reading: str | None = None) -> str:
    """Write the page.

    Args:
        frame: What run_study returns.
        replications: Per cell.
        seed: Of the study.
        command: What makes the page.
        reading: What a person read in these very results; None for results that nobody has read.

    Returns:
        Markdown.
    """
    null = frame[frame["null"]]
    tests, intervals = frame[frame["kind"] == "test"], frame[frame["kind"] == "interval"]
    parts = [
        "# Do the tests hold their level, and the intervals cover?\n",
        f"Made by `{command}`: {replications:,} replications of each cell, seed {seed}. The numbers depend on the "
        "seed and on the versions of NumPy and SciPy, not on the machine or the number of processes.\n",
        "## How\n",
        _HOW,
        _KINDS,
        "## Summary\n",
        "Over the cells where what a test denies is true: no net change, and for a bend also a straight rise. A "
        f"default test holds if its rate lies within {SIZE_BAND[0]} to {SIZE_BAND[1]} in every cell, an interval if "
        f"it covers in {COVER_BAND[0]} to {COVER_BAND[1]}; lower rejection is called conservative, higher liberal.\n",
        _summary(null),
        *(["## Reading\n", reading] if reading else []),
        "## Size: how often a test rejects where nothing changed on the whole\n",
        *_tables(tests[tests["null"]]),
        "## Coverage: how often a 95 % interval holds the true value\n",
        *_tables(intervals),
        "## Power: how often a test rejects a true shift\n",
        "The power of a test that is liberal above cannot be compared with that of one that holds its level.\n",
        *_tables(tests[~tests["null"]]),
    ]
    equivalence = frame[frame["kind"] == "equivalence"]
    if len(equivalence):
        parts += [
            "## Equivalence: how often a change is called smaller than the margin\n",
            "At a shift of exactly the margin the claim is wrong and may be made in 5 % of the replications.\n",
            *_tables(equivalence),
        ]
    verdicts = frame[frame["kind"] == "verdict"]
    if len(verdicts):
        parts += [
            "## Threshold or gradual: how often the true shape of a dose-response is named\n",
            "The other replications are undecided, or name another shape.\n",
            *_tables(verdicts),
        ]
    return "\n".join(parts)


def _summary(null: pd.DataFrame) -> str:
    """One row per check: its range over the cells, and in how many it leaves the band."""
    rows = []
    for (check, kind, default), group in null.groupby(["check", "kind", "default"], sort=False):
        # A cell in which no replication has an interval says nothing of it.
        group = group[group["n"] > 0]
        if kind not in ("test", "interval") or group.empty:
            continue
        low, high = SIZE_BAND if kind == "test" else COVER_BAND
        under, over = group[group["rate"] < low], group[group["rate"] > high]
        few, many = ("conservative", "liberal") if kind == "test" else ("too short", "too long")
        verdict = [f"{word} in {len(part)} of {len(group)}" for word, part in ((many, over), (few, under)) if len(part)]
        rows.append(
            {
                "procedure": check,
                "measured": "size" if kind == "test" else "coverage",
                "default": "yes" if default else "no",
                "lowest": f"{group['rate'].min():.3f}",
                "highest": f"{group['rate'].max():.3f}",
                "reading": "; ".join(verdict) or f"holds in all {len(group)}",
            }
        )
    return _markdown(pd.DataFrame(rows))


def _size(row: pd.Series[int]) -> str:
    return f"{row['templates']} templates x {row['seeds']} seed{'s' if row['seeds'] > 1 else ''}"


def _tables(frame: pd.DataFrame) -> list[str]:
    """One table per scenario: checks in rows, sizes in columns."""
    out = []
    for scenario, group in frame.groupby("scenario", sort=False):
        order = {check: number for number, check in enumerate(dict.fromkeys(group["check"]))}
        cells = group.assign(
            size=[_size(row) for _, row in group.iterrows()], shown=[_shown(row) for _, row in group.iterrows()]
        )
        table = cells.pivot(index="check", columns="size", values="shown")
        table = table.loc[sorted(table.index, key=lambda check: order[check]), list(dict.fromkeys(cells["size"]))]
        out += [f"### {str(scenario)[0].upper()}{str(scenario)[1:]}\n", _markdown(table.reset_index(names="procedure"))]
    return out


def _shown(row: pd.Series[float]) -> str:
    if row["n"] == 0:
        return "-"
    text = f"{row['rate']:.3f} ({row['low']:.3f}-{row['high']:.3f})"
    return f"{text}, none in {row['n_none']:.0f}" if row["n_none"] else text


def _markdown(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---"] * table.shape[1], *table.fillna("-").to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(str(value) for value in line)} |" for line in lines) + "\n"
