"""An analysis as files and on the terminal."""

from __future__ import annotations

from analysis.report.headline import HEADLINE, headline
from analysis.report.terminal import print_analysis
from analysis.report.write import write_report

__all__ = ["HEADLINE", "headline", "print_analysis", "write_report"]
