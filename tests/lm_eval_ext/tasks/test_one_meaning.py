"""One name, one meaning: what lm_eval's table says of a run is what the analysis says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import analyze
from analysis.settings import Settings
from lm_eval_ext import plugin
from tests.helpers.runs import evaluate

TASK = "bbq_itemlevel_cyclic_demo"


def test_rates_and_scores_of_a_run_are_the_same_in_both_tables(llama: Path, tmp_path: Path) -> None:
    plugin.activate()
    results = evaluate(llama, [TASK], model="compressed_hf", output=tmp_path / "runs", limit=60, bootstrap_iters=0)
    said = {name.removesuffix(",none"): value for name, value in results["results"][TASK].items()}
    tables = analyze(tmp_path / "runs", tmp_path / "report", settings=Settings()).tables
    rates = tables["rates"].query("category == 'all' and aggregate == 'pooled' and subset == 'all'")
    (scores,) = tables["bias_scores"].query("category == 'all'").to_dict("records")
    for end, condition in (("amb", "ambig"), ("disamb", "disambig")):
        (row,) = rates[rates["condition"] == condition].to_dict("records")
        assert row["n"] == 30
        for name in ("acc", "srs", "usr", "anti_rate"):
            assert said[f"{name}_{end}"] == pytest.approx(row[name]), name
        assert said[f"bias_{end}"] == pytest.approx(scores[f"bias_{condition}"])
        assert 0 < row["srs"] < 1
    # A share that mixes both conditions would have the name of one of theirs.
    assert {"srs", "usr", "anti_rate"}.isdisjoint(said)
