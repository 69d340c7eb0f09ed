"""Distances between the options' probabilities, against scipy and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr

from analysis import Settings
from analysis.inference.distance import distances
from analysis.tables.distances.columns import DISTANCES
from analysis.tables.distances.options import option_distances

RUNS = pd.DataFrame({"run": ["dense", "q"], "baseline": [None, "dense"]})


def frame(run: str, probabilities: list[list[float | None] | None], **columns: object) -> pd.DataFrame:
    """Rows of a run, an item each; two items a template."""
    size = len(probabilities)
    rows = {
        "run": run,
        "task": "bbq",
        "filter": "none",
        "item_id": [f"i{n}" for n in range(size)],
        "category": "Age",
        "condition": "ambig",
        "cluster": [f"c{n // 2}" for n in range(size)],
    }
    return pd.DataFrame({**rows, **columns, "probabilities": pd.Series(probabilities, dtype=object)})


def table(base: pd.DataFrame, run: pd.DataFrame, **settings: float) -> pd.DataFrame:
    return option_distances(pd.concat([base, run], ignore_index=True), RUNS, Settings(**settings))


def test_one_item_by_hand() -> None:
    # p = (1/2, 1/2, 0), q = (1/4, 1/2, 1/4): TV = (1/4 + 0 + 1/4) / 2 = 1/4; KL = 1/2 log 2, since log(p / q) is log 2,
    # then 0, and the last option's p is 0. m = (3/8, 1/2, 1/8): KL(p || m) = 1/2 log(4/3); KL(q || m) = 1/4 log(2/3)
    # + 1/4 log 2 = 1/4 log(4/3).
    found = distances([[0.5, 0.5, 0.0]], [[0.25, 0.5, 0.25]])
    assert found.tv == pytest.approx([0.25])
    assert found.kl == pytest.approx([np.log(2) / 2])
    assert found.js == pytest.approx([3 / 8 * np.log(4 / 3)])
    assert found.same_top.tolist() == [False]  # of equals the first: option 0, then option 1


def test_many_items_against_scipy() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet([0.5] * 4, 200), rng.dirichlet([0.5] * 4, 200)
    found = distances(p, q)
    # scipy.special.rel_entr(p, q).sum(axis=1); scipy.spatial.distance.jensenshannon is the square root, in nats.
    assert found.kl == pytest.approx(rel_entr(p, q).sum(axis=1))
    assert found.js == pytest.approx([jensenshannon(a, b) ** 2 for a, b in zip(p, q, strict=True)])
    # Pinsker, Lin (1991): bounds that hold for any two distributions.
    assert (2 * found.tv**2 <= found.kl).all()
    assert (found.js <= np.log(2) * found.tv + 1e-12).all()


def test_what_is_no_distribution_is_refused() -> None:
    for bad in ([[0.5, -0.1]], [[0.0, 0.0]], [[np.nan, 1.0]], [0.5, 0.5]):
        with pytest.raises(ValueError, match="expected probabilities"):
            distances([[0.5, 0.5]], bad)
    assert len(distances(np.zeros((0, 3)), np.zeros((0, 3))).kl) == 0


def test_a_row_holds_the_means_over_items() -> None:
    base, run = [[0.5, 0.5], [0.8, 0.2], [0.9, 0.1], [0.6, 0.4]], [[0.5, 0.5], [0.6, 0.4], [0.9, 0.1], [0.45, 0.55]]
    (row,) = table(frame("dense", base), frame("q", run)).to_dict("records")
    # TV 0, 0.2, 0, 0.15; two of four above 0.1; only the last item's top option is another.
    assert (row["n_items"], row["n_clusters"], row["n_infinite"]) == (4, 2, 0)
    assert row["tv"] == pytest.approx(0.35 / 4)
    assert row["far_rate"] == 0.5
    assert row["same_top_rate"] == 0.75
    assert row["kl"] == pytest.approx(rel_entr(base, run).sum(axis=1).mean())
    assert row["js"] == pytest.approx(np.mean([jensenshannon(*pair) ** 2 for pair in zip(base, run, strict=True)]))
    assert row["tv_low"] <= row["tv"] <= row["tv_high"] <= 1
    assert 0 <= row["js_low"] <= row["js"] <= row["js_high"] <= np.log(2)
    assert row["status"] == "ok"


def test_no_distance_has_a_bound() -> None:
    same = [[0.5, 0.3, 0.2]] * 50
    (row,) = table(frame("dense", same), frame("q", same), reach=0.25).to_dict("records")
    # 25 equal templates of which none moved: (1 - m / 0.25)^25 = 0.025 at the upper end of a two-sided 95 % interval
    # (two items a template, so a template may move by half: one item of it).
    assert row["tv"] == row["js"] == row["kl"] == 0
    assert row["tv_high"] == pytest.approx(0.5 * (1 - 0.025 ** (1 / 25)), rel=1e-3)
    assert row["js_high"] == pytest.approx(np.log(2) * row["tv_high"], rel=1e-3)
    assert row["tv_low"] == row["js_low"] == 0
    assert pd.isna(row["kl_high"])
    assert row["status"] == "no item's probabilities moved"


def test_more_movement_never_lowers_the_bound() -> None:
    same = [[0.5, 0.3, 0.2]] * 50
    highs = []
    for moved in range(0, 50, 7):
        run = [[0.3, 0.5, 0.2]] * moved + same[moved:]
        (row,) = table(frame("dense", same), frame("q", run)).to_dict("records")
        highs.append(row["tv_high"])
    assert highs == sorted(highs)


def test_infinite_divergence_is_counted_and_named() -> None:
    base, run = [[0.5, 0.5], [0.5, 0.5], [1.0, 0.0], [0.5, 0.5]], [[1.0, 0.0], [0.4, 0.6], [1.0, 0.0], [0.5, 0.5]]
    (row,) = table(frame("dense", base), frame("q", run)).to_dict("records")
    assert row["n_infinite"] == 1
    assert row["kl"] == pytest.approx(rel_entr([0.5, 0.5], [0.4, 0.6]).sum() / 3)
    assert row["tv"] == pytest.approx((0.5 + 0.1) / 4)
    assert "kl is infinite in 1 of 4 items" in row["status"]


def test_the_interval_of_kl_is_the_jackknife_of_a_ratio() -> None:
    rng = np.random.default_rng(1)
    base, run = rng.dirichlet([2] * 3, 20), rng.dirichlet([2] * 3, 20)
    (row,) = table(frame("dense", base.tolist()), frame("q", run.tolist())).to_dict("records")
    # Ten equal templates: the t interval of the mean of their means, scipy.stats.t.interval(0.95, 9, m, sem).
    from scipy import stats

    means = rel_entr(base, run).sum(axis=1).reshape(10, 2).mean(axis=1)
    low, high = stats.t.interval(0.95, 9, means.mean(), stats.sem(means))
    assert (row["kl_low"], row["kl_high"]) == (pytest.approx(max(low, 0)), pytest.approx(high))


def test_categories_are_rows_and_pooled() -> None:
    base, run = [[0.5, 0.5]] * 4, [[0.4, 0.6]] * 2 + [[0.5, 0.5]] * 2
    categories = {"category": ["Age", "Age", "SES", "SES"]}
    found = table(frame("dense", base, **categories), frame("q", run, **categories))
    assert found["category"].tolist() == ["Age", "SES", "all"]
    assert found["tv"].tolist() == pytest.approx([0.1, 0.0, 0.05])


def test_what_can_not_be_compared_is_left_out() -> None:
    base = [[0.5, 0.5], None, [0.5, 0.5], [0.5, None], [0.2, 0.8]]
    run = [[0.4, 0.6], [0.5, 0.5], [0.5, 0.3, 0.2], [0.5, 0.5], [0.1, 0.9]]
    (row,) = table(frame("dense", base), frame("q", run)).to_dict("records")
    assert row["n_items"] == 2
    assert row["tv"] == pytest.approx(0.1)
    assert table(frame("dense", [None] * 3), frame("q", run[:3])).empty
    assert table(frame("dense", base), frame("q", run[:0])).empty


def test_texts_of_one_item_count_once() -> None:
    base, run = frame("dense", [[0.5, 0.5], [0.9, 0.1]]), frame("q", [[0.4, 0.6], [0.9, 0.1]])
    twice = [pd.concat([side, side.iloc[:1]], ignore_index=True) for side in (base, run)]
    pd.testing.assert_frame_equal(table(base, run), table(*twice))
    assert list(table(base, run).columns) == DISTANCES.names
