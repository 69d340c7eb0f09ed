from __future__ import annotations

import pandas as pd

from analysis.report.headline import HEADLINE
from analysis.result.render import cells, present


def test_cells_are_rounded_and_missing_values_are_a_dash() -> None:
    frame = pd.DataFrame(
        {
            "run": ["a", None],
            "n": pd.array([12345, None], dtype="Int64"),
            "accuracy": [0.66666, 1.0],
            "flip_rate": [0.12345, 0.0],
            "perplexity": [5477545.4, 8.9412],
            "perplexity_pct_change": [3.49, -0.04],
            "new_bias_pct": [12.34, None],
            "sparsity": [0.5, 0.123456],
        }
    )
    titles, rows = cells(frame)
    assert titles == ["run", "answers", "accuracy", "flips", "perplexity", "perplexity change", "new bias", "sparsity"]
    assert rows == [
        ["a", "12,345", "0.667", "12.3%", "5.478e+06", "+3.5%", "12.3%", "0.5"],
        ["-", "-", "1.000", "0.0%", "8.941", "+0.0%", "-", "0.1235"],
    ]


def test_empty_columns_and_a_filter_that_is_none_are_not_shown() -> None:
    row = dict.fromkeys(HEADLINE.names) | {"run": "dense", "task": "t", "filter": "none", "n": 3}
    frame = HEADLINE.conform(pd.DataFrame([row]))
    assert list(present(frame)) == ["run", "task", "n"]
    other = HEADLINE.conform(pd.DataFrame([row, row | {"filter": "strict-match"}]))
    assert list(present(other)) == ["run", "task", "filter", "n"]
    assert list(frame) == HEADLINE.names
