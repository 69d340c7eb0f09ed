"""Every table that a report holds, in the order in which it is shown."""

from __future__ import annotations

from ..schema.columns import Table
from .flips import FLIPS
from .item_changes.columns import ITEM_CHANGES
from .perplexity import EVALUATION_GAP
from .role_tables import ROLE_TABLES
from .runs import RUNS

__all__ = ["REPORT_TABLES"]

REPORT_TABLES: tuple[Table, ...] = (RUNS, *ROLE_TABLES, EVALUATION_GAP, FLIPS, ITEM_CHANGES)
"""Tables of the folder `tables` of a report; the names are the files' names."""
