"""What the tasks of this folder need beyond YAML, written as lm_eval's own tasks write it."""

from __future__ import annotations

import re
from typing import Any


def blank_answer(doc: dict[str, Any]) -> int:
    """Which context is right: a task whose `doc_to_text` is a number has several contexts and one continuation."""
    return int(doc["answer"])


def blank_contexts(doc: dict[str, Any]) -> list[str]:
    """The sentence up to its blank, filled with each option."""
    return [doc["sentence"].split("_")[0] + option for option in doc["options"]]


def blank_rest(doc: dict[str, Any]) -> str:
    """What follows the blank."""
    return str(doc["sentence"].split("_")[1].strip())


def truth_share(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """The probability of all true options among all options: an `acc` that is seldom whole."""
    from math import exp

    shares = [exp(score) for score, _ in results]
    true = sum(share for share, label in zip(shares, doc["labels"], strict=True) if label)
    return {"acc": true / sum(shares)}


def stereotype(doc: dict[str, Any], results: list[tuple[float, bool]]) -> dict[str, float]:
    """Which sentence of a pair is likelier, and by how much."""
    more, less = (score for score, _ in results)
    return {"likelihood_diff": abs(more - less), "pct_stereotype": 1.0 if more > less else 0.0}


def words(text: str) -> list[str]:
    """The words of a text in small letters."""
    return re.findall(r"[a-z]+", text.lower())


def overlaps(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
    """Exact match, F1 of words, and what bleu is aggregated from."""
    found, wanted = words(results[0]), words(doc["answer"])
    common = sum(min(found.count(word), wanted.count(word)) for word in set(found))
    return {
        "exact_match": int(found == wanted),
        "f1": 2 * common / (len(found) + len(wanted)) if found else 0.0,
        "bleu": [doc["answer"], results[0]],
        "bleu_acc": bool(common >= 2),
    }


def follows(doc: dict[str, Any], results: list[str]) -> dict[str, Any]:
    """Whether each rule of a document is kept, and whether all are."""
    text = results[0]
    kept = [bool(re.search(rule, text)) for rule in doc["rules"]]
    return {"prompt_level_strict_acc": all(kept), "inst_level_strict_acc": kept}


def share_of_all(items: list[list[bool]]) -> float:
    """The mean over the rules of all documents."""
    flat = [one for item in items for one in item]
    return sum(flat) / len(flat)


def passes(doc: dict[str, Any], results: list[list[str]]) -> dict[str, float]:
    """The share of the texts that name the answer, and whether any does."""
    hits = [doc["answer"] in text for text in results[0]]
    return {"pass@1": sum(hits) / len(hits), "pass@3": float(any(hits))}


def matthews(items: list[tuple[int, int]]) -> float:
    """Matthews' correlation of key and answer; lm_eval's own draws 100,000 samples for its standard error."""
    counts = {pair: sum(tuple(item) == pair for item in items) for pair in ((0, 0), (0, 1), (1, 0), (1, 1))}
    (right_no, false_yes, false_no, right_yes) = counts.values()
    size = (right_yes + false_yes) * (right_yes + false_no) * (right_no + false_yes) * (right_no + false_no)
    return float((right_yes * right_no - false_yes * false_no) / size**0.5) if size else 0.0


def f1_of_yes(items: list[tuple[int, int]]) -> float:
    """F1 of the second option."""
    right = sum(gold == found == 1 for gold, found in items)
    wrong = sum(gold != found for gold, found in items)
    return 2 * right / (2 * right + wrong) if right or wrong else 0.0
