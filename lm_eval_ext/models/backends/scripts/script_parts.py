"""What the scripts share; it lies beside them, so that it is found by whichever interpreter runs them."""

from __future__ import annotations

import fnmatch
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Fewer inputs or outputs than this are coefficients, not features.
COEFFICIENTS = 8


class RefusedError(Exception):
    """What was asked can't be done."""


def serve(work: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Read the request, do the work, write the answer, or what is refused in a line."""
    asked, answered = (Path(argument).resolve() for argument in sys.argv[1:3])
    request = json.loads(asked.read_text())
    os.chdir(asked.parent)  # libraries leave logs where they run
    try:
        answer = work(request)
    except RefusedError as refusal:
        answer = {"refused": str(refusal)}
    answered.write_text(json.dumps(answer))


def excluded(names: list[str], patterns: list[str]) -> set[str]:
    """Names that a shell pattern of the module, of what holds it or of its weight takes out."""
    out: set[str] = set()
    used: set[str] = set()
    for name in names:
        parts = name.split(".")
        above = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
        fitting = {p for p in patterns for part in [*above, f"{name}.weight"] if fnmatch.fnmatchcase(part, p)}
        used |= fitting
        out |= {name} if fitting else set()
    idle = [pattern for pattern in patterns if pattern not in used]
    if idle:
        raise RefusedError(f"exclude={idle[0]!r} removes no matrix of the decoder blocks; take the pattern out")
    return out


def check_groups(maps: dict[str, Any], kept: list[str], step: dict[str, Any]) -> None:
    """Refuse a group size or pattern that does not divide the inputs of some matrix, all of them in one line."""
    for what, size in (("group_size", step["group_size"]), ("a pattern's", step["pattern"])):
        bad = [name for name in kept if size and maps[name].in_features % size]
        if bad:
            columns = ", ".join(str(c) for c in sorted({maps[name].in_features for name in bad}))
            more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
            raise RefusedError(
                f"{what} {size} does not divide the columns ({columns}) of {len(bad)} of {len(kept)} matrices: "
                f"{', '.join(bad[:3])}{more}; give one that does, granularity=channel, or leave them out with exclude"
            )
