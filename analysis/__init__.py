"""Item-level comparison of lm-eval runs: what compression changed in the answers."""

from __future__ import annotations

from analysis.errors import UserError
from analysis.pipeline import analyze
from analysis.result import Analysis

__all__ = ["Analysis", "UserError", "analyze"]
