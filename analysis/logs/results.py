"""One results file as a typed record: the facts of a run, its tasks and their aggregate metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from .aggregates import aggregates
from .content import load_object
from .engine.rules import ADDED, RUNTIMES
from .fields import RUN_FIELDS, take_all
from .find import RunFiles
from .inputs import name_in
from .inspect_logs import is_inspect
from .issues import Issue
from .runlog import RunLog, TaskLog
from .task_groups import task_groups
from .undated import claimed, date_of
from .values import LogError, integer, mapping, number, text, words

__all__ = ["RunLog", "TaskLog", "read_results"]

_T = TypeVar("_T")
ROLLING = "loglikelihood_rolling"
_EVIDENCE_VERSIONS = (1, 2, 3, 4)


def read_results(files: RunFiles, folder: Path, patterns: Iterable[str] = ()) -> tuple[RunLog | None, list[Issue]]:
    """Read one results file.

    Args:
        files: The run's files.
        folder: Issues name files relative to it.
        patterns: Shell patterns of the task names to keep; none keeps all.

    Returns:
        The run, or None with an issue if the file can't be read or is not lm-eval's; and the issues: tasks that
        can't be read, tasks with results whose samples are missing, samples of a task that the results don't know.
    """
    name = name_in(folder, files.results)
    try:
        content = load_object(files.results)
        _demand(content, "results")
        facts = _facts(content)
        _demand(content, "configs")
        date_id, told = (files.date_id, True) if files.date_id is not None else date_of(content, files.results)
        own = {task: [path] for task, path in files.samples.items()} | claimed(content, files.loose)
        if is_inspect(files.results):
            own = {task: [files.results] for task in content["configs"]}
        samples = {task: paths[0] for task, paths in own.items() if len(paths) == 1}
        found, issues = _tasks(content, samples, name)
    except (ValueError, RecursionError) as fault:
        return None, [Issue(name, "unreadable", f"{fault}; the run is left out")]
    tasks = {task.name: task for task in found if _wanted(task.name, patterns)}
    issues += [
        Issue(name_in(folder, path), "unknown_task", f"{name} knows no task {task}; left out")
        for task, path in samples.items()
        if task not in content["configs"]
    ]
    issues += [
        Issue(name_in(folder, path), "duplicate_file", f"task {task} has a plain and a packed file; both left out")
        for task, paths in own.items()
        if len(paths) > 1
        for path in paths
    ]
    if absent := [task.name for task in tasks.values() if not task.samples and task.output_type != ROLLING]:
        message = f"no samples file for {', '.join(absent)}, so no items: was lm_eval run without --log_samples?"
        issues.append(Issue(name, "no_samples", message))
    if (version := facts["evidence_version"]) not in (None, *_EVIDENCE_VERSIONS):
        message = f"compression evidence of schema {version}, read as {max(_EVIDENCE_VERSIONS)}; the rest is ignored"
        issues.append(Issue(name, "evidence_version", message, "note"))
    groups = task_groups(content, content["configs"])
    if not told:
        message = "no date in its name or content (lm_eval before 0.4.2): the file's own time orders the runs"
        issues.append(Issue(name, "no_date", message, "note"))
    run = RunLog(file=name, date_id=date_id, facts=facts, tasks=tasks, groups=groups, samples=samples)
    return run, issues


def _demand(content: dict[str, Any], section: str) -> None:
    if not isinstance(content.get(section), dict):
        raise LogError(f"{section}: missing; not a results file of lm-eval")


def _wanted(task: str, patterns: Iterable[str]) -> bool:
    patterns = tuple(patterns)
    return not patterns or any(fnmatchcase(task, pattern) for pattern in patterns)


def _facts(content: dict[str, Any]) -> dict[str, Any]:
    config = content.get("config")
    arguments = _model_args(config.get("model_args") if isinstance(config, Mapping) else None)
    facts = take_all(RUN_FIELDS, {**content, "$model_args": arguments})
    facts["arguments"] = arguments
    for place in _OBJECTS:
        _expect_object(content, place)
    # Another file or adapter on top makes another model of the same name.
    extra = [arguments.get(key) for key in ADDED]
    facts["serves"] = _served(facts, arguments)
    facts["attachments"] = [str(value).rstrip("/") for value in extra if value not in (None, "")]
    return facts


def _served(facts: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    """A name for what a server without a named model serves: lm_eval makes up a new one in every run."""
    if arguments.keys() & {"peft", "delta", "pretrained", "model", "path"} or "base_url" not in arguments:
        return None
    if isinstance(told := facts["engine_values"].get("model"), str) and told:
        return told
    kind = str(facts["model_type"])
    # The address alone: what stands before @ or after ? may be a key.
    address = str(arguments["base_url"]).partition("?")[0].rpartition("@")[2].partition("://")
    return f"{RUNTIMES.get(kind, kind)} at {(address[2] or address[0]).strip('/')}"


_OBJECTS = sorted(
    {entry.path.rpartition(".")[0] for entry in RUN_FIELDS} - {"", "$model_args"}
    | {entry.path for entry in RUN_FIELDS if entry.parse is mapping}
)
"""Places in a results file that hold an object, or nothing."""


def _expect_object(content: dict[str, Any], place: str) -> None:
    """Evidence of another form is not no evidence, which would make the run an uncompressed one."""
    value: Any = content
    for key in place.split("."):
        value = value.get(key)
        if value is None:
            return
        try:
            _object(value)
        except LogError as fault:
            raise LogError(f"{place}: {fault}") from None


def _model_args(value: Any) -> dict[str, Any]:
    """lm-eval's model arguments: an object, or key=value pairs joined by commas (outside brackets)."""
    if isinstance(value, Mapping):
        return dict(value)
    if not isinstance(value, str) and value is not None:
        raise LogError("config.model_args: expected an object or a text")
    out: dict[str, Any] = {}
    depth, current = 0, ""
    for character in f"{value or ''},":
        depth += (character in "[{(") - (character in "]})")
        if character == "," and depth == 0:
            key, separator, given = current.partition("=")
            if separator:
                out[key.strip()] = given.strip()
            current = ""
        else:
            current += character
    return out


def _tasks(content: dict[str, Any], samples: Mapping[str, Path], file: str) -> tuple[list[TaskLog], list[Issue]]:
    """Every task that has a config (groups have results too, but no config), and an issue for each unreadable one."""
    tasks, issues = [], []
    for name in content["configs"]:
        try:
            tasks.append(_task(name, content, samples.get(name)))
        except LogError as fault:
            issues.append(Issue(file, "bad_task", f"task {name}: {fault}; the task is left out"))
    return tasks, issues


def _task(name: str, content: dict[str, Any], samples: Path | None) -> TaskLog:
    def of(key: str) -> Any:
        section = content.get(key)
        return section.get(name) if isinstance(section, Mapping) else None

    def parsed(parse: Callable[[Any], _T], key: str) -> _T:
        try:
            return parse(of(key))
        except LogError as fault:
            raise LogError(f"{key}: {fault}") from None

    config, metrics, counts = parsed(_object, "configs"), of("results"), of("n-samples")
    return TaskLog(
        name=name,
        output_type=text(config.get("output_type")) or "generate_until",
        version=parsed(words, "versions"),
        n_shot=parsed(integer, "n-shot"),
        n_effective=None if counts is None else integer(parsed(_object, "n-samples").get("effective")),
        task_hash=parsed(text, "task_hashes"),
        perplexities={} if metrics is None else dict(_perplexities(parsed(_object, "results"))),
        samples=samples,
        **aggregates(metrics, config, of("higher_is_better")),
    )


_KINDS = {str: "a text", bool: "true or false", int: "a number", float: "a number", list: "a list"}


def _object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise LogError(f"expected an object, got {_KINDS.get(type(value), 'null')}")
    return value


def _perplexities(metrics: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    for key, value in metrics.items():
        metric, _, name = key.partition(",")
        if (metric == "perplexity" or metric.endswith("_perplexity")) and (found := number(value)) is not None:
            yield (metric if name in ("", "none") else key), found
