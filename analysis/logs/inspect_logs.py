"""Logs of Inspect (`.eval`), read by inspect_ai's own reader: its multiple-choice tasks as if lm_eval had logged them.

One file is a whole run of one task. Its header takes the place of a results file, each of its samples that of a line
with an item, whose texts are the sample's epochs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import require_extra
from .values import LogError

__all__ = ["inspect_lines", "inspect_results", "is_inspect", "require_reader"]

_SCORER = "choice"
"""inspect_ai's scorer of multiple-choice tasks: a letter, or nothing, as answer."""
_MEAN = (None, "mean")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def is_inspect(path: Path) -> bool:
    """Whether a file is called like a log of Inspect."""
    return path.suffix == ".eval"


def require_reader() -> None:
    """Make sure that inspect_ai is there.

    Raises:
        UserError: If not, with the line that installs it.
    """
    require_extra(("inspect_ai",), "inspect", "reading logs of Inspect (.eval)")


def inspect_results(path: Path) -> dict[str, Any]:
    """A log's header as lm_eval's results file would say it.

    Raises:
        LogError: If it can't be read, the run did not end, or the task is not multiple-choice.
    """
    log = _read(path, header_only=True)
    told = log.eval
    if log.status != "success" or log.results is None:
        raise LogError(f"the run of Inspect did not end (status {log.status})")
    scores = [score for score in log.results.scores if score.scorer == _SCORER]
    if not scores:
        seen = ", ".join(score.scorer for score in log.results.scores) or "none"
        raise LogError(f"a task of Inspect without the scorer choice (its scorers: {seen}); only these are read")
    metrics = {name: metric.value for name, metric in scores[0].metrics.items()}
    whole = scores[0].reducer in _MEAN and "accuracy" in metrics
    count = log.results.total_samples // (told.config.epochs or 1)
    return {
        "results": {told.task: {"acc,none": metrics["accuracy"]} if whole else {}},
        "configs": {told.task: {"task": told.task, "output_type": "generate_until"}},
        "versions": {told.task: str(told.task_version)},
        "n-samples": {told.task: {"original": told.dataset.samples, "effective": count}},
        "config": {"model": "inspect", "model_args": {"pretrained": told.model, **told.model_args}},
        "model_name": told.model,
        "date": datetime.fromisoformat(str(told.created)).timestamp(),
    }


def inspect_lines(path: Path, broken: Callable[[str], None]) -> Iterator[tuple[int, bytes]]:
    """A log's samples as lm_eval's lines, those of one id (the epochs) as one.

    Args:
        path: The log.
        broken: Told in words where it can't be read.

    Yields:
        The number of each line from 1, and its bytes. What can't be read as an answer is a line without one, which the
        reader of lines counts and leaves out.
    """
    try:
        log = _read(path, header_only=False)
    except LogError as fault:
        broken(str(fault))
        return
    epochs: dict[Any, list[Any]] = {}
    for sample in log.samples or ():
        epochs.setdefault(sample.id, []).append(sample)
    settings = log.eval.model_generate_config.model_dump(mode="json", exclude_none=True)
    for number, samples in enumerate(epochs.values(), start=1):
        ordered = sorted(samples, key=lambda sample: sample.epoch)
        line = _line(number - 1, ordered, log.eval.task, settings)
        yield number, json.dumps(line).encode() + b"\n"


def _read(path: Path, *, header_only: bool) -> Any:
    require_reader()
    from inspect_ai.log import read_eval_log

    try:
        return read_eval_log(str(path), header_only=header_only)
    except Exception as error:  # its reader promises none: a cut-off archive, another layout, a file that is none
        raise LogError(f"inspect_ai can't read it ({type(error).__name__}: {error})") from error


def _line(number: int, samples: list[Any], task: str, settings: dict[str, Any]) -> dict[str, Any]:
    first = samples[0]
    options = list(first.choices or ())
    # Options in another order are other options: the first epoch's answers for them all, or for none.
    same = all((sample.choices or []) == options and sample.target == first.target for sample in samples)
    letters = _LETTERS[: len(options)]
    key = letters.index(first.target) if isinstance(first.target, str) and _is_letter(first.target, letters) else None
    item = {
        "version": 2,
        "item_id": f"{task}/{first.id}",
        "benchmark": task,
        "category": task,
        "cluster": f"{task}/{first.id}",
        "roles": [],
        "key": key,
    }
    question = first.input if isinstance(first.input, str) else None
    texts = [_text(sample, letters, key) for sample in samples]
    answered = any(text["status"] == "answered" for text in texts)
    answer = {"protocol": "inspect", "status": "answered" if answered else "unparsed", "probs": None, "texts": texts}
    return {
        "doc_id": number,
        "doc": {"item": item, "question": question, "options": options},
        "target": str(first.target),
        "arguments": {"gen_args_0": {"arg_0": _prompt(first), "arg_1": settings}},
        "resps": [[text["text"] for text in texts]],
        "filtered_resps": [text["text"] for text in texts],
        "filter": "none",
        "metrics": [],
        "answer": answer if options and key is not None and same else {"status": _fault(options, key)},
    }


def _fault(options: list[str], key: int | None) -> str:
    return "no options" if not options else "not one right option" if key is None else "other options in other epochs"


def _text(sample: Any, letters: str, key: int | None) -> dict[str, Any]:
    """What one epoch came to, as an entry of `answer.texts`."""
    score = (sample.scores or {}).get(_SCORER)
    given = score.answer if score is not None else None
    text = {"seed": sample.epoch, "text": sample.output.completion, "role": None}
    if sample.error is not None or score is None:
        return text | {"status": "not scored", "choice": None}
    if not given:
        return text | {"status": "unparsed", "choice": None}
    choice = letters.index(given) if _is_letter(given, letters) else None
    # inspect_ai's own verdict is kept honest: C is right, I is wrong.
    agrees = choice is not None and score.value == ("C" if choice == key else "I")
    return text | {"status": "answered" if agrees else f"answer {given!r} scored {score.value!r}", "choice": choice}


def _is_letter(given: str, letters: str) -> bool:
    return len(given) == 1 and given in letters


def _prompt(sample: Any) -> str:
    """All that was sent before the model first spoke, message by message."""
    sent = []
    for message in sample.messages:
        if message.role == "assistant":
            break
        sent.append([message.role, message.text])
    return json.dumps(sent, ensure_ascii=False)
