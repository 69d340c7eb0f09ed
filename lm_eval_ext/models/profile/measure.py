"""Dense beside compressed in one run: the two in turn, round after round, each time in a process of its own."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

import lm_eval_ext
from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends.isolated import run_isolated
from lm_eval_ext.models.checkpoints.write import EVIDENCE_FILE
from lm_eval_ext.models.profile.sizes import archived, codec, folder_of, parameters, weight_files

__all__ = ["FORMAT", "Plan", "profile"]

FORMAT = "lm-eval-ext-profile"
_VERSION = 1
_WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is run in every round."""

    rounds: int = 6
    """Processes of each model, in turn."""
    repeats: int = 2
    """Prefills of each batch in one process, after one to warm up."""
    prompt: int = 128
    """Tokens of the prompt."""
    new: int = 16
    """Decode steps after each prefill."""
    batches: tuple[int, ...] = (1, 8)
    archive: bool = True
    """Whether the files are compressed to see how small they get."""
    dtype: str = "auto"
    device: str | None = None
    threads: int | None = None
    revision: str = "main"
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        for name in ("rounds", "repeats", "prompt", "new"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name}: expected at least 1, got {getattr(self, name)}")


def profile(sides: Mapping[str, str], plan: Plan, tell: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Measure one or two checkpoints.

    Args:
        sides: Name of each side ("dense", "compressed") and its folder or hub name.
        plan: What to run.
        tell: Told what is done next.

    Returns:
        The record, plain JSON data: `sides` with bytes, memory and times, `ratios` of the second to the first, paired
        by round.

    Raises:
        UserError: If a model can't be found, loaded or run.
    """
    squeezer = codec() if plan.archive else None
    records = {}
    for name, pretrained in sides.items():
        tell(f"reading the files of {name}")
        records[name] = _files(name, pretrained, plan, squeezer)
    known = next((r["parameters"] for r in records.values() if r["parameters"] is not None), None)
    for record in records.values():  # a packed checkpoint does not tell, but the other side has as many weights
        record["parameters"] = record["parameters"] or known
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for number in range(plan.rounds):
        # The order changes every round, so that neither side always has the warmer machine.
        for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
            tell(f"round {number + 1} of {plan.rounds}: {name}")
            rounds[name].append(_run(sides[name], plan, hash=number == 0))
    for name, done in rounds.items():
        records[name] |= _side(done, records[name], plan)
    first = next(iter(rounds.values()))[0]
    return {
        "format": FORMAT,
        "version": _VERSION,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "lm_eval_ext": lm_eval_ext.__version__,
        "machine": {
            "system": platform.platform(),
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load_before": None if load is None else load[0],
            "device": first["device"],
            "threads": first["threads"],
            "torch": first["versions"]["torch"],
        },
        "settings": {
            "rounds": plan.rounds,
            "repeats": plan.repeats,
            "prompt_tokens": plan.prompt,
            "new_tokens": plan.new,
            "batches": list(plan.batches),
            "archive": squeezer,
        },
        "sides": list(records.values()),
        "ratios": _ratios(list(records.values()), list(rounds.values())),
    }


def _files(name: str, pretrained: str, plan: Plan, squeezer: str | None) -> dict[str, Any]:
    """What a side's files say, before anything is run."""
    folder = folder_of(pretrained, plan.revision)
    files = weight_files(folder)
    record: dict[str, Any] = {
        "name": name,
        "pretrained": pretrained,
        "file_bytes": sum(path.stat().st_size for path in files),
        "archive_bytes": archived(files, squeezer) if squeezer else None,
        "parameters": parameters(folder),
        "label": None,
        "recipe": None,
        "packed_bits_per_weight": None,
    }
    beside = folder / EVIDENCE_FILE
    if beside.is_file():
        evidence = json.loads(beside.read_text(encoding="utf-8"))
        totals = evidence.get("totals", {})
        record |= {"label": evidence.get("label"), "recipe": evidence.get("recipe")}
        record["packed_bits_per_weight"] = totals.get("bits_per_weight")
        record["sparsity"] = totals.get("achieved_sparsity")
    return record


def _run(pretrained: str, plan: Plan, *, hash: bool) -> dict[str, Any]:
    """One round of one side."""
    request = {
        "pretrained": str(folder_of(pretrained, plan.revision)),
        "revision": plan.revision,
        "dtype": plan.dtype,
        "device": plan.device,
        "threads": plan.threads,
        "trust_remote_code": plan.trust_remote_code,
        "prompt": plan.prompt,
        "new": plan.new,
        "repeats": plan.repeats,
        "batches": list(plan.batches),
        "hash": hash,
    }
    with tempfile.TemporaryDirectory(prefix="lm-eval-ext-profile-") as folder:
        try:
            return run_isolated(_WORKER, request, log=Path(folder) / "log")
        except UserError as error:
            raise UserError(f"{pretrained} can't be measured: {str(error).split(' (all of it in')[0]}") from None


def _side(done: Sequence[Mapping[str, Any]], record: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """All rounds of one side together."""
    numel = record["parameters"]
    return {
        "dtype": done[0]["dtype"],
        "weights_hash": next(r["weights_hash"] for r in done if r["weights_hash"] is not None),
        "weight_bytes": done[0]["weight_bytes"],
        "bits_per_weight": None if numel is None else 8 * record["file_bytes"] / numel,
        "load_seconds": _times([r["load_seconds"] for r in done]),
        "peak_bytes": _most(done, "peak_bytes"),
        "peak_bytes_load": _most(done, "peak_bytes_load"),
        "peak_bytes_gpu": _most(done, "peak_bytes_gpu"),
        "batches": {str(batch): _batch(done, batch, plan) for batch in plan.batches},
    }


def _batch(done: Sequence[Mapping[str, Any]], batch: int, plan: Plan) -> dict[str, Any]:
    """Times of one batch size, and the tokens a second that their median means."""
    prefill, decode = (
        _times([seconds for r in done for seconds in r["batches"][str(batch)][f"{key}_seconds"]])
        for key in ("prefill", "decode")
    )
    return {
        "prefill_seconds": prefill,
        "prefill_tokens_per_second": batch * plan.prompt / prefill["median"],
        "decode_seconds": decode,
        "decode_tokens_per_second": batch / decode["median"],
    }


def _times(values: Sequence[float]) -> dict[str, float]:
    """Median, and the least value that at least 95 % of the values don't exceed."""
    ordered = sorted(values)
    return {"median": median(ordered), "p95": ordered[-(-95 * len(ordered) // 100) - 1], "n": len(ordered)}


def _ratios(records: Sequence[Mapping[str, Any]], rounds: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Second side over the first; for times the median of each round, so that a slow minute hits both."""
    if len(records) < 2:
        return {}
    found: dict[str, Any] = {}
    for key in ("file_bytes", "archive_bytes", "weight_bytes", "peak_bytes", "peak_bytes_gpu"):
        one, two = (record.get(key) for record in records)
        if one and two:
            found[key] = two / one
    pairs = list(zip(*rounds, strict=True))
    found["load_seconds"] = _spread([two["load_seconds"] / one["load_seconds"] for one, two in pairs])
    for batch in records[0]["batches"]:
        for key in ("prefill", "decode"):
            times = [[median(side["batches"][batch][f"{key}_seconds"]) for side in pair] for pair in pairs]
            found[f"{key}_seconds_batch_{batch}"] = _spread([two / one for one, two in times])
    return found


def _spread(ratios: Sequence[float]) -> dict[str, float]:
    return {"median": median(ratios), "least": min(ratios), "most": max(ratios)}


def _most(done: Sequence[Mapping[str, Any]], key: str) -> int | None:
    values = [r[key] for r in done if r[key] is not None]
    return max(values, default=None)
