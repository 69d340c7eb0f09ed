"""summary.md: what was compared, what came out, what to be careful with, and where everything lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from ..answers.measures import SRS, USR
from ..logs import Issue
from ..media import for_code, for_markdown, for_markdown_cell
from ..result import Analysis
from ..result.render import cells, present, present_headline
from .explain import read_row
from .first_page import metrics_beside, noise_beside
from .verdict_page import MOST_ROWS, family_rows, meaning, verdict_lines

__all__ = ["READING", "summary_markdown"]

READING = {
    "perplexity_pct_change": "**perplexity change**: {metric}, against the baseline.",
    "metric": "**metric**: what accuracy or value is of; `metric_changes` has every metric, with intervals.",
    "accuracy": "**accuracy**: share of keyed answers that are right; an unanswered item is wrong. Of disambiguated "
    "items where there are such. Where no metric is named acc decides, also beside acc_norm.",
    "metric_value": "**value**: of a metric that does not say right or wrong; a mean of lines, or lm_eval's own.",
    "flip_rate": "**flips**: answers that turned from right to wrong or back; accuracy can hide them.",
    "changed_rate": "**changed**: answers that are another option or text than at baseline, right or wrong.",
    "srs": f"**SRS**: {SRS.meaning}; of ambiguous items, where there are such.",
    "usr": f"**unknown**: {USR.meaning}; likewise. A lower SRS beside more of these is a retreat from answering.",
    "new_bias_pct": "**new bias**: items without a stereotypical answer at baseline that got one.",
    "resolved_bias_pct": "**resolved bias**: the same in the other direction, to set new bias against.",
    "net_flips_pct": "**net**: answers that turned to the stereotype minus those that turned from it, in points of all "
    "pairs of answers. Around 0 the answers moved without direction.",
    "net_flips_pct_low": "**net from, net to**: its {level} % interval, by template, missing answers at their worst.",
}
"""How to read the columns of the headline table; `{metric}` is filled in."""

_MOST = 30
_TOLD = ("category_shifts", "transitions", "noise_floor", "churn", "distances", "dose_tests", "text_divergence")
"""Tables whose first row the page says in words."""
_TITLE = 200
_RUN_COLUMNS = [
    "run",
    "baseline",
    "base_model",
    "method",
    "status",
    "engine",
    "quantization",
    "kv_cache",
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
        f"# {for_markdown(analysis.title, _TITLE)}",
        f"{for_markdown(analysis.compared)} Analysed: {', '.join(for_code(name) for name in analysis.given)}.",
        *_verdicts(analysis),
        *_warnings(analysis),
        "## Headline",
        _markdown(present_headline(analysis.headline)),
        *_reading(analysis),
        *_in_words(analysis),
        *_metrics(analysis),
        *_noise(analysis),
        "## Runs",
        _markdown(present(analysis.tables["runs"][_RUN_COLUMNS])),
        *_notes(analysis),
        "## Where everything is",
        _contents(analysis, rows),
    ]
    return "\n\n".join(parts) + "\n"


def _reading(analysis: Analysis) -> list[str]:
    shown = present_headline(analysis.headline).columns
    metric, level = for_markdown_cell(str(analysis.perplexity_metric)), f"{100 * analysis.settings.level:g}"
    lines = [text.format(metric=metric, level=level) for name, text in READING.items() if name in shown]
    return ["\n".join(f"- {line}" for line in lines)] if lines else []


def _in_words(analysis: Analysis) -> list[str]:
    """The first row of each table of _TOLD, in words."""
    lines = []
    for name in _TOLD:
        rows = analysis.tables[name]
        pooled = rows[rows["category"] == "all"] if "category" in rows and (rows["category"] == "all").any() else rows
        if len(pooled):
            lines.append(f"- `{name}`: {for_markdown(read_row(name, pooled.iloc[0]))}")
    if not lines:
        return []
    return ["## In words", "The first row of some tables. All of them: `lm-eval-ext explain TABLE`.", "\n".join(lines)]


def _metrics(analysis: Analysis) -> list[str]:
    """Changes of the metrics of tasks without roles, as many as a page takes."""
    found = metrics_beside(analysis.tables)
    if found.empty:
        return []
    more = f" The first {_MOST} of {len(found)} rows." if len(found) > _MOST else ""
    return [
        "## Metrics of other tasks",
        f"Each metric in its own unit, with the {analysis.settings.level:.0%} interval of its change over documents "
        "(paired). Not corrected for their number: choose the one to report before looking."
        f"{more} All: `metric_changes`.",
        _markdown(present(found.head(_MOST))),
    ]


def _verdicts(analysis: Analysis) -> list[str]:
    """A line a run, what it means, and the rows that it rests on."""
    lines = verdict_lines(analysis.tables)
    if not lines:
        return []
    told = "\n".join(f"- **{for_markdown(run)}** {word}: {for_markdown(text)}" for run, word, text in lines)
    rows = family_rows(analysis.tables)
    parts = [
        "## Verdicts",
        told,
        "\n".join(f"- {sentence}" for sentence in meaning(analysis.settings, analysis.tables)),
    ]
    if rows.empty:
        return parts
    level = 100 * (2 * analysis.settings.level - 1)
    return [
        *parts,
        f"Changes in points. From and to: the {level:g} % interval that equivalence rests on, missing answers at "
        "their worst. Other reading: the change of expected answers in a scored task, of the texts in a sampled one. "
        "Could see: the change that the row tells in 80 % of cases. "
        f"At most {MOST_ROWS} rows a run; `verdicts` has all.",
        _markdown(present(rows)),
    ]


def _noise(analysis: Analysis) -> list[str]:
    """New bias beside its noise floor."""
    noise = noise_beside(analysis.tables)
    if not noise["expected"].notna().any():
        return []
    return [
        "## New bias and its noise floor",
        "Percent of the items at risk. Observed is counted in the logs, floor is what it would be had nothing "
        "changed: 0 with common seeds. Expected: from the exact probabilities, run and baseline drawn "
        "independently. Independent floor: the same of the baseline against itself. Excess: expected minus that "
        "floor, with its interval. Where first tokens do not stand for answers nothing is expected; `noise_floor` "
        "says by how much. New bias alone does not say that a model became more biased: items that change at "
        "random give as much resolved bias. The nets tell: of items (`net_bias`), and of single answers "
        "(`net_flips`), which alone stays at 0 where probabilities only become more even.",
        _markdown(present(noise)),
    ]


def _warnings(analysis: Analysis) -> list[str]:
    serious = [issue for issue in analysis.issues if issue.level in ("error", "warning")]
    if not serious:
        return []
    return [
        "## Read this first",
        _issues(f"**{for_markdown_cell(issue.kind)}** {_said(issue)}" for issue in serious),
    ]


def _notes(analysis: Analysis) -> list[str]:
    notes = [issue for issue in analysis.issues if issue.level == "note"]
    accepted = [for_markdown(issue.message) for issue in notes if issue.kind == "accepted"]
    others = [_said(issue) for issue in notes if issue.kind != "accepted"]
    out = ["## Accepted differences", _issues(accepted)] if accepted else []
    return out + (["## Notes", _issues(others)] if others else [])


def _said(issue: Issue) -> str:
    return f"{for_markdown(issue.message)} ({for_code(issue.file)})"


def _issues(lines: Iterable[str]) -> str:
    lines = list(lines)
    shown = [f"- {line}" for line in lines[:_MOST]]
    if len(lines) > _MOST:
        shown.append(f"- and {len(lines) - _MOST} more, see [issues.csv](issues.csv)")
    return "\n".join(shown)


def _contents(analysis: Analysis, rows: Mapping[str, int]) -> str:
    listed = [
        [f"[{table.name}](tables/{table.name}.csv)", f"{rows[table.name]:,}", table.doc.replace("|", "\\|")]
        for table in analysis.catalogue
        if rows[table.name]
    ]
    empty = ", ".join(f"`{table.name}`" for table in analysis.catalogue if not rows[table.name])
    others = (
        "Each table is also there as Parquet. `items.parquet` holds every answer that was read, "
        "`issues.csv` everything that was left out, refused, accepted or noted, "
        "`report.json` what this report was made from."
    )
    parts = [_lines(["table", "rows", "holds"], listed), others]
    return "\n\n".join([*parts, f"Without rows here: {empty}."] if empty else parts)


def _markdown(frame: pd.DataFrame) -> str:
    titles, rows = cells(frame)
    return _lines(titles, [[for_markdown_cell(cell) for cell in row] for row in rows])


def _lines(titles: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are Markdown already."""
    return "\n".join(f"| {' | '.join(line)} |" for line in (titles, ["---"] * len(titles), *rows))
