"""An analysis as files and on the terminal."""

from __future__ import annotations

from .doctor import Examination, examine
from .doctor_lines import print_examination
from .headline import HEADLINE, headline
from .terminal import print_analysis
from .write import write_report

__all__ = ["HEADLINE", "Examination", "examine", "headline", "print_analysis", "print_examination", "write_report"]
