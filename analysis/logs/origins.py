"""What a run was made from, where its results file does not say: files beside the weights, hashes, or the user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..errors import UserError, unknown_name
from .engine.beside import EVIDENCE_FILE, Beside, look_beside
from .fields import RUN_FIELDS
from .labels import label_runs
from .runlog import RunLog
from .values import LogError

__all__ = ["find_origins", "short_name"]

_COMPRESSION = "config.compression."
_OWN = {"dtype", "softmax_dtype", "evidence_version", "weights_hash", "kv", "status", "doubts"}
"""Facts under `compression` that stay the run's own where another record says how its weights were made."""
_MADE = [entry for entry in RUN_FIELDS if entry.path.startswith(_COMPRESSION) and entry.column not in _OWN]


def find_origins(runs: list[RunLog], told: Iterable[str] = ()) -> list[RunLog]:
    """The runs with what is known of their origin.

    1. Weights of the hash that a compressed run of these logged are that run's.
    2. A model whose folder is here is what the record of `save_compressed` beside it says: proved where the run logged
       the hash of what it loaded, else unverified. A compressed model is made from the base model that its card names.
    3. What the user told goes before all of it.

    Args:
        runs: Runs in order of date.
        told: "MODEL=BASE" each: name, path, label or results file of a run, and the base model or a run of it.

    Raises:
        UserError: If what was told has no "=", no run is meant by the one or no base model by the other.
    """
    made = {
        run.facts["weights_hash"]: run
        for run in runs
        if run.facts["weights_hash"] and not run.is_dense and run.facts["weights_hash"] != run.facts["base_hash"]
    }
    found = [_of_files(_of_hash(run, made)) for run in runs]
    return _as_told(found, tuple(told))


def short_name(name: str) -> str:
    """The last component of a model's name or path."""
    return name.rstrip("/").rsplit("/", 1)[-1]


def _of_hash(run: RunLog, made: Mapping[Any, RunLog]) -> RunLog:
    """A dense run of weights that another run's compression made."""
    source = made.get(run.facts["weights_hash"] or run.facts["base_hash"])
    if source is None or not run.is_dense:
        return run
    facts = {entry.column: source.facts[entry.column] for entry in _MADE}
    weights = source.facts["weights_hash"]
    return _with(run, facts | {"weights_hash": weights}, source.standing.status, "hash", source.base_model, ())


def _of_files(run: RunLog) -> RunLog:
    """A run whose evidence says nothing of how the weights were made, with what lies beside them."""
    if run.facts["method"] not in (None, "none", "unverified") or run.facts.get("base_by"):
        return run
    name = run.facts["pretrained"] or run.facts["pretrained_args"] or (run.facts.get("arguments") or {}).get("model")
    found = name and look_beside(str(name), run.facts["revision"] or run.facts["revision_args"], run.engine.runtime)
    if not found:
        return run
    if found.evidence and (made := _of_record(run, found)) is not None:
        return made
    if run.facts["method"] != "none":  # evidence has looked at the form itself
        run = replace(run, facts=run.facts | {"files_say": found.forms})
    if found.base and found.base != run.own_name and not run.is_dense:
        run = replace(run, facts=run.facts | {"base_told": found.base, "base_by": "card"})
    return run


def _of_record(run: RunLog, found: Beside) -> RunLog | None:
    """The run as the record beside its weights describes them; None where that is of an uncompressed model."""
    record = {"config": {"compression": found.evidence}}
    try:
        facts = {entry.column: entry.take(record) for entry in _MADE}
        after = next(entry for entry in RUN_FIELDS if entry.column == "weights_hash").take(record)
    except LogError:
        return None
    if facts["method"] in (None, "none"):
        return None
    base, own = facts["pretrained"], run.facts["weights_hash"] or run.facts["base_hash"]
    if own and own == after:
        return _with(
            run, facts | {"weights_hash": own}, str(found.evidence.get("status") or "proved"), "hash", base, ()
        )
    label = f"{facts['label'] or facts['method']}(unverified)"
    if own:
        doubt = f"{EVIDENCE_FILE} beside it is of other weights than those that were scored"
    elif found.written is not None and _after(found.written, run.date):
        doubt = f"{EVIDENCE_FILE} beside it is younger than the run"
    else:
        doubt = f"known by {EVIDENCE_FILE} beside it alone: the run logged no hash of what it loaded"
        return _with(run, facts | {"label": label}, "unverified", "files", base, (doubt,))
    # What it was made from is plausible all the same; how much was done to it is not known.
    gone = dict.fromkeys(("sparsity", "bits", "achieved_sparsity", "bits_per_weight"))
    gone |= dict.fromkeys(("decoder_sparsity", "decoder_bits_per_weight", "recipe_values", "base_hash"))
    empty: dict[str, Any] = {"recipe_values": {}, "method": "unverified", "label": None}
    return _with(run, facts | gone | empty, "unverified", "files", base, (doubt,))


def _after(written: float, date: str) -> bool:
    try:
        return written > datetime.fromisoformat(date).timestamp()
    except (ValueError, OverflowError, OSError):
        return False


def _with(
    run: RunLog, facts: dict[str, Any], status: str, by: str, base: str | None, doubts: tuple[str, ...]
) -> RunLog:
    own = {name: run.facts[name] for name in ("pretrained", "revision")}
    known = {"status": status, "doubts": (*run.facts["doubts"], *doubts), "base_by": by, "base_told": base}
    return replace(run, facts=run.facts | facts | own | known)


def _as_told(runs: list[RunLog], told: tuple[str, ...]) -> list[RunLog]:
    if not told:
        return runs
    labelled = label_runs(runs)[0]
    bases = {str(run.base_model) for run in runs}
    out = {id(run): run for run in runs}
    for entry in told:
        meant, base = _meant(entry, labelled, bases)
        for run in meant:
            if base == run.own_name:
                raise UserError(f"--base {entry}: {base} is the model itself. Give what it was made from")
            facts = {"base_told": base, "base_by": "--base", "base_hash": None}
            out[id(run)] = replace(run, facts=run.facts | facts)
    return list(out.values())


def _meant(entry: str, runs: Mapping[str, RunLog], bases: set[str]) -> tuple[list[RunLog], str]:
    """The runs that are meant, and their base model."""
    if "=" not in entry:
        raise UserError(f"--base {entry}: expected MODEL=BASE, such as --base org/m-AWQ=org/m")
    # Names may hold a "=" themselves.
    splits = [(entry[:place], entry[place + 1 :]) for place, sign in enumerate(entry) if sign == "="]
    for left, right in splits:
        found = [run for label, run in runs.items() if left in _names(label, run)]
        if found:
            return found, _base(right, runs, bases)
    known = list(dict.fromkeys(run.own_name for run in runs.values()))
    raise unknown_name("model or label of a run (--base MODEL=BASE)", splits[0][0], known)


def _names(label: str, run: RunLog) -> set[str]:
    return {label, run.own_name, short_name(run.own_name), run.file, run.file.rsplit("/", 1)[-1]}


def _base(given: str, runs: Mapping[str, RunLog], bases: set[str]) -> str:
    if given in bases:
        return given
    if given in runs:
        return runs[given].base_model
    short = [name for name in bases if short_name(name) == short_name(given)]
    if len(short) == 1:
        return short[0]
    raise unknown_name("base model (--base MODEL=BASE)", given, sorted(bases))
