"""Every table that a report holds, in the order in which it is shown."""

from __future__ import annotations

from analysis.columns import Table
from analysis.flips import FLIPS
from analysis.perplexity import EVALUATION_GAP
from analysis.runs import RUNS
from analysis.tables import TABLES

__all__ = ["REPORT_TABLES"]

REPORT_TABLES: tuple[Table, ...] = (RUNS, *TABLES, EVALUATION_GAP, FLIPS)
"""Tables of the folder `tables` of a report; the names are the files' names."""
