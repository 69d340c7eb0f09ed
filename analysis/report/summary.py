"""summary.md: what was compared, what came out, what to be careful with, and where everything lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from ..answers.measures import SRS
from ..result import Analysis
from ..result.render import cells, present, present_headline
from .first_page import changes_that_hold, noise_beside

__all__ = ["READING", "summary_markdown"]

READING = {
    "perplexity_pct_change": "**perplexity change**: {metric}, against the baseline.",
    "accuracy": "**accuracy**: share of keyed answers that are right; an unanswered item is wrong.",
    "flip_rate": "**flips**: answers that turned from right to wrong or back; accuracy can hide them.",
    "srs": f"**SRS**: {SRS.meaning}; of ambiguous items, where there are such.",
    "new_bias_pct": "**new bias**: items without a stereotypical answer at baseline that got one.",
    "resolved_bias_pct": "**resolved bias**: the same in the other direction, to set new bias against.",
}
"""How to read the columns of the headline table; `{metric}` is filled in."""

_MOST = 30
_RUN_COLUMNS = [
    "run",
    "baseline",
    "base_model",
    "method",
    "sparsity",
    "achieved_sparsity",
    "decoder_sparsity",
    "bits",
    "bits_per_weight",
    "decoder_bits_per_weight",
    "dtype",
    "softmax_dtype",
    "file",
]


def summary_markdown(analysis: Analysis, rows: Mapping[str, int]) -> str:
    """The page summary.md of an analysis; `rows` has the number of rows of each table."""
    parts = [
        "# What compression changed",
        f"{analysis.compared} Analysed folder: `{analysis.folder}`.",
        *_warnings(analysis),
        "## Headline",
        _markdown(present_headline(analysis.headline)),
        *_reading(analysis),
        *_holds(analysis),
        "## Runs",
        _markdown(present(analysis.tables["runs"][_RUN_COLUMNS])),
        *_notes(analysis),
        "## Where everything is",
        _contents(analysis, rows),
    ]
    return "\n\n".join(parts) + "\n"


def _reading(analysis: Analysis) -> list[str]:
    shown = present(analysis.headline).columns
    lines = [text.format(metric=analysis.perplexity_metric) for name, text in READING.items() if name in shown]
    return ["\n".join(f"- {line}" for line in lines)] if lines else []


def _holds(analysis: Analysis) -> list[str]:
    """Changes with intervals, and new bias beside its noise floor."""
    changes, noise = changes_that_hold(analysis.tables), noise_beside(analysis.tables)
    if changes.empty:
        return []
    given = analysis.settings
    parts = [
        "## What holds",
        f"Change in points with {given.level:.0%} intervals; templates are the unit of independence. Equivalent: "
        f"shown to lie within {100 * given.margin:g} points either way. Changed: told from no change after Holm's "
        "correction. Undecided: neither; `could see` is the change that this many templates show in 80 % of cases.",
        _markdown(present(changes)),
    ]
    if noise["floor"].notna().any():
        parts += [
            "## New bias and its noise floor",
            "Percent of the items at risk. Expected: from the exact probabilities, run and baseline drawn "
            "independently. Floor: the same of the baseline against itself. Excess: expected minus floor, with its "
            "interval. Observed is counted in the logs; with common seeds an unchanged model shows 0 there. Where "
            "first tokens do not stand for answers only the observed is shown; `noise_floor` says by how much.",
            _markdown(present(noise)),
        ]
    return parts


def _warnings(analysis: Analysis) -> list[str]:
    serious = [issue for issue in analysis.issues if issue.level in ("error", "warning")]
    if not serious:
        return []
    return [
        "## Read this first",
        _issues(f"**{issue.kind}** {issue.message} (`{issue.file}`)" for issue in serious),
    ]


def _notes(analysis: Analysis) -> list[str]:
    notes = [issue for issue in analysis.issues if issue.level == "note"]
    accepted = [issue.message for issue in notes if issue.kind == "accepted"]
    others = [f"{issue.message} (`{issue.file}`)" for issue in notes if issue.kind != "accepted"]
    out = ["## Accepted differences", _issues(accepted)] if accepted else []
    return out + (["## Notes", _issues(others)] if others else [])


def _issues(lines: Iterable[str]) -> str:
    lines = list(lines)
    shown = [f"- {line}" for line in lines[:_MOST]]
    if len(lines) > _MOST:
        shown.append(f"- and {len(lines) - _MOST} more, see [issues.csv](issues.csv)")
    return "\n".join(shown)


def _contents(analysis: Analysis, rows: Mapping[str, int]) -> str:
    frame = pd.DataFrame(
        {
            "table": [f"[{table.name}](tables/{table.name}.csv)" for table in analysis.catalogue],
            "rows": [rows[table.name] for table in analysis.catalogue],
            "holds": [table.doc for table in analysis.catalogue],
        }
    )
    others = (
        "Each table is also there as Parquet. `items.parquet` holds every answer that was read, "
        "`issues.csv` everything that was left out, refused, accepted or noted, "
        "`report.json` what this report was made from."
    )
    return f"{_markdown(frame)}\n\n{others}"


def _markdown(frame: pd.DataFrame) -> str:
    titles, rows = cells(frame)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
