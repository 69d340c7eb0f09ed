"""Sample logs of lm-eval as one tidy table of items and one record per run."""

from __future__ import annotations

from .documents import DocumentStore
from .inputs import Inputs
from .issues import ISSUES, Issue, issues_frame
from .read import Logs, read_logs
from .results import RunLog, TaskLog
from .store import ItemStore

__all__ = [
    "ISSUES",
    "DocumentStore",
    "Inputs",
    "Issue",
    "ItemStore",
    "Logs",
    "RunLog",
    "TaskLog",
    "issues_frame",
    "read_logs",
]
