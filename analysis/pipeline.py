"""From a folder of lm-eval outputs to a report, in one call."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .answers.answers import Answers
from .compare.baselines import Baselines, choose_baselines
from .compare.commands import AnalyzeCommand
from .compare.frames import role_frames
from .compare.one_option import one_option_issues
from .compare.pairing import Pairing, check_allowed, pair_runs
from .compare.unplaced import unplaced_issues
from .errors import UserError
from .logs import DocumentStore, Inputs, Issue, ItemStore, Logs, read_logs
from .logs.profiles import read_profiles
from .report import headline, write_report
from .report.folder import staged_folder
from .result import Analysis, Tables
from .schema.declare import AnyTable, Making
from .settings import Settings
from .tables.catalogue import CATALOGUE
from .tables.metric_changes.scores import run_scores
from .tables.metric_changes.table import METRIC_COMPARISON
from .tables.perplexity import perplexity_changes
from .tables.runs import RUNS_TABLE
from .tables.sources import ANSWERS, BASELINES, LOGS, PAIRING, PERPLEXITY_CHANGES, PROFILE_RECORDS, ROLE_RUNS, SETTINGS

__all__ = ["Analysis", "analyze"]


def analyze(
    folder: Path | str | Iterable[Path | str],
    output: Path | str,
    baseline: str | None = None,
    allow: Iterable[str] = (),
    tasks: Iterable[str] = (),
    settings: Settings | None = None,
    catalogue: Iterable[AnyTable] = CATALOGUE,
    base: Iterable[str] = (),
) -> Analysis:
    """Read lm-eval runs, compare each with its baseline item by item, and write a report.

    Args:
        folder: Folder of lm-eval outputs (results and samples files at any depth), a results file, or a pattern of
            either; or several of these. A file that is reached twice counts once.
        output: Report folder. It appears whole or not at all; an earlier report there is replaced.
        baseline: Label of the run to compare with, where the uncompressed run is not the one.
        allow: Names of differences to accept (the keys of DIFFERENCES).
        tasks: Shell patterns of the tasks to analyse; none takes all.
        settings: What tests and intervals are made with; the defaults if not given.
        catalogue: Tables of the report, in the order in which it shows them; those of CATALOGUE must be among them.
        base: What models were made from, "MODEL=BASE" each, where neither evidence nor a card says it.

    Returns:
        The analysis. Refused comparisons are no error: they are left out of every table, and named in
        `pairing.refusals` and in the issues.

    Raises:
        UserError: If something is not there, there is no readable run, no task matches, the baseline is unknown or not
            unique, `allow` or `base` holds an unknown name, or `output` holds something that is not a report.
    """
    inputs, output, given = Inputs.of(folder), Path(output), settings or Settings()
    allowed, patterns, listed, bases = check_allowed(allow), tuple(tasks), _complete(catalogue), tuple(base)
    with staged_folder(output, *inputs.paths) as stage, ItemStore(stage / "items.parquet") as store:
        with DocumentStore(stage / "documents.parquet") as documents:
            logs = read_logs(inputs, store, patterns, documents=documents, bases=bases)
        baselines = choose_baselines(logs.runs, baseline, _typed(inputs, output, allowed, patterns, bases, given))
        pairing = pair_runs(logs, baselines, allowed)
        perplexities, left_out = perplexity_changes(logs, pairing.pairs)
        making = Making({LOGS: logs, BASELINES: baselines, PAIRING: pairing, SETTINGS: given})
        making.give(PERPLEXITY_CHANGES, perplexities)
        records, unread = read_profiles(inputs, logs.runs)
        making.give(PROFILE_RECORDS, records)
        places = _give_roles(making, logs, baselines, pairing)
        tables, parts = making.tables(listed), making.parts(listed)
        unmeasured = making.of(METRIC_COMPARISON).issues
        del making  # and the answers, most of the memory of a large analysis
        scores = run_scores(logs, baselines, pairing)
        shown, metric = headline(scores, perplexities, tables)
        written = output.resolve() / "tables"
        analysis = Analysis(
            folder=inputs.root,
            given=inputs.given,
            output=output,
            tables=Tables({entry.name: tables.get(entry.name, written / f"{entry.name}.parquet") for entry in listed}),
            catalogue=listed,
            headline=shown,
            perplexity_metric=metric,
            pairing=pairing,
            issues=[*logs.issues, *baselines.issues, *pairing.issues, *left_out, *places, *unmeasured, *unread],
            named_baseline=baseline,
            allow=allowed,
            bases=bases,
            patterns=patterns,
            settings=given,
        )
        write_report(analysis, stage, parts)  # the long tables are made from the store as they are written
    return analysis


def _complete(catalogue: Iterable[AnyTable]) -> tuple[AnyTable, ...]:
    """The tables to write, with all that the report's first page is made from among them."""
    listed = tuple(catalogue)
    missing = [entry.name for entry in CATALOGUE if entry not in listed]
    if missing:
        raise UserError(
            f"catalogue lacks tables of every report: {', '.join(missing)}. Add to CATALOGUE, don't replace it"
        )
    return listed


def _typed(
    inputs: Inputs,
    output: Path,
    allowed: frozenset[str],
    patterns: tuple[str, ...],
    bases: tuple[str, ...],
    settings: Settings,
) -> AnalyzeCommand:
    """The command line of this analysis, but for its baseline: what an issue tells the user to type is made from it."""
    usual = Settings().as_dict()
    changed = {name: value for name, value in settings.as_dict().items() if value != usual[name]}
    options = {
        "output": None if str(output) == "report" else output,
        "task": patterns,
        "allow": sorted(allowed),
        "base": bases,
        **changed,
    }
    return AnalyzeCommand.of(inputs, options)


def _give_roles(making: Making, logs: Logs, baselines: Baselines, pairing: Pairing) -> list[Issue]:
    """Add the answers that have a direction; return what can't be placed, and runs that follow one option's place."""
    runs = making.of(RUNS_TABLE)
    items, role_runs, undirected = role_frames(logs, baselines, pairing, runs)
    places = one_option_issues(items, runs)
    answers = Answers.of(items)
    making.give(ROLE_RUNS, role_runs)
    making.give(ANSWERS, answers)
    return [*places, *unplaced_issues(answers, runs, undirected)]
