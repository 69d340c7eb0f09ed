"""A checkpoint made by a script of ours in a process of its own, and kept by what it was made of."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends.backend import Source
from lm_eval_ext.models.backends.interpreter import interpreter_of, versions_in
from lm_eval_ext.models.backends.isolated import run_isolated
from lm_eval_ext.models.backends.sources import (
    files_hash,
    plain_dtype,
    refuse_unread,
    source_config,
    source_folder,
    source_tokenizer,
)
from lm_eval_ext.models.checkpoints.kept import kept
from lm_eval_ext.models.recipe.calibration import load_calibration
from lm_eval_ext.models.recipe.recipe import Calibration, Recipe
from lm_eval_ext.tokens.positions import config_positions

__all__ = ["SCRIPTS", "Made", "make"]

log = logging.getLogger(__name__)

SCRIPTS = Path(__file__).with_name("scripts")


@dataclass(frozen=True, kw_only=True)
class Made:
    """A checkpoint that a script made, now or in an earlier run."""

    folder: Path
    facts: dict[str, Any]
    """What the script told, and what it was given: versions, calibration, whether it was there already."""


def make(
    source: Source,
    recipe: Recipe,
    cache: Path,
    *,
    backend: str,
    script: str,
    distributions: Sequence[str],
    steps: Sequence[Mapping[str, Any]],
    more: Mapping[str, Any],
) -> Made:
    """Run a script on a source, unless the same has been done before.

    Args:
        source: What to compress.
        recipe: What to do; its calibration is drawn here, and handed over as token ids.
        cache: Where checkpoints are kept.
        backend: Its name, for messages and the log.
        script: File name among ours.
        distributions: What the script needs, the library first; their versions are part of the key.
        steps: The steps as the script takes them, in plain types.
        more: What else it is asked, in plain types.

    Raises:
        UserError: If it can't be done; with the script's reason where it gives one.
    """
    refuse_unread(source, backend)
    folder = source_folder(source, backend)
    python = interpreter_of(recipe.steps)
    versions = versions_in(python, distributions, recipe.method)
    samples, record = [], None
    if recipe.needs_calibration:
        tokenizer = source_tokenizer(source, folder)
        positions = config_positions(source_config(source, folder))
        drawn, found = load_calibration(recipe.calibration or Calibration(), tokenizer, positions)
        samples, record = [sample[0].tolist() for sample in drawn], found.as_dict()
    request = {
        "steps": [dict(step) for step in steps],
        "dtype": plain_dtype(source),
        "seed": 0 if record is None else record["seed"],
        "seqlen": max(map(len, samples), default=None),
        "trust_remote_code": bool(source.loader.get("trust_remote_code")),
        **more,
    }
    path = SCRIPTS / script
    key = {
        "backend": backend,
        "weights": files_hash(folder),
        "request": request,
        "calibration": None if record is None else record["token_hash"],
        "versions": versions,
        "script": hashlib.sha256(b"".join(p.read_bytes() for p in sorted(SCRIPTS.glob("*.py")))).hexdigest(),
    }

    def write(place: Path) -> dict[str, Any]:
        tokenizer_of = source.loader.get("tokenizer")
        with tempfile.TemporaryDirectory(prefix="lm-eval-ext-") as beside:
            tokens = Path(beside) / "tokens.json"
            tokens.write_text(json.dumps({"tokens": samples}), encoding="utf-8")
            where = {
                "source": str(folder.resolve()),
                "tokenizer": _whole(tokenizer_of),
                "folder": str(place.resolve()),
                "tokens": str(tokens) if samples else None,
            }
            log.info("%s compresses %s in a process of its own; its log is %s", backend, folder, cache / _log(backend))
            answer = run_isolated(path, request | where, log=cache / _log(backend), python=python)
        if "refused" in answer:
            raise UserError(f"{recipe.label} by {backend}: {answer['refused']}")
        return answer

    found_there = kept(cache, key, write)
    facts = dict(found_there.facts) | {"versions": versions, "reused": found_there.reused}
    return Made(folder=found_there.path, facts=facts | ({} if record is None else {"calibration": record}))


def _whole(tokenizer: object) -> str | None:
    """A tokenizer's folder by its whole path, or its name on the hub: the script runs in a folder of its own."""
    if not isinstance(tokenizer, str):
        return None
    return str(Path(tokenizer).resolve()) if Path(tokenizer).is_dir() else tokenizer


def _log(backend: str) -> str:
    return f"{backend}.log"
