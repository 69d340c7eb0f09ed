"""Frames as text: the one place where numbers are rounded."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import pandas as pd

__all__ = ["cells", "many", "narrow", "present", "present_headline"]

_TITLES = {
    "perplexity_pct_change": "perplexity change",
    "n": "answers",
    "metric_baseline": "baseline",
    "metric_value": "value",
    "metric_change": "change",
    "flip_rate": "flips",
    "changed_rate": "changed",
    "srs": "SRS",
    "new_bias_pct": "new bias",
    "resolved_bias_pct": "resolved bias",
    "net_flips_pct": "net",
    "net_flips_pct_low": "net from",
    "net_flips_pct_high": "net to",
    "achieved_sparsity": "achieved sparsity",
    "bits_per_weight": "bits per weight",
    "decoder_sparsity": "sparsity, all of the decoder",
    "decoder_bits_per_weight": "bits per weight, all of the decoder",
    "softmax_dtype": "softmax dtype",
    "base_model": "base model",
    "p_holm": "p (Holm)",
    "p_equivalence": "p (equivalence)",
    "could_see": "could see",
    "row_verdict": "verdict",
    "other_change": "other reading",
    "usr": "unknown",
    "observed_from": "observed from",
    "observed_to": "observed to",
    "floor_independent": "independent floor",
}
_FORMATS = {
    "accuracy": "{:.3f}",
    "srs": "{:.3f}",
    "usr": "{:.3f}",
    "metric_change": "{:+.3g}",
    "flip_rate": "{:.1%}",
    "changed_rate": "{:.1%}",
    "perplexity": "{:,.4g}",
    "perplexity_pct_change": "{:+.1f}%",
    "new_bias_pct": "{:.1f}%",
    "resolved_bias_pct": "{:.1f}%",
    **dict.fromkeys(("net_flips_pct", "net_flips_pct_low", "net_flips_pct_high"), "{:+.1f}"),
    "achieved_sparsity": "{:.3f}",
    "bits_per_weight": "{:.2f}",
    "decoder_sparsity": "{:.3f}",
    "decoder_bits_per_weight": "{:.2f}",
    "baseline": "{:.3f}",
    "value": "{:.3f}",
    **dict.fromkeys(("change", "from", "to", "other_change", "excess"), "{:+.1f}"),
    **dict.fromkeys(("observed_from", "observed_to", "floor_independent"), "{:.1f}"),
    **dict.fromkeys(("could_see", "observed", "expected", "floor"), "{:.1f}"),
}
"""How a column's numbers are rounded; integers get thousands separators, others four significant digits."""


def many(count: int, name: str) -> str:
    """So many of something: "1 run", "1,200 runs"."""
    return f"{count:,} {name}" + ("" if count == 1 else "s")


def present(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without columns that hold nothing, or a filter that is 'none' throughout."""
    kept = [name for name in frame.columns if frame[name].notna().any()]
    if "filter" in kept and (frame["filter"].dropna() == "none").all():
        kept.remove("filter")
    return frame[kept]


def present_headline(frame: pd.DataFrame) -> pd.DataFrame:
    """As `present`, without a baseline, task or metric that is the same throughout: the page names it elsewhere."""
    shown = present(frame)
    same = [name for name in ("baseline", "task", "metric") if name in shown and shown[name].nunique() == 1]
    return shown.drop(columns=same)


def narrow(frame: pd.DataFrame) -> pd.DataFrame:
    """A headline for a terminal: without the columns that a page has room for."""
    return frame.drop(columns=["n", "changed_rate", "net_flips_pct_low", "net_flips_pct_high"], errors="ignore")


def cells(frame: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Titles and rounded cells of a frame; a missing value is '-'."""
    names = [str(name) for name in frame.columns]
    rows = [
        [_cell(name, value) for name, value in zip(names, row, strict=True)]
        for row in frame.itertuples(index=False, name=None)
    ]
    return [_TITLES.get(name, name) for name in names], rows


def _cell(name: str, value: Any) -> str:
    if pd.isna(value):
        return "-"
    if isinstance(value, (bool, str)):
        return str(value)
    if name.startswith("p_"):
        return "<0.001" if value < 0.001 else f"{value:.3f}"
    if name in _FORMATS:
        return _without_minus_zero(_FORMATS[name].format(value))
    return f"{value:,}" if isinstance(value, Integral) else f"{value:,.4g}"


def _without_minus_zero(text: str) -> str:
    """A rounded number that is 0 has no minus."""
    return f"+{text[1:]}" if text.startswith("-") and not text.strip("-0.%") else text
