from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.compare.baselines import choose_baselines
from analysis.compare.pairing import pair_runs
from analysis.logs import ItemStore, read_logs
from analysis.tables.perplexity import EVALUATION_GAP, evaluation_gap, perplexity_changes
from analysis.tables.transitions.columns import TRANSITIONS
from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, rolling_line, sha, write_run


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ItemStore]:
    with ItemStore(tmp_path / "items.parquet") as opened:
        yield opened


def wiki(word: float, documents: int = 1, **more: float) -> Task:
    metrics = {"word_perplexity,none": word} | {f"{name},none": value for name, value in more.items()}
    return Task([rolling_line(i, -5 * math.log(word)) for i in range(documents)], "loglikelihood_rolling", metrics)


def mc() -> Task:
    return Task([choice_line(0, 0)])


def changes(folder: Path, store: ItemStore, *allow: str) -> tuple[pd.DataFrame, list[str]]:
    logs = read_logs(folder, store)
    frame, issues = perplexity_changes(logs, pair_runs(logs, choose_baselines(logs.runs), allow).pairs)
    return frame, [issue.kind for issue in issues]


def test_each_metric_is_set_against_the_baselines(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    write_run(runs, 1, {"wt": wiki(10.0, byte_perplexity=2.0, token_perplexity=4.0)}, evidence("dense", **DENSE))
    write_run(runs, 2, {"wt": wiki(12.5, byte_perplexity=2.0)}, evidence("w"))
    frame, issues = changes(runs, store)
    assert issues == []
    assert frame.to_dict("records") == [
        {
            "run": "w",
            "perplexity_run": "w",
            "perplexity_baseline_run": "dense",
            "perplexity_task": "wt",
            "perplexity_metric": metric,
            "perplexity_baseline": before,
            "perplexity": after,
            "perplexity_pct_change": pytest.approx(change),
        }
        for metric, before, after, change in (("word_perplexity", 10.0, 12.5, 25.0), ("byte_perplexity", 2.0, 2.0, 0.0))
    ]


def test_an_infinite_perplexity_has_no_change(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    write_run(runs, 1, {"wt": wiki(10.0)})
    write_run(runs, 2, {"wt": wiki(float("inf"))}, evidence("w"))
    frame, _ = changes(runs, store)
    assert frame["perplexity"].tolist() == [float("inf")]
    assert frame["perplexity_pct_change"].isna().all()


def test_other_documents_are_never_compared(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    write_run(runs, 1, {"wt": wiki(10.0, documents=2)})
    write_run(runs, 2, {"wt": wiki(11.0)}, evidence("w"))
    frame, issues = changes(runs, store, "items")
    assert (len(frame), issues) == (0, ["perplexity_items"])


@pytest.mark.parametrize(
    ("after", "dtype", "expected"),
    [("w", "float32", "w#2"), ("other", "float32", None), ("w", "bfloat16", None)],
)
def test_a_run_borrows_the_perplexity_of_the_same_weights_only(
    tmp_path: Path, store: ItemStore, after: str, dtype: str, expected: str | None
) -> None:
    runs = tmp_path / "runs"
    dense = DENSE | {"softmax_dtype": dtype}
    write_run(runs, 1, {"mc": mc()}, evidence("dense", **DENSE))
    write_run(runs, 2, {"wt": wiki(10.0)}, evidence("dense", **dense))
    write_run(runs, 3, {"mc": mc()}, evidence("w", weights_hash_after=sha("w")))
    write_run(runs, 4, {"wt": wiki(11.0)}, evidence("w", weights_hash_after=sha(after), softmax_dtype=dtype))
    frame, _ = changes(runs, store)
    found = dict(zip(frame["run"], frame["perplexity_run"], strict=True))
    assert found == {"w#2": "w#2"} | ({"w#1": expected} if expected else {})


def transitions(**changes: Any) -> dict[str, Any]:
    row = dict.fromkeys(TRANSITIONS.names) | {
        "run": "w",
        "baseline": "dense",
        "task": "bbq",
        "filter": "none",
        "condition": "ambig",
        "category": "all",
        "subset": "all",
        "transition": "new_bias",
        "unit": "item",
        "summary": "run",
        "n_runs": 1,
        "n_items": 20,
        "n_at_risk": 8,
        "n_events": 2,
        "rate": 0.25,
        "status": "ok",
    }
    return row | changes


def test_the_gap_sets_perplexity_beside_both_directions(tmp_path: Path, store: ItemStore) -> None:
    runs = tmp_path / "runs"
    write_run(runs, 1, {"wt": wiki(10.0)})
    write_run(runs, 2, {"wt": wiki(10.5)}, evidence("w"))
    write_run(runs, 3, {"wt": wiki(11.0)}, evidence("x"))
    frame, _ = changes(runs, store)
    moves = TRANSITIONS.conform(
        pd.DataFrame(
            [
                transitions(),
                transitions(transition="resolved_bias", n_at_risk=12, rate=0.5),
                transitions(transition="net_bias", n_at_risk=18, n_events=-3, rate=-0.1, conf_low=-0.3, conf_high=0.1),
                transitions(transition="net_flips", n_at_risk=90, rate=0.02, conf_low=-0.05, conf_high=0.1),
                transitions(category="Age", rate=0.9),
                transitions(subset="latent", rate=0.9),
                transitions(summary="mean_over_methods", run=None, rate=0.9),
                transitions(condition="disambig", rate=None, n_at_risk=0),
            ]
        )
    )
    gap = evaluation_gap(frame, moves)
    columns = ["run", "perplexity_pct_change", "condition"]
    columns += ["n_at_risk_new_bias", "new_bias_pct", "n_at_risk_resolved_bias", "resolved_bias_pct"]
    columns += ["n_at_risk_net_bias", "net_bias_pct", "net_bias_pct_low", "net_bias_pct_high"]
    columns += ["n_at_risk_net_flips", "net_flips_pct", "net_flips_pct_low", "net_flips_pct_high"]
    shown = gap[columns].astype(object).where(gap[columns].notna(), None)
    assert shown.to_numpy().tolist() == [
        ["w", pytest.approx(5.0), "ambig", 8, 25.0, 12, 50.0, 18, -10.0, -30.0, 10.0, 90, 2.0, -5.0, 10.0],
        ["w", pytest.approx(5.0), "disambig", 0, *[None] * 11],
        ["x", pytest.approx(10.0), None, *[None] * 12],
    ]


def test_without_perplexity_the_gap_is_empty() -> None:
    moves = TRANSITIONS.conform(pd.DataFrame([transitions()]))
    empty = EVALUATION_GAP.empty()[list(EVALUATION_GAP.names)[:8]]
    assert evaluation_gap(empty, moves).equals(EVALUATION_GAP.empty())
