"""What a results file says, altered section by section."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.fuzz.places import ODD, RAW, Path, dump, get, put, said


def typed(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    """A whole section of a results file replaced, or what it says of the task."""
    section = rng.choice([*record])
    path: Path = (section,)
    if isinstance(record[section], dict) and record[section] and rng.random() < 0.6:
        path = (section, rng.choice([*record[section]]))
    name = rng.choice([*ODD])
    put(record, path, RAW)
    return f"{said(path)} is {name}", dump(record).replace(f'"{RAW}"', ODD[name])


def section_gone(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    path: Path = (rng.choice([*record]),)
    if isinstance(record[path[0]], dict) and record[path[0]] and rng.random() < 0.6:
        path = (path[0], rng.choice([*record[path[0]]]))
    del get(record, path[:-1])[path[-1]]
    return f"{said(path)} gone", dump(record)


def metric(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    (metrics,) = record["results"].values()
    name = rng.choice([key for key, value in metrics.items() if isinstance(value, float)])
    value = metrics[name]
    metrics[name] = rng.choice((value + 0.1, 0.0, 1.0, -value, value * 1.01, 1 - value))
    return f"{name} {value} is {metrics[name]}", dump(record)


def count(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    (counts,) = record["n-samples"].values()
    name = rng.choice([*counts])
    counts[name] = rng.choice((0, counts[name] + 1, counts[name] - 1, counts[name] / 2, -1, str(counts[name] + 1)))
    return f"n-samples.{name} is {counts[name]!r}", dump(record)


def arguments(record: Any, rng: Random, *_: Any) -> tuple[str, str]:
    given = record["config"]["model_args"]
    new: Any = rng.choice(
        (
            "",
            "pretrained",
            "pretrained=",
            "=,=,",
            "pretrained=other",
            "[[[",
            "\x00",
            7,
            [],
            {"pretrained": None},
            {},
            None,
        )
    )
    if isinstance(given, dict) and rng.random() < 0.6:
        name = rng.choice([*given])
        new = {**given, name: rng.choice(("other", None, 3, [], {"a": 1}, "", "float16"))}
    record["config"]["model_args"] = new
    return f"model_args is {new!r:.80}", dump(record)
