"""Tables of runs in which every template shows the same: estimates, and an error that is not known instead of 0."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.tables.churn.table import churn
from analysis.tables.dose.table import dose_tables
from analysis.tables.uncertainty.model import uncertainty_model
from tests.analysis.tables.test_noise import drawn
from tests.helpers.answers import items_frame, run_table

SIZES = np.random.default_rng(0).integers(1, 4, 14)
"""Templates of 7, 14 or 21 items."""
GPTQ, RTN = ("gptq-4", "gptq-3"), ("rtn-4", "rtn-3")
# Of seven answers of each template, those that are stereotypical.
SEVENTHS = {"dense": 2, "gptq-4": 2, "gptq-3": 3, "rtn-4": 3, "rtn-3": 5}
RUNS = run_table(
    {"run": "dense"},
    *({"run": r, "baseline": "dense", "method": r.split("-")[0], "bits": int(r[-1])} for r in GPTQ + RTN),
)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rows = []
    for template, size in enumerate(SIZES):
        for item in range(7 * size):
            for run, share in SEVENTHS.items():
                role = "stereotype" if item % 7 < share else "unknown"
                rows.append({"run": run, "item": f"{template}-{item}", "cluster": f"t{template}", "role": role})
    return items_frame(rows).assign(margin=0.5, entropy=1.0)


def test_dose_tables_have_no_error_and_no_traceback(frame: pd.DataFrame) -> None:
    tables = dose_tables(frame, RUNS, flips=99)
    response = tables["dose_response"]
    two = response[(response["outcome"] == "new_bias") & (response["method"] == "gptq") & (response["term"] == "dose")]
    (row,) = two.to_dict("records")
    # Of five sevenths at risk none is biased at 4 bits and one at 3: separation, so that the fit is Firth's.
    assert row["model"] == "firth"
    rtn = response[(response["outcome"] == "new_bias") & (response["method"] == "rtn") & (response["term"] == "dose")]
    (row,) = rtn.to_dict("records")
    # 1 and 3 of 5 at risk: the slope of one bit is the difference of their log-odds.
    assert row["estimate"] == pytest.approx(np.log(3 / 2) - np.log(1 / 4))
    unknown = ["std_error", "std_error_item", "statistic", "p_value", "conf_low", "odds_ratio_high"]
    unknown += ["marginal_effect_low", "exchangeable_conf_low", "mixed_conf_low"]
    # Items do differ within a template: as the units, they have an error.
    assert row["std_error_item"] > 0
    assert all(pd.isna(row[name]) for name in unknown if name != "std_error_item")
    assert "every cluster shows the same" in row["status"]
    joint = response[response["term"] == "interaction"]
    assert len(joint)
    assert joint["p_value"].isna().all()
    curve = tables["dose_curves"]
    curve = curve[(curve["outcome"] == "new_bias") & (curve["method"] == "rtn")]
    assert curve["predicted"].tolist() == pytest.approx([0.2, 0.6])
    assert curve["predicted_low"].isna().all()


def test_the_model_of_flips_has_no_error(frame: pd.DataFrame) -> None:
    kept = ["dense", "rtn-4", "rtn-3"]
    chosen = frame[frame["run"].isin(kept)], RUNS[RUNS["run"].isin(kept)]
    table = uncertainty_model(*chosen).set_index("term")
    # Flips of rtn-4 are 1 of 7, of rtn-3 3 of 7; 12 and 13 bits less.
    slope = np.log(3 / 4) - np.log(1 / 6)
    assert table.loc["bits_less", "estimate"] == pytest.approx(slope)
    assert table[["std_error", "p_value", "conf_low", "odds_ratio_low"]].isna().all().all()
    assert table["status"].unique().tolist() == ["every template shows the same: its error is not known"]


def test_nothing_unbiased_is_at_risk_where_probabilities_sum_to_one_but_for_rounding() -> None:
    # Only persons are ever named. Their probabilities add up to 1 or to a hair less.
    pairs = [(k / 97, 1 - k / 97) for k in range(1, 97)]
    pairs = [(p * (1 - 2**-53), q) for p, q in pairs]
    assert any(p + q != 1 for p, q in pairs)
    base = [(p, q, 0.0) for p, q in pairs]
    frame = items_frame(drawn("a", base, "s") + drawn("b", base, "s"))
    table = churn(frame, run_table({"run": "a"}, {"run": "b", "baseline": "a"}))
    (named,) = table[table["outcome"] == "named"].to_dict("records")
    assert named["flip_rate_floor"] == 0
    assert pd.isna(named["to_rate_floor"])
