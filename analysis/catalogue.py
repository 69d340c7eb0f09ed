"""Every table that a report holds, in the order in which it is shown."""

from __future__ import annotations

from analysis.columns import Table
from analysis.flips import FLIPS
from analysis.perplexity import EVALUATION_GAP
from analysis.role_tables import ROLE_TABLES
from analysis.runs import RUNS

__all__ = ["REPORT_TABLES"]

REPORT_TABLES: tuple[Table, ...] = (RUNS, *ROLE_TABLES, EVALUATION_GAP, FLIPS)
"""Tables of the folder `tables` of a report; the names are the files' names."""
