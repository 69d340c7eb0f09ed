"""Records of bytes, memory and speed as rows, each beside its run's perplexity and verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from ...logs.profiles import Profile
from ...schema.declare import ReportTable
from ..sources import PERPLEXITY_CHANGES, PROFILE_RECORDS
from ..verdicts.runs import RUN_VERDICTS_TABLE
from .columns import BYTES, PROFILES, SPEEDS

__all__ = ["PROFILES", "PROFILES_TABLE", "profiles"]


def profiles(records: Sequence[Profile], perplexities: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """One row a run, record and batch size.

    Args:
        records: What was read.
        perplexities: Table PERPLEXITIES; of several the first of a run stands beside it.
        verdicts: Table RUN_VERDICTS.

    Returns:
        Table PROFILES. A figure that a record lacks is missing.
    """
    rows = [row for record in records for row in _rows(record)]
    if not rows:
        return PROFILES.empty()
    first = perplexities.drop_duplicates("run").set_index("run")
    words = verdicts.set_index("run")["verdict"]
    frame = pd.DataFrame(rows)
    for name in ("perplexity_task", "perplexity_pct_change"):
        frame[name] = frame["run"].map(first[name]) if len(first) else None
    frame["run_verdict"] = frame["run"].map(words) if len(words) else None
    return PROFILES.conform(frame)


def _rows(record: Profile) -> Iterator[dict[str, Any]]:
    machine, settings = (_of(record.content, name) for name in ("machine", "settings"))
    sides: Sequence[Mapping[str, Any]] = record.content["sides"]
    ratios = _of(record.content, "ratios")
    for place, (side, run) in enumerate(zip(sides, record.runs, strict=True)):
        if run is None:
            continue
        second = place == 1
        row: dict[str, Any] = {
            "run": run,
            "baseline": record.runs[0] if second else None,
            "file": record.file,
            "device": str(machine.get("device") or "unknown"),
            "profile_threads": machine.get("threads"),
            "n_rounds": settings.get("rounds") or 0,
            "profile_dtype": side.get("dtype"),
            "disk_bits_per_weight": _number(side.get("bits_per_weight")),
            "archive": settings.get("archive"),
            **{f"load_seconds{end}": _number(_of(side, "load_seconds").get(key)) for end, key in _TIMES.items()},
        }
        for name in BYTES:
            row[name] = _number(side.get(name))
            row[f"{name}_ratio"] = _number(ratios.get(name)) if second else None
        for batch, found in _of(side, "batches").items():
            yield row | {"batch": int(batch)} | _speeds(found, ratios if second else {}, batch)


_TIMES = {"": "median", "_p95": "p95"}


def _speeds(found: Mapping[str, Any], ratios: Mapping[str, Any], batch: str) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name in SPEEDS:
        row[f"{name}_tokens_per_second"] = _number(found.get(f"{name}_tokens_per_second"))
        for end, key in _TIMES.items():
            row[f"{name}_seconds{end}"] = _number(_of(found, f"{name}_seconds").get(key))
        ratio = _of(ratios, f"{name}_seconds_batch_{batch}")
        for end, key in (("", "median"), ("_low", "least"), ("_high", "most")):
            row[f"{name}_time_ratio{end}"] = _number(ratio.get(key))
    return row


def _of(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = content.get(name)
    return found if isinstance(found, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


PROFILES_TABLE = ReportTable(
    PROFILES,
    (PROFILE_RECORDS, PERPLEXITY_CHANGES, RUN_VERDICTS_TABLE),
    profiles,
    reading=(
        "at batch {batch}: files {file_bytes_ratio:g} times the dense model's, decoding takes "
        "{decode_time_ratio:g} times as long ({decode_time_ratio_low:g} to {decode_time_ratio_high:g})",
        "at batch {batch}: {decode_tokens_per_second:g} tokens a second, "
        "{disk_bits_per_weight:g} bits a weight on disk",
        "nothing was measured",
    ),
)
