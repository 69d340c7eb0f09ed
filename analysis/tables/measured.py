"""A measure as the column of a table."""

from __future__ import annotations

from ..answers.measures import Measure
from ..schema.columns import Column, number

__all__ = ["measure_column"]

_WORDS = {"ambig": "ambiguous", "disambig": "disambiguated"}


def measure_column(measure: Measure, condition: str | None = None) -> Column:
    """The column that holds a measure, of all items of a row or of those of one condition.

    Args:
        measure: As `analysis.answers.measures` defines it; the column's meaning is its own.
        condition: ambig or disambig; None for the items of the row.

    Returns:
        A column named after the measure and the condition, such as acc_ambig; a bias score's is bias_ambig.
    """
    if condition is None:
        return number(measure.name, measure.doc)
    name = measure.name.removesuffix("_score")
    return number(f"{name}_{condition}", f"Of {_WORDS[condition]} items. {measure.doc}")
