"""What an analysis comes to: made by the pipeline, shown by the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .compare.pairing import Pairing
from .errors import UserError
from .logs import Issue
from .settings import Settings

__all__ = ["Analysis", "Tables"]


class Tables(Mapping[str, pd.DataFrame]):
    """Tables of a report by name. Those too large to be kept in memory are read from the report whenever asked for."""

    def __init__(self, held: Mapping[str, pd.DataFrame], stored: Mapping[str, Path]) -> None:
        """Take frames and the Parquet files of others, which need not be there yet."""
        self._held, self._stored = dict(held), dict(stored)

    def __getitem__(self, name: str) -> pd.DataFrame:
        """The whole table.

        Raises:
            KeyError: If there is none of this name; the message lists the names.
            UserError: If the report that it lies in is gone.
        """
        if name in self._held:
            return self._held[name]
        if name not in self._stored:
            raise KeyError(f"no table {name!r}; there are {', '.join(self)}")
        path = self._stored[name]
        try:
            return pd.read_parquet(path)
        except FileNotFoundError as error:
            raise UserError(f"{path} is gone: analyse the runs again, or move the report back") from error

    def __iter__(self) -> Iterator[str]:
        return iter((*self._held, *self._stored))

    def __len__(self) -> int:
        return len(self._held) + len(self._stored)

    def __repr__(self) -> str:
        """The names alone: the frames are long."""
        return f"<{len(self)} tables: {', '.join(self)}>"


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The outcome of one analysis; its tables are what the report's files hold."""

    folder: Path
    """Analysed folder."""
    output: Path
    """Report folder."""
    tables: Mapping[str, pd.DataFrame]
    """Tables of the report by name (analysis.catalogue.REPORT_TABLES)."""
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
