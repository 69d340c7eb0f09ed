"""How a number, and a result, is written where people read it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import pandas as pd

__all__ = ["Readable", "shown"]


def shown(name: str, value: object, decimals: int) -> str:
    """A cell of the column `name` as text: numbers rounded, p-values never 0, a missing value as "-"."""
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return "-"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    if name.startswith("p_") and value < 10.0**-decimals:
        return f"<{10.0**-decimals:.{decimals}f}"
    if value != 0 and abs(value) >= 1e6:
        return f"{value:.{decimals}g}"
    return f"{value:g}" if name == "level" else f"{value:.{decimals}f}"


class Readable(ABC):
    """What shows itself as text, HTML and LaTeX: all three from the same rounded cells."""

    @abstractmethod
    def _parts(self, decimals: int) -> tuple[dict[str, str], pd.DataFrame]:
        """What holds for all, by name, and a table of strings; either may be empty."""

    def as_text(self, decimals: int = 3) -> str:
        """Plain text: what holds for all in a head, then the terms as a table."""
        head, table = self._parts(decimals)
        lines = [f"{name}: {value}" for name, value in head.items()]
        return "\n".join([*lines, "", table.to_string(index=False)] if len(table) else lines)

    def as_html(self, decimals: int = 3) -> str:
        """The same as HTML."""
        return self._marked(decimals, lambda frame: str(frame.to_html(index=False, border=0)))

    def as_latex(self, decimals: int = 3) -> str:
        """The same as LaTeX."""
        return self._marked(decimals, lambda frame: str(frame.style.hide(axis="index").to_latex(hrules=True)))

    def _repr_html_(self) -> str:
        return self.as_html()

    def __str__(self) -> str:
        """The text form."""
        return self.as_text()

    def _marked(self, decimals: int, render: Callable[[pd.DataFrame], str]) -> str:
        head, table = self._parts(decimals)
        facts = render(pd.DataFrame({"": list(head), "value": list(head.values())})) if head else ""
        return facts + render(table) if len(table) else facts
