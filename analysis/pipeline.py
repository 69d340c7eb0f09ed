"""From a folder of lm-eval outputs to a report, in one call."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from .answers.answers import Answers
from .compare.baselines import Baselines, choose_baselines
from .compare.frames import role_frames
from .compare.one_option import one_option_issues
from .compare.pairing import Pairing, check_allowed, pair_runs
from .compare.replicate_items import replicate_items
from .logs import Issue, ItemStore, Logs, read_logs
from .report import headline, write_report
from .report.folder import staged_folder
from .result import Analysis
from .settings import Settings
from .tables.flips import FLIP_COLUMNS, FLIPS, flips
from .tables.perplexity import evaluation_gap, perplexity_changes
from .tables.role_tables import role_tables
from .tables.runs import runs_frame

__all__ = ["Analysis", "analyze"]


def analyze(
    folder: Path | str,
    output: Path | str,
    baseline: str | None = None,
    allow: Iterable[str] = (),
    tasks: Iterable[str] = (),
    settings: Settings | None = None,
) -> Analysis:
    """Read lm-eval runs, compare each with its baseline item by item, and write a report.

    Args:
        folder: Folder of lm-eval outputs (results and samples files at any depth).
        output: Report folder. It appears whole or not at all; an earlier report there is replaced.
        baseline: Label of the run to compare with, where the uncompressed run is not the one.
        allow: Names of differences to accept (the keys of DIFFERENCES).
        tasks: Shell patterns of the tasks to analyse; none takes all.
        settings: What tests and intervals are made with; the defaults if not given.

    Returns:
        The analysis. Refused comparisons are no error: they are left out of every table, and named in
        `pairing.refusals` and in the issues.

    Raises:
        UserError: If the folder holds no readable run, no task matches, the baseline is unknown or not
            unique, `allow` holds an unknown name, or `output` holds something that is not a report.
    """
    folder, output, given = Path(folder), Path(output), settings or Settings()
    allowed, patterns = check_allowed(allow), tuple(tasks)
    with staged_folder(output, folder) as stage:
        with ItemStore(stage / "items.parquet") as store:
            logs = read_logs(folder, store, patterns)
            baselines = choose_baselines(logs.runs, baseline)
            pairing = pair_runs(logs, baselines, allowed)
            perplexities, left_out = perplexity_changes(logs, pairing.pairs)
            tables, places = _tables(logs, baselines, pairing, perplexities, given)
            accuracy = _accuracies(logs, baselines, pairing)
        shown, metric = headline(accuracy, perplexities, tables)
        analysis = Analysis(
            folder=folder,
            output=output,
            tables=tables,
            headline=shown,
            perplexity_metric=metric,
            pairing=pairing,
            issues=[*logs.issues, *baselines.issues, *pairing.issues, *left_out, *places],
            named_baseline=baseline,
            allow=allowed,
            patterns=patterns,
            settings=given,
        )
        write_report(analysis, stage)
    return analysis


def _tables(
    logs: Logs, baselines: Baselines, pairing: Pairing, perplexities: pd.DataFrame, settings: Settings
) -> tuple[dict[str, pd.DataFrame], list[Issue]]:
    """Every table of the report, and the runs whose choices follow one option's place."""
    runs = runs_frame(logs.runs, baselines)
    items, role_runs = role_frames(logs, baselines, pairing, runs)
    places = one_option_issues(items, runs)
    answers = Answers.of(items)
    del items  # most of the memory of a large analysis
    tables = {"runs": runs, **role_tables(answers, role_runs, settings, repeated=(replicate_items(logs, runs), runs))}
    tables["evaluation_gap"] = evaluation_gap(perplexities, tables["transitions"])
    tables["flips"] = _flips(logs.store, pairing)
    return tables, places


def _flips(store: ItemStore, pairing: Pairing) -> pd.DataFrame:
    """Flips pair by pair: only two runs of one task are in memory at a time."""
    parts = []
    for pair in pairing.pairs:
        rows = [
            pairing.items(store, label, pair.baseline, pair.task, FLIP_COLUMNS) for label in (pair.run, pair.baseline)
        ]
        parts.append(flips(pd.concat(rows), pd.DataFrame({"run": [pair.run], "baseline": [pair.baseline]})))
    return FLIPS.conform(pd.concat(parts)) if parts else FLIPS.empty()


def _accuracies(logs: Logs, baselines: Baselines, pairing: Pairing) -> pd.DataFrame:
    """Answers with a key and the share that is right, of everything in the tables."""
    parts = []
    for label, task, reference in pairing.shown(logs, baselines):
        rows = pairing.items(logs.store, label, reference, task, ("filter", "correct"))
        keyed = rows["correct"].astype("Float64").groupby(rows["filter"])
        part = pd.DataFrame({"n": keyed.count(), "accuracy": keyed.mean()}).reset_index()
        parts.append(part.assign(run=label, task=task))
    columns = ["run", "task", "filter", "n", "accuracy"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)
