"""Tests, effects and models that respect pairs and templates."""

from __future__ import annotations

from .result import Estimate, Result, Results

__all__ = ["Estimate", "Result", "Results"]
