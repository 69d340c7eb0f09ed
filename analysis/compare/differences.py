"""What can make two runs of a task incomparable: one short name for each, as `--allow` takes it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ..answers.match import KEY, match
from ..logs import RunLog, TaskLog
from ..logs.results import ROLLING

__all__ = ["DIFFERENCES", "Difference", "item_differences", "setting_differences"]

DIFFERENCES = {
    "items": "The runs hold different items, or seeds of them; allowed, only the common ones are compared.",
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
    "scoring_dtype": "Log-probabilities were taken in another dtype.",
    "window": "Rolling perplexity was taken with another maximal length.",
    "rolling_bos": "Rolling perplexity counts tokens that the tokenizer added in one run and not in the other.",
}
"""Every difference by name, with its meaning."""

_HASHES = {"docs": "doc_hash", "targets": "target_hash", "prompts": "prompt_hash", "requests": "request_hash"}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One way in which two runs of a task differ."""

    name: str
    """A key of DIFFERENCES."""
    detail: str
    """What was seen, with counts and an example."""
    acceptable: bool = True
    """Whether `--allow` can help; it can't where nothing is left to compare."""

    def __str__(self) -> str:
        return f"{self.name} ({self.detail})"


def setting_differences(run: RunLog, baseline: RunLog, task: str) -> list[Difference]:
    """What the two results files say differently about how a task was run.

    For a task without item rows (rolling perplexity, or samples not logged), also whether the same
    documents were scored.
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
    if own.output_type != "generate_until":
        # Generation picks tokens from the model's logits; nothing is scored in a dtype of its own.
        pairs["scoring_dtype"] = (run.scoring_dtype, baseline.scoring_dtype)
    if not own.rows or not other.rows:
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
    return [
        Difference(name=name, detail=f"{_say(mine)} against {_say(theirs)}")
        for name, (mine, theirs) in pairs.items()
        if mine != theirs
    ]


def item_differences(run: pd.DataFrame, baseline: pd.DataFrame) -> list[Difference]:
    """What differs between two runs' rows of one task.

    Args:
        run: Columns KEY, protocol, metric and the four hashes.
        baseline: Likewise.

    Returns:
        One difference a name, with the number of answers that it concerns and one item. An answer whose
        prompt differs is not counted again for its requests, which hold the prompt.
    """
    out = []
    both = match(run[KEY], baseline[KEY])
    mine, theirs = both.run_alone, both.baseline_alone
    if len(mine) or len(theirs):
        example = (run.iloc[mine] if len(mine) else baseline.iloc[theirs])["item_id"].iloc[0]
        detail = (
            f"{len(mine)} answers of {len(run)} only in the run, {len(theirs)} of {len(baseline)} "
            f"only in the baseline, e.g. {example}"
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
