"""What an analysis comes to: made by the pipeline, shown by the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .compare.pairing import Pairing
from .errors import UserError
from .logs import Issue
from .schema.declare import AnyTable
from .settings import Settings

__all__ = ["Analysis", "Tables"]


class Tables(Mapping[str, pd.DataFrame]):
    """Tables of a report by name, in its order; a long one is read from the report when it is first asked for."""

    def __init__(self, tables: Mapping[str, pd.DataFrame | Path]) -> None:
        """Take frames, and Parquet files in their stead, which need not be there yet."""
        self._tables = dict(tables)

    def __getitem__(self, name: str) -> pd.DataFrame:
        """The whole table.

        Raises:
            KeyError: If there is none of this name; the message lists the names.
            UserError: If the report that it lies in is gone.
        """
        if name not in self._tables:
            raise KeyError(f"no table {name!r}; there are {', '.join(self)}")
        found = self._tables[name]
        if isinstance(found, Path):
            found = self._tables[name] = _read(found)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def __repr__(self) -> str:
        """The names alone: the frames are long."""
        return f"<{len(self)} tables: {', '.join(self)}>"


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise UserError(f"{path} is gone: analyse the runs again, or move the report back") from None


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The outcome of one analysis; its tables are what the report's files hold."""

    folder: Path
    """Analysed folder."""
    output: Path
    """Report folder."""
    tables: Mapping[str, pd.DataFrame]
    """Tables of the report by name."""
    catalogue: tuple[AnyTable, ...]
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
