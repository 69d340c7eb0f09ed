"""Two variants of one method at one dose, run through lm_eval: no table takes one for the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis import Settings, analyze
from lm_eval_ext import plugin
from tests.helpers.runs import evaluate

TEXT = {"calibration": "demo", "samples": 4, "seqlen": 32}
RUNS: list[dict[str, Any]] = [
    {"recipe": "dense"},
    {"recipe": "wanda-50", **TEXT},
    {"recipe": "wanda-50", **TEXT, "seed": 1},
    {"recipe": "wanda-30", **TEXT},
    {"recipe": "rath-wanda-50", **TEXT},
    {"recipe": "rath-wanda-30", **TEXT},
    {"method": "rtn", "bits": 4, "exclude": "*.down_proj"},
]
OURS, THEIRS = "wanda (calibration=demo, samples=4, seqlen=32)", "wanda (rath, calibration=demo, samples=4, seqlen=32)"
TASK = "bbq_itemlevel_demo"


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("variants") / "report"


@pytest.fixture(scope="module")
def found(tiny_checkpoint: Path, report: Path) -> Any:
    plugin.activate()
    runs = report.parent / "runs"
    for given in RUNS:
        evaluate(tiny_checkpoint, [TASK], model="compressed_hf", args=given, limit=40, bootstrap_iters=0, output=runs)
    return analyze(runs, report, settings=Settings(exchanges=99))


def test_the_runs_say_what_they_are(found: Any) -> None:
    runs = found.tables["runs"].set_index("run")
    assert runs["method"].to_dict() == {
        "dense": "none",
        "wanda-50(calibration=demo,samples=4,seqlen=32)": OURS,
        "wanda-50(calibration=demo,samples=4,seqlen=32,seed=1)": OURS,
        "wanda-30(calibration=demo,samples=4,seqlen=32)": OURS,
        "rath-wanda-50(calibration=demo,samples=4,seqlen=32)": THEIRS,
        "rath-wanda-30(calibration=demo,samples=4,seqlen=32)": THEIRS,
        "rtn-4(exclude=*.down_proj)": "rtn (exclude=*.down_proj)",
    }
    # The recipe as it was asked for; the label says what was changed.
    assert runs["recipe"].dropna().tolist() == [given["recipe"] for given in RUNS if "recipe" in given]
    theirs = json.loads(runs.loc["rath-wanda-50(calibration=demo,samples=4,seqlen=32)", "variant"])
    assert theirs["steps"] == [{"method": "wanda", "exclude": ["*.o_proj", "*.down_proj"]}]
    assert theirs["dtype"] == "bfloat16"


def test_sparsity_and_bits_over_the_whole_decoder(found: Any, report: Path) -> None:
    # A block has q 64 x 64, k and v 32 x 64, o 64 x 64, gate and up 128 x 64, down 64 x 128: 36,864 weights, of which
    # the study's variant leaves o and down, 12,288 or a third, as they are.
    runs = found.tables["runs"].set_index("run")
    shown = {label: tuple(row) for label, row in runs[["achieved_sparsity", "decoder_sparsity"]].iterrows()}
    assert shown["wanda-50(calibration=demo,samples=4,seqlen=32)"] == (0.5, 0.5)
    assert shown["rath-wanda-50(calibration=demo,samples=4,seqlen=32)"] == pytest.approx((0.5, 1 / 3))
    # 4 bits, and 16 + 4 of scale and zero point for 64 of them; down stays in float32.
    rtn = runs.loc["rtn-4(exclude=*.down_proj)"]
    assert rtn["bits_per_weight"] == 4 + 20 / 64
    assert rtn["decoder_bits_per_weight"] == pytest.approx((28_672 * (4 + 20 / 64) + 8_192 * 32) / 36_864)
    assert runs.loc["dense", ["decoder_sparsity", "decoder_bits_per_weight"]].isna().all()
    summary = (report / "summary.md").read_text(encoding="utf-8")
    (line,) = (line for line in summary.splitlines() if line.startswith("| rath-wanda-50(") and f"| {THEIRS} |" in line)
    assert "| 0.500 | 0.333 |" in line


def test_no_table_takes_one_for_the_other(found: Any) -> None:
    tables = {name: table for name, table in found.tables.items() if "method" in table and len(table)}
    assert {"runs", "dose_response", "dose_curves", "dose_tests"} <= set(tables)
    for name, table in tables.items():
        assert "wanda" not in set(table["method"]), name
    curves = found.tables["dose_curves"]
    curves = curves[(curves["category"] == "all") & (curves["outcome"] == "new_bias") & (curves["dose"] == "sparsity")]
    # Our wanda at 50 % was run with two seeds, the study's once.
    runs = curves.set_index(["method", "dose_value"])["n_runs"].to_dict()
    assert runs == {(OURS, 30.0): 1, (OURS, 50.0): 2, (THEIRS, 30.0): 1, (THEIRS, 50.0): 1}
    terms = set(found.tables["study_logistic"]["term"].dropna())
    assert not any(term in ("method_wanda", "dose x wanda") for term in terms)
    assert set(found.tables["transitions"]["summary"]) == {"run"}
    pairs = found.tables["replicates"]
    assert {frozenset(pair) for pair in zip(pairs["run"], pairs["replicate_of"], strict=True)} == {
        frozenset(f"wanda-50(calibration=demo,samples=4,seqlen=32{seed})" for seed in ("", ",seed=1"))
    }
    assert set(pairs["differs"]) == {"calibration_hash, weights_hash"}
