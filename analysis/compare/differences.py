"""What can make two runs of a task incomparable: one short name for each, as `--allow` takes it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ..answers.match import KEY, match
from ..logs import RunLog, TaskLog
from ..logs.faults import some
from ..logs.results import ROLLING
from .engines import engine_differences, scoring_told

__all__ = ["DIFFERENCES", "NO_ITEMS", "NO_PERPLEXITY", "Difference", "item_differences", "setting_differences"]

DIFFERENCES = {
    "items": "The runs hold different items, or seeds of them; allowed, only the common ones are compared.",
    "filters": "One run holds answers of a filter that the other lacks; allowed, only those of both are compared.",
    "docs": "The same item has another document.",
    "targets": "The same item has another target.",
    "prompts": "The same item was asked with another prompt.",
    "requests": "The same prompt was sent with other continuations, options or generation arguments.",
    "chat_template": "Another chat template, or one against none.",
    "system_instruction": "Another system instruction, or one against none.",
    "fewshot": "Another number of few-shot examples, or another way to send them.",
    "task_version": "Another version of the task.",
    "protocol": "The answers were got in another way (letters, text, cyclic, sampled and by whom, output type).",
    "metric": "Another metric says which answers are right; allowed, right answers of the two are not compared.",
    "engine": "Another program computed the answers (transformers, vllm, sglang, llama.cpp, a server).",
    "engine_version": "Another version of a serving engine; of transformers it is only noted.",
    "kv_cache": "Keys and values were kept in another form, and nothing says that this is what is studied.",
    "parallel": "Sums were split over devices in another way (tensor, expert or context parallel).",
    "batch_invariant": "One run promises scores that do not depend on the batch, the other says that it does not.",
    "scoring_dtype": "Log-probabilities were taken in another dtype.",
    "window": "Rolling perplexity was taken with another maximal length.",
    "rolling_bos": "Rolling perplexity counts tokens that the tokenizer added in one run and not in the other.",
}
"""Every difference by name, with its meaning."""

NO_ITEMS = "no_items"
"""Name of a difference that can't be accepted: a run has no answer to any item, so that nothing is left to compare."""
NO_PERPLEXITY = "no_perplexity"
"""Likewise of a rolling task, which has nothing but its perplexities: the runs have none in common."""

_HASHES = {"docs": "doc_hash", "targets": "target_hash", "prompts": "prompt_hash", "requests": "request_hash"}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One way in which two runs of a task differ."""

    name: str
    """A key of DIFFERENCES, NO_ITEMS or NO_PERPLEXITY."""
    detail: str
    """What was seen, with counts and an example."""
    acceptable: bool = True
    """Whether `--allow` can help; it can't where nothing is left to compare."""
    remedy: str = "Run both alike"
    """What else can be done."""

    def __str__(self) -> str:
        return f"{self.name} ({self.detail})"


def setting_differences(run: RunLog, baseline: RunLog, task: str) -> list[Difference]:
    """What the two results files say differently about how a task was run.

    A rolling task has no items: of its documents, number and hash are compared. Any other task without a row of
    items, in one run or in both, has the difference NO_ITEMS, whatever the results files count and average.
    """
    own, other = run.tasks[task], baseline.tasks[task]
    pairs: dict[str, tuple[object, object]] = {
        "chat_template": (
            _short(run.facts["chat_template_sha"]),
            _short(baseline.facts["chat_template_sha"]),
        ),
        "system_instruction": (
            _short(run.facts["system_instruction_sha"]),
            _short(baseline.facts["system_instruction_sha"]),
        ),
        "fewshot": (_shots(run, own), _shots(baseline, other)),
        "task_version": (own.version, other.version),
        "protocol": (own.output_type, other.output_type),
    }
    pairs |= engine_differences(run, baseline)
    if own.output_type != "generate_until" and ("engine" not in pairs or scoring_told(run, baseline)):
        # Generation picks tokens from the model's logits; nothing is scored in a dtype of its own.
        pairs["scoring_dtype"] = (run.scoring_dtype, baseline.scoring_dtype)
    if ROLLING in (own.output_type, other.output_type):
        pairs["items"] = (_documents(own.n_effective), _documents(other.n_effective))
        if own.task_hash and other.task_hash and own.n_effective == other.n_effective:
            pairs["docs"] = (f"hash {own.task_hash[:12]}", f"hash {other.task_hash[:12]}")
    if own.output_type == ROLLING:
        pairs["window"] = (run.facts["max_length"], baseline.facts["max_length"])
        if False not in (run.facts["special_tokens"], baseline.facts["special_tokens"]):
            # Other models than ours, and ours of old, score them as lm_eval's hf does, and don't say so.
            pairs["rolling_bos"] = (run.facts["rolling_bos"] or "hf", baseline.facts["rolling_bos"] or "hf")
        # A prompt format does not reach a text that is scored as it stands.
        del pairs["chat_template"], pairs["system_instruction"], pairs["fewshot"]
    found = [
        Difference(name=name, detail=f"{_say(mine)} against {_say(theirs)}")
        for name, (mine, theirs) in pairs.items()
        if mine != theirs
    ]
    return _no_items(own, other) + _no_perplexity(own, other) + found


def _no_items(own: TaskLog, other: TaskLog) -> list[Difference]:
    """What is missing where a run, or its baseline, has no answer to any item of a task that has items."""
    empty = {name: log for name, log in (("the run", own), ("the baseline", other)) if not log.rows and not _rolls(log)}
    if not empty:
        return []
    gone = [log for log in empty.values() if log.samples is None]
    remedies = ["Run lm_eval again with --log_samples"]
    if any(log.task_hash for log in gone):
        remedies.append("put the file back beside the results file")
    if len(gone) < len(empty):
        remedies.append("mend the file: its issues say what is wrong")
    seen = " and ".join(f"{name} has {_without_rows(log)}" for name, log in empty.items())
    return [Difference(name=NO_ITEMS, detail=seen, acceptable=False, remedy=", or ".join(remedies))]


def _no_perplexity(own: TaskLog, other: TaskLog) -> list[Difference]:
    """What is missing where two runs of a rolling task have no perplexity in common."""
    if not (_rolls(own) and _rolls(other)) or own.perplexities.keys() & other.perplexities.keys():
        return []
    has = [", ".join(sorted(log.perplexities)) or "none" for log in (own, other)]
    detail = f"the run has {has[0]}, the baseline {has[1]}"
    remedy = "Run lm_eval again, and keep its files as they are"
    return [Difference(name=NO_PERPLEXITY, detail=detail, acceptable=False, remedy=remedy)]


def _rolls(task: TaskLog) -> bool:
    return task.output_type == ROLLING


def _without_rows(task: TaskLog) -> str:
    """Why a task has no rows, as far as the two files tell."""
    if task.samples is not None:
        return f"0 of {_documents(task.n_effective)} usable in {task.samples.name}"
    # Only a run that logs its samples hashes them.
    was = "was written, and is missing or left out" if task.task_hash else "was not written"
    return f"no samples file, which {was}; {_documents(task.n_effective)} were evaluated"


def item_differences(run: pd.DataFrame, baseline: pd.DataFrame) -> list[Difference]:
    """What differs between two runs' rows of one task.

    Args:
        run: Columns KEY, category, protocol, metric and the four hashes.
        baseline: Likewise.

    Returns:
        One difference a name, with the number of answers that it concerns and one item. An answer whose
        prompt differs is not counted again for its requests, which hold the prompt.
    """
    out = []
    if (lone := _filters(run, baseline)) is not None:
        out.append(lone)
        common = set(run["filter"]) & set(baseline["filter"])
        run, baseline = (rows[rows["filter"].isin(common)].reset_index(drop=True) for rows in (run, baseline))
    both = match(run[KEY], baseline[KEY])
    mine, theirs = both.run_alone, both.baseline_alone
    if len(mine) or len(theirs):
        example = (run.iloc[mine] if len(mine) else baseline.iloc[theirs])["item_id"].iloc[0]
        detail = (
            f"{len(mine)} answers of {len(run)} only in the run, {len(theirs)} of {len(baseline)} "
            f"only in the baseline, e.g. {example}{_categories(run, baseline)}"
        )
        out.append(Difference(name="items", detail=detail))
    run, baseline = (
        rows.iloc[places].reset_index(drop=True) for rows, places in ((run, both.run), (baseline, both.baseline))
    )
    other = {name: run[column] != baseline[column] for name, column in _HASHES.items()}
    other["requests"] &= ~other["prompts"]
    other["protocol"] = run["protocol"] != baseline["protocol"]
    # A run without any is no contradiction: its right answers are nowhere compared.
    says, said = (rows["metric"].astype("string") for rows in (run, baseline))
    other["metric"] = (says != said).fillna(False).astype(bool)
    for name, differs in other.items():
        if differs.any():
            example = run.loc[differs, "item_id"].iloc[0]
            detail = f"{int(differs.sum())} of {len(run)} common answers, e.g. {example}"
            if name == "metric":
                detail += f", by {says[differs].iloc[0]} against {said[differs].iloc[0]}"
            out.append(Difference(name=name, detail=detail))
    return out


def _filters(run: pd.DataFrame, baseline: pd.DataFrame) -> Difference | None:
    """Filters of whose answers one run has none."""
    mine, theirs = (sorted(map(str, rows["filter"].unique())) for rows in (run, baseline))
    alone = [f"{name} only in the run" for name in mine if name not in theirs]
    alone += [f"{name} only in the baseline" for name in theirs if name not in mine]
    return Difference(name="filters", detail=", ".join(alone)) if alone else None


def _categories(run: pd.DataFrame, baseline: pd.DataFrame) -> str:
    """The categories of whose items one run has none: more than some lost lines."""
    mine, theirs = (set(map(str, rows["category"].unique())) for rows in (run, baseline))
    said = [(some(sorted(theirs - mine)), "run"), (some(sorted(mine - theirs)), "baseline")]
    return "".join(f"; none of category {names} in the {where}" for names, where in said if names)


def _short(sha: str | None) -> str | None:
    return None if sha is None else sha[:12]


def _shots(run: RunLog, task: TaskLog) -> str:
    # Without examples there is no way to send them.
    turns = ", each its own turn" if task.n_shot and run.facts["fewshot_as_multiturn"] else ""
    return f"{task.n_shot or 0} examples{turns}"


def _documents(count: int | None) -> str:
    return "unknown" if count is None else f"{count} documents"


def _say(value: object) -> str:
    return "none" if value is None else str(value)
