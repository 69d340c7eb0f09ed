"""What is said of runs to others, from a finished report: verdicts as records, and the plan of the next evaluation."""

from __future__ import annotations

from ..inference.power import Aim
from .past import Past, past_of
from .plan import CHURN, Plan, make_plan, usual
from .plan_lines import print_plan
from .stages import samples_of
from .verdict import Verdict, verdicts

__all__ = [
    "CHURN",
    "Aim",
    "Past",
    "Plan",
    "Verdict",
    "make_plan",
    "past_of",
    "print_plan",
    "samples_of",
    "usual",
    "verdicts",
]
