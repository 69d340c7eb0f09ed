"""Sample logs of lm-eval as one tidy table of items and one record per run."""

from __future__ import annotations

from analysis.logs.issues import ISSUES, Issue, issues_frame
from analysis.logs.read import Logs, read_logs
from analysis.logs.results import RunLog, TaskLog
from analysis.logs.store import ItemStore

__all__ = ["ISSUES", "Issue", "ItemStore", "Logs", "RunLog", "TaskLog", "issues_frame", "read_logs"]
