"""The list of paired answers against the tables that count them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

KEYS = ["run", "baseline", "task", "filter"]
_FLIPS = {
    "flip_to_stereotype": ["toward"],
    "flip_from_stereotype": ["away"],
    "response_flip": ["toward", "away", "sideways"],
}


def assert_counts_agree(report: Path) -> dict[str, int]:
    """Count a report's item_changes.parquet and compare with its tables flips, transitions and role_transitions.

    Returns:
        How many rows of each table were compared, and how many changed answers lie behind them.
    """
    changes = pd.read_parquet(report / "tables" / "item_changes.parquet")
    flips, moves, cells = (
        pd.read_parquet(report / "tables" / f"{name}.parquet") for name in ("flips", "transitions", "role_transitions")
    )
    keyed = changes[changes["correct"].notna() & changes["correct_baseline"].notna()]
    right, before = keyed["correct"].astype(bool), keyed["correct_baseline"].astype(bool)
    counted = pd.DataFrame(
        {
            "n": 1,
            "both_correct": right & before,
            "both_wrong": ~right & ~before,
            "correct_to_wrong": ~right & before,
            "wrong_to_correct": right & ~before,
            "changed_same_correctness": keyed["changed"].fillna(False).astype(bool) & (right == before),
        }
    )
    sums = counted.astype(int).groupby([keyed[name] for name in KEYS]).sum()
    expected = flips[flips["n"] > 0].set_index(KEYS)[list(counted)].astype("Int64")
    named = expected["changed_same_correctness"].notna()
    assert (
        sums.loc[expected.index]
        .astype("Int64")
        .drop(columns="changed_same_correctness")
        .equals(expected.drop(columns="changed_same_correctness"))
    )
    assert sums.loc[expected.index[named], "changed_same_correctness"].tolist() == (
        expected.loc[named, "changed_same_correctness"].tolist()
    )
    assert len(sums) == len(expected)
    keyless = changes[changes["correct"].isna() | changes["correct_baseline"].isna()].groupby(KEYS)
    told = flips.set_index(KEYS)
    assert keyless.size().reindex(told.index, fill_value=0).tolist() == told["n_without_key"].tolist()
    told = told[told["changed_without_key"].notna()]
    assert keyless["changed"].sum().reindex(told.index, fill_value=0).tolist() == told["changed_without_key"].tolist()

    places = [*KEYS, "condition", "category"]
    changes = changes.assign(condition=changes["condition"].fillna("none"))
    moves = moves[(moves["summary"] == "run") & (moves["subset"] == "all") & (moves["category"] != "all")]
    for name, directions in _FLIPS.items():
        rows = moves[moves["transition"] == name].set_index(places)["n_events"]
        found = changes["direction"].isin(directions).groupby([changes[key] for key in places]).sum()
        assert found.reindex(rows.index).astype(int).tolist() == rows.astype(int).tolist()
        # Where no roles tell a direction there is no row, and no answer has one.
        assert found.sum() == rows.sum()
    totals = cells[cells["category"] != "all"].drop_duplicates(places).set_index(places)["total"]
    assert changes.groupby(places).size().loc[totals.index].tolist() == totals.tolist()
    return {"flips": len(flips), "transitions": len(moves), "changed": int(changes["changed"].fillna(False).sum())}
