"""What every table of a report was made from and with."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..result import Analysis

__all__ = ["made_by", "metadata"]

_PACKAGES = ("numpy", "pandas", "pyarrow", "scipy", "statsmodels")


def metadata(analysis: Analysis) -> dict[str, Any]:
    """Facts that hold for all tables: settings, unit of independence, what was left out and why, hashes, versions.

    Returns:
        A record that JSON can hold. `left_out` counts the issues by kind; issues.csv names each.
    """
    settings = analysis.settings
    runs = analysis.tables["runs"]
    return {
        "made_by": made_by(),
        "alpha": round(1 - settings.level, 12),
        **settings.as_dict(),
        "cluster_key": "cluster (the template that an item was made from)",
        "baseline": analysis.named_baseline,
        "accepted_differences": sorted(analysis.allow),
        "left_out": dict(sorted(Counter(issue.kind for issue in analysis.issues).items())),
        "refused_comparisons": len(analysis.pairing.refusals),
        "runs": {
            str(row["run"]): {"file": str(row["file"]), "weights_hash": _text(row.get("weights_hash"))}
            for row in runs.to_dict("records")
        },
        "versions": {name: version(name) for name in _PACKAGES},
    }


def made_by() -> str:
    """Name and version of this package."""
    try:
        return f"lm-eval-ext {version('lm-eval-ext')}"
    except PackageNotFoundError:
        return "lm-eval-ext"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
