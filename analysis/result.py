"""What an analysis comes to: made by the pipeline, shown by the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .compare.pairing import Pairing
from .logs import Issue
from .settings import Settings
from .tables.declare import ReportTable

__all__ = ["Analysis"]


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The outcome of one analysis; its tables are what the report's files hold."""

    folder: Path
    """Analysed folder."""
    output: Path
    """Report folder."""
    tables: dict[str, pd.DataFrame]
    """Tables of the report by name."""
    catalogue: tuple[ReportTable, ...]
    """What each of them holds and is made from, in the order of the report."""
    headline: pd.DataFrame
    """Table HEADLINE: the main numbers of each run and task."""
    perplexity_metric: str | None
    """Task and metric of the headline's perplexity; None without one."""
    pairing: Pairing
    """What was compared, and what was refused."""
    issues: list[Issue]
    """Everything that was left out, kept apart, refused, accepted or noted."""
    named_baseline: str | None
    allow: frozenset[str]
    patterns: tuple[str, ...]
    settings: Settings
    """What its tests and intervals are made with."""
