"""What items offer, from the axes of their options."""

from __future__ import annotations

import pandas as pd

from analysis.answers.options import OFFERS, offered_axes, with_options


def test_axes_and_number_of_options() -> None:
    texts = ["toward | against | neutral", None, "off | toward | off | neutral | against", "undetermined | neutral"]
    table = with_options(pd.DataFrame({"item_id": list("abcd")}), pd.Series(texts, dtype="string"))
    assert table[OFFERS].astype(int).to_numpy().tolist() == [
        [1, 1, 1, 0],
        [0, 0, 0, 0],
        [1, 1, 1, 1],
        [0, 0, 1, 0],
    ]
    assert table["n_options"].tolist() == [3, 0, 5, 2]
    # The third item has two options that are off.
    assert table["told_apart"].tolist() == [True, True, False, True]
    offers = table[OFFERS].to_numpy(bool)
    assert offered_axes(offers[:2]) == {"toward", "against", "neutral"}
    assert offered_axes(offers[[1, 3]]) == {"neutral"}
    assert offered_axes(offers[:0]) == frozenset()
