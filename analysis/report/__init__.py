"""An analysis as files and on the terminal."""

from __future__ import annotations

from .doctor import Examination, examine
from .doctor_lines import print_examination
from .explain import explain, listed, read_row
from .headline import HEADLINE, headline
from .terminal import print_analysis
from .write import write_report

__all__ = [
    "HEADLINE",
    "Examination",
    "examine",
    "explain",
    "headline",
    "listed",
    "print_analysis",
    "print_examination",
    "read_row",
    "write_report",
]
