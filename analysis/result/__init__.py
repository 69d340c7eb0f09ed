"""What an analysis comes to: made by the pipeline, shown by the report and in a notebook."""

from __future__ import annotations

from .analysis import Analysis
from .tables import Tables

__all__ = ["Analysis", "Tables"]
