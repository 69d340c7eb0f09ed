"""lm_eval's output folder: checked before the work, and what was written to it checked after.

lm_eval 0.4.13 makes the folder when all is computed. Where that fails it logs a warning and ends with exit code 0: the
results are lost, and a disk that fills up leaves half a file.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from lm_eval_ext.errors import UserError, require_text

__all__ = ["guard_tracker", "refuse_unwritable"]

# Set on the class whose methods are wrapped, so that it happens only once.
_MARK = "guarded_by_lm_eval_ext"
# Enough that a full disk refuses it, where it would still take an empty file.
_PROBE = b"\0" * 65536


def refuse_unwritable(output_path: str) -> None:
    """Raise UserError if lm_eval could not write its results there; a folder that is missing is not made.

    Args:
        output_path: `--output_path`: a folder, or the path of a .json file.
    """
    require_text("--output_path", output_path)
    folder = Path(output_path).absolute()
    if folder.suffix == ".json":
        folder = folder.parent
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"--output_path {output_path}: {there} is a file, not a folder; name another folder")
    reason = _refused(there)
    if reason is not None:
        raise UserError(f"--output_path {output_path} can't be written to ({reason}); name another folder")


def guard_tracker() -> None:
    """Make lm_eval's EvaluationTracker check its folder at the start, and its files once they are written.

    At the end a failure prints lm_eval's table, removes the half file and raises UserError. Calling it again changes
    nothing, and a release of lm_eval whose tracker has other methods is left alone.
    """
    tracker = import_module("lm_eval.loggers.evaluation_tracker").EvaluationTracker
    if _MARK in vars(tracker) or not all(hasattr(tracker, name) for name in _GUARDS):
        return
    for name, guard in _GUARDS.items():
        setattr(tracker, name, guard(vars(tracker)[name]))
    setattr(tracker, _MARK, True)


def _start(original: Any) -> Any:
    @wraps(original)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if self.output_path:
            refuse_unwritable(str(self.output_path))

    return checked


def _save_results(original: Any) -> Any:
    @wraps(original)
    def checked(self: Any, results: Any, *args: Any, **kwargs: Any) -> None:
        original(self, results, *args, **kwargs)
        # For the table, should the samples fail.
        vars(self)[_MARK] = results
        if self.output_path:
            folder = Path(self.output_path)
            name = f"results_{getattr(self, 'date_id', '')}.json"
            if folder.suffix == ".json":
                folder, name = folder.parent, name.replace("results", folder.stem, 1)
            else:
                folder = folder / str(self.general_config_tracker.model_name_sanitized)
            _require(folder / name, _is_json, results)

    return checked


def _save_samples(original: Any) -> Any:
    @wraps(original)
    def checked(self: Any, task_name: str, samples: Any, *args: Any, **kwargs: Any) -> None:
        original(self, task_name, samples, *args, **kwargs)
        if self.output_path:
            folder = Path(self.output_path)
            folder = (
                folder.parent
                if folder.suffix == ".json"
                else folder / str(self.general_config_tracker.model_name_sanitized)
            )
            file = folder / f"samples_{task_name}_{getattr(self, 'date_id', '')}.jsonl"
            _require(file, lambda path: _lines(path) >= len(samples), vars(self).get(_MARK))

    return checked


_GUARDS = {
    "__init__": _start,
    "save_results_aggregated": _save_results,
    "save_results_samples": _save_samples,
}


def _require(file: Path, whole: Any, results: Any) -> None:
    """Raise UserError if a file is not there whole, after its remains are gone and the table is shown."""
    with suppress(OSError, ValueError):
        if whole(file):
            return
    reason = _refused(file.parent) or "the warnings above say why"
    with suppress(OSError):
        file.unlink(missing_ok=True)
    with suppress(Exception):
        from lm_eval.utils import make_table

        print(make_table(results))
    raise UserError(f"{file} could not be written ({reason}); what lm_eval's table shows is all that is left")


def _is_json(file: Path) -> bool:
    json.loads(file.read_bytes())
    return True


def _lines(file: Path) -> int:
    """Lines of a file that end in a line break; -1 where the last does not."""
    count, end = 0, b"\n"
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            count, end = count + block.count(b"\n"), block[-1:]
    return count if end == b"\n" else -1


def _refused(folder: Path) -> str | None:
    """Why a file can't be written into a folder, or None if it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(_PROBE)
            probe.flush()
    except OSError as error:
        return error.strerror or type(error).__name__
    return None
