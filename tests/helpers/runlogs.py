"""lm-eval's output files, made line by line for the tests of the reader, the pairing and the report."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scipy.stats import entropy

DATE = "2026-01-02T03-04-05.{:06d}"
ROLES = ["stereotype", "anti_stereotype", "unknown"]


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sample(
    doc_id: int,
    doc: dict[str, Any],
    requests: Sequence[tuple[Any, ...]],
    responses: Sequence[Any],
    **rest: Any,
) -> dict[str, Any]:
    """One samples line as lm-eval 0.4.13 writes it; `rest` holds the metrics and replaces any key."""
    target = str(doc.get("answer", doc.get("label", "")))
    line = {
        "doc_id": doc_id,
        "doc": doc,
        "target": target,
        "arguments": {
            f"gen_args_{i}": {f"arg_{j}": value for j, value in enumerate(request)}
            for i, request in enumerate(requests)
        },
        "resps": [[response] for response in responses],
        "filtered_resps": list(responses),
        "filter": "none",
        "metrics": [name for name in rest if name in ("acc", "acc_norm", "exact_match", "srs")],
        "doc_hash": sha(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": sha(str(requests[0][0])),
        "target_hash": sha(target),
    }
    return line | rest


def choice_line(
    doc_id: int, choice: int, *, key: int = 0, prompt: str = "Q", options: int = 3, **rest: Any
) -> dict[str, Any]:
    """A multiple_choice line that picks `choice`, with scores that depend on both."""
    doc = {"question": f"question {doc_id}", "answer": key}
    scores = [[str(-1.5 if i == choice else -3.0 - i), "False"] for i in range(options)]
    requests = [(f"{prompt} {doc_id}", f" option {i}") for i in range(options)]
    return sample(doc_id, doc, requests, scores, **{"acc": float(choice == key), **rest})


def text_line(doc_id: int, text: str, *, key: str = "4", **rest: Any) -> dict[str, Any]:
    """A generate_until line that answers `text`."""
    doc = {"question": f"question {doc_id}", "answer": key}
    requests = [(f"Q {doc_id}", {"until": ["\n"]})]
    return sample(doc_id, doc, requests, [text], **{"exact_match": float(text == key), **rest})


def bbq_item(number: int, *, category: str = "Age", condition: str = "ambig", correct: int = 2) -> dict[str, Any]:
    return {
        "item_id": f"bbq/{category}/{number}",
        "benchmark": "bbq",
        "category": category,
        "condition": condition,
        "polarity": "neg" if number % 2 else "nonneg",
        "cluster": f"{category}/{number // 4}",
        "roles": ROLES,
        "groups": [["old"], ["young"], []],
        "correct": correct,
        "subcategory": "None",
        "stereotyped_groups": ["old"],
    }


def letter_scores(probabilities: Any, mass: Any, size: int) -> list[list[str]]:
    """Responses of a model that gives the letters these probabilities, which add up to `mass` among all tokens."""
    if not isinstance(probabilities, list) or not all(isinstance(p, float) and p > 0 for p in probabilities):
        return [[str(-1.0 - i), "False"] for i in range(size)]
    return [[str(math.log((mass or 0.9) * p)), "False"] for p in probabilities]


def uncertainty(probabilities: list[float] | None) -> dict[str, float | None]:
    """Entropy in bits and margin of known probabilities."""
    if probabilities is None or None in probabilities or not probabilities:
        return {"entropy": None, "margin": None}
    first, second = sorted(probabilities, reverse=True)[:2]
    return {"entropy": float(entropy(probabilities, base=2)), "margin": first - second}


def bbq_line(
    doc_id: int, choice: int | None, *, item: dict[str, Any] | None = None, prompt: str = "P", **answer: Any
) -> dict[str, Any]:
    """A line of our letters protocol; choice None is an unscored item, `answer` replaces fields."""
    item = item or bbq_item(doc_id)
    probabilities = None if choice is None else [0.6 if i == choice else 0.2 for i in range(3)]
    given = {
        "protocol": "letters",
        "status": "unscored" if choice is None else "answered",
        "choice": choice,
        "role": None if choice is None else item["roles"][choice],
        "probs": probabilities,
        "letter_mass": 0.9,
        "draws": None,
    } | answer
    given = uncertainty(given["probs"]) | given
    doc = {"item": item, "context": f"context {doc_id}", "options": ["a", "b", "c"], "label": item["correct"]}
    scores = letter_scores(given["probs"], given["letter_mass"], 3)
    requests = [(f"{prompt} {item['item_id']}", letter) for letter in "ABC"]
    return sample(doc_id, doc, requests, scores, srs=None, answer=given)


def drawn_line(
    doc_id: int, choices: Sequence[int | None], *, item: dict[str, Any] | None = None, seed: int = 42, prompt: str = "P"
) -> dict[str, Any]:
    """A line of a sampled protocol: one draw per choice, seeds from `seed` on; None is an unparsed text."""
    item = item or bbq_item(doc_id)
    draws = [
        {
            "seed": seed + i,
            "text": "?" if choice is None else "ABC"[choice],
            "status": "unparsed" if choice is None else "answered",
            "choice": choice,
            "role": None if choice is None else item["roles"][choice],
        }
        for i, choice in enumerate(choices)
    ]
    status = "answered" if any(choice is not None for choice in choices) else "unparsed"
    given = {"protocol": "sampled", "status": status, "draws": draws, "probs": None, "letter_mass": None}
    return bbq_line(doc_id, None, item=item, prompt=prompt, **given)


def scheme_item(
    number: int, roles: Sequence[str], axes: dict[str, str | None], *, key: int | None = None, **changes: Any
) -> dict[str, Any]:
    """An item record of version 2 of a benchmark with these roles on these axes, two items a template."""
    record = {
        "version": 2,
        "item_id": f"mine/Work/{number}",
        "benchmark": "mine",
        "category": "Work",
        "condition": None,
        "polarity": None,
        "cluster": f"Work/{number // 2}",
        "roles": list(roles),
        "scheme": {"name": "mine", "axes": axes},
        "groups": [[] for _ in roles],
        "key": key,
        "subcategory": "",
        "stereotyped_groups": [],
    }
    return record | changes


def scheme_line(doc_id: int, item: dict[str, Any], choice: int | None) -> dict[str, Any]:
    """A scored line of such an item: the choice is twice as probable as each other option; None is unscored."""
    size = len(item["roles"])
    shares = [(2 if i == choice else 1) / (size + 1) for i in range(size)]
    given = {
        "protocol": "letters",
        "status": "unscored" if choice is None else "answered",
        "choice": choice,
        "role": None if choice is None else item["roles"][choice],
        "probs": None if choice is None else shares,
        "letter_mass": 0.9,
        "texts": None,
    }
    given |= uncertainty(given["probs"])
    doc = {"item": item, "context": f"context {doc_id}", "options": list("abcdefgh"[:size]), "key": item["key"]}
    scores = letter_scores(given["probs"], 0.9, size)
    return sample(doc_id, doc, [(f"P {item['item_id']}", letter) for letter in "ABCDEFGH"[:size]], scores, answer=given)


def write_pair(
    folder: Path, items: Sequence[dict[str, Any]], before: Sequence[int | None], after: Sequence[int | None]
) -> None:
    """An uncompressed run and a pruned one of task `mine`, with these choices."""
    for number, (record, choices) in enumerate(((evidence("dense", **DENSE), before), (evidence("wanda-50"), after))):
        lines = [scheme_line(i, *pair) for i, pair in enumerate(zip(items, choices, strict=True))]
        write_run(folder / str(number), number, {"mine": Task(lines)}, record)


def rolling_line(doc_id: int, loglikelihood: float) -> dict[str, Any]:
    """A loglikelihood_rolling line over five words."""
    doc = {"page": f"one two three four {doc_id}"}
    return sample(doc_id, doc, [(doc["page"],)], [str(loglikelihood)], word_perplexity=[loglikelihood, 5])


def evidence(label: str, **changes: Any) -> dict[str, Any]:
    """The compression record of results["config"]."""
    record = {
        "schema_version": 1,
        "label": label,
        "method": label.split("-")[0],
        "sparsity": 0.5,
        "bits": None,
        "recipe": {"name": label, "version": 1},
        "base": {"pretrained": "org/base", "revision": None},
        "weights_hash_before": "aa" * 32,
        "weights_hash_after": sha(label),
        "dtype": "float32",
        "softmax_dtype": "float32",
        "calibration": {"source": "c4", "samples": 128, "token_hash": "cc" * 32},
        "totals": {"matrices": 14, "achieved_sparsity": 0.4998, "bits_per_weight": 32.0},
    }
    return record | changes


DENSE = {
    "method": "none",
    "sparsity": None,
    "recipe": None,
    "calibration": None,
    "weights_hash_after": "aa" * 32,
}


@dataclass
class Task:
    """A task's lines and what the results file says about it."""

    lines: list[dict[str, Any]]
    output_type: str = "multiple_choice"
    metrics: dict[str, Any] = field(default_factory=dict)
    version: Any = 1.0
    shots: int = 0
    log: bool = True
    """Whether its samples are logged."""


def write_run(
    folder: Path,
    number: int,
    tasks: dict[str, Task],
    compression: dict[str, Any] | None = None,
    *,
    stem: str = "results",
    suffix: str = ".jsonl",
    config: dict[str, Any] | None = None,
    **top: Any,
) -> Path:
    """Write one run's files.

    Args:
        folder: Where they go; made if needed.
        number: Microseconds of the date id: runs with other numbers are other runs.
        tasks: Tasks by name.
        compression: Evidence; None for a stock run of org/base.
        stem: Start of the results file's name.
        suffix: .jsonl or .jsonl.gz.
        config: Replacements in results["config"].
        top: Replacements at the top of the results.

    Returns:
        The results file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    date = DATE.format(number)
    counts = {name: len({line["doc_id"] for line in task.lines}) for name, task in tasks.items()}
    content = {
        "results": {name: {"alias": name, "name": name, **task.metrics} for name, task in tasks.items()},
        "configs": {name: {"task": name, "output_type": task.output_type} for name, task in tasks.items()},
        "versions": {name: task.version for name, task in tasks.items()},
        "n-shot": {name: task.shots for name, task in tasks.items()},
        "n-samples": {name: {"original": count, "effective": count} for name, count in counts.items()},
        "task_hashes": {name: task_hash(task.lines) for name, task in tasks.items() if task.log},
        "config": {
            "model": "hf" if compression is None else "compressed_hf",
            "model_args": {"pretrained": "org/base", "dtype": "float32"},
            "model_dtype": "torch.float32",
            "model_revision": "main",
            "batch_size": 8,
            "limit": None,
        }
        | ({} if compression is None else {"compression": compression})
        | (config or {}),
        "model_name": "org/base",
        "max_length": 512,
        "lm_eval_version": "0.4.13",
        "transformers_version": "5.17.0",
        "chat_template_sha": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": None,
    } | top
    path = folder / f"{stem}_{date}.json"
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    for name, task in tasks.items():
        if task.log:
            write_lines(folder / f"samples_{name}_{date}{suffix}", task.lines)
    return path


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def task_hash(lines: list[dict[str, Any]]) -> str:
    """As lm-eval: the hash of all hashes in order."""
    return sha("".join(line["doc_hash"] + line["prompt_hash"] + line["target_hash"] for line in lines))


def samples_of(results: Path, task: str) -> Path:
    """The samples file of a task beside a results file."""
    date = results.stem[-26:]
    return next(results.parent.glob(f"samples_{task}_{date}.jsonl*"))
