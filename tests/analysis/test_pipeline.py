from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis import Analysis, Settings, UserError, analyze
from analysis.schema.items import ITEMS
from analysis.tables.catalogue import CATALOGUE
from tests.helpers.runlogs import (
    DENSE,
    Task,
    bbq_item,
    bbq_line,
    choice_line,
    drawn_line,
    evidence,
    rolling_line,
    samples_of,
    write_lines,
    write_run,
)

S, A, U = 0, 1, 2  # options by role: stereotype, anti-stereotype, unknown (the key of ambiguous items)


def bbq(ambig: list[int | None], disambig: list[int | None]) -> Task:
    """One answer an item; disambiguated items are numbered from 100 and keyed on the anti-stereotype."""
    lines = [bbq_line(i, choice, item=bbq_item(i)) for i, choice in enumerate(ambig)]
    for i, choice in enumerate(disambig, start=100):
        lines.append(bbq_line(i, choice, item=bbq_item(i, condition="disambig", correct=1)))
    return Task(lines)


def wiki(perplexity: float) -> Task:
    metrics = {"word_perplexity,none": perplexity}
    return Task([rolling_line(0, -5 * math.log(perplexity))], "loglikelihood_rolling", metrics)


def arc(choices: list[int]) -> Task:
    return Task([choice_line(i, choice) for i, choice in enumerate(choices)])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    dense = {"bbq": bbq([U, U, U, S, S, A], [A, A, S, A]), "arc": arc([0, 0, 1, 2]), "wikitext": wiki(20.0)}
    wanda = {"bbq": bbq([S, U, U, S, U, A], [A, None, S, A]), "arc": arc([0, 1, 0, 1]), "wikitext": wiki(21.0)}
    write_run(folder, 1, dense, evidence("dense", **DENSE))
    write_run(folder, 2, wanda, evidence("wanda-50"))
    return folder


def analysed(runs: Path, **options: Any) -> Analysis:
    return analyze(runs, runs.parent / "report", **options)


def row(frame: pd.DataFrame, **key: Any) -> dict[str, Any]:
    for name, value in key.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return dict(frame.iloc[0])


def test_the_main_numbers_of_a_case_by_hand(runs: Path) -> None:
    found = analysed(runs)
    assert [issue.kind for issue in found.issues] == []
    # Ambiguous items: dense U U U S S A, wanda S U U S U A. SRS 2/6 and 2/6; at risk of new bias are the four
    # without S at baseline, item 0 got it; of the two with S, item 4 lost it.
    # Right answers of the four disambiguated: dense 3, wanda 2 (an unscored item is wrong). Of all ten items 0, 4 and
    # 101 flip.
    shown = row(found.headline, run="wanda-50", task="bbq")
    assert shown == {
        "run": "wanda-50",
        "baseline": "dense",
        "verdict": "CAN'T TELL",
        "task": "bbq",
        "filter": "none",
        "perplexity": 21.0,
        "perplexity_pct_change": pytest.approx(5.0),
        "n": 10,
        "metric": "acc",
        "accuracy": 0.5,
        "metric_value": pd.NA,
        "metric_change": pd.NA,
        "flip_rate": pytest.approx(0.3),
        "changed_rate": pytest.approx(0.3),
        "srs": pytest.approx(2 / 6),
        "usr": pytest.approx(3 / 6),
        "new_bias_pct": pytest.approx(25.0),
        "resolved_bias_pct": pytest.approx(50.0),
        # One of six turned to the stereotype and one from it; two templates can't say more than half either way.
        "net_flips_pct": 0.0,
        "net_flips_pct_low": pytest.approx(-48.6, abs=0.1),
        "net_flips_pct_high": pytest.approx(27.4, abs=0.1),
    }
    dense = row(found.headline, run="dense", task="bbq")
    assert (dense["perplexity"], dense["accuracy"], dense["srs"]) == (20.0, 0.75, pytest.approx(2 / 6))
    assert [dense[name] for name in ("baseline", "flip_rate", "new_bias_pct")] == [pd.NA] * 3
    # arc: key 0; dense 0 0 1 2, wanda 0 1 0 1: items 1 and 2 flip, item 3 is wrong in another way.
    flips = row(found.tables["flips"], task="arc")
    assert [flips[name] for name in ("correct_to_wrong", "wrong_to_correct", "changed_same_correctness")] == [1, 1, 1]
    assert (
        row(found.tables["rates"], run="wanda-50", condition="ambig", aggregate="pooled", subset="all")["srs_delta"]
        == 0
    )
    gap = row(found.tables["evaluation_gap"], condition="ambig")
    assert (gap["perplexity_pct_change"], gap["new_bias_pct"]) == (pytest.approx(5.0), pytest.approx(25.0))


def test_the_report_holds_what_it_says(runs: Path) -> None:
    found = analysed(runs)
    report = found.output
    files = {path.relative_to(report).as_posix() for path in report.rglob("*") if path.is_file()}
    marker = json.loads((report / "report.json").read_text())
    assert files == set(marker["files"])
    assert marker["runs"] == {label: f"results_2026-01-02T03-04-05.00000{i}.json"
                              for i, label in enumerate(("dense", "wanda-50"), start=1)}  # fmt: skip
    for table in (entry.holds for entry in CATALOGUE):
        frame = table.conform(pd.read_parquet(report / "tables" / f"{table.name}.parquet"))
        assert frame.equals(found.tables[table.name])
        plain = pd.read_csv(report / "tables" / f"{table.name}.csv")
        assert list(plain.columns) == table.names
        listed = frame[frame["changed"].fillna(False)] if table.name == "item_changes" else frame
        assert len(plain) == len(listed)
    items = ITEMS.conform(pd.read_parquet(report / "items.parquet"))
    assert items.groupby(["run", "task"]).size().to_dict() == {
        ("dense", "arc"): 4, ("dense", "bbq"): 10, ("wanda-50", "arc"): 4, ("wanda-50", "bbq"): 10,
    }  # fmt: skip
    assert pq.ParquetFile(report / "items.parquet").num_row_groups == 4


def test_the_summary_reads_from_the_headline_to_the_files(runs: Path) -> None:
    summary = (analysed(runs).output / "summary.md").read_text()
    assert "2 runs of 1 base model, 3 task comparisons with dense." in summary
    shown = "| wanda-50 | CAN'T TELL | bbq | 21 | +5.0% | 10 | 0.500 | 30.0% | 30.0% | 0.333 | 0.500 | 25.0% | 50.0% |"
    assert f"{shown} +0.0 |" in summary
    assert "- **wanda-50** CAN'T TELL: 25 % unanswered, SRS 0.0" in summary
    assert "wikitext/word_perplexity" in summary
    headings = re.findall(r"^## (.*)$", summary, re.M)
    # The answers were scored: there is no floor of draws to show.
    assert headings == ["Verdicts", "Headline", "In words", "Metrics of other tasks", "Runs", "Where everything is"]
    links = re.findall(r"\]\(([^)]*)\)", summary)
    assert links
    assert all((runs.parent / "report" / link).is_file() for link in links)


def test_tables_carry_what_they_were_made_with(runs: Path) -> None:
    found = analysed(runs, settings=Settings(margin=0.1, exchanges=199, seed=3))
    facts = json.loads((found.output / "tables" / "metadata.json").read_text())
    assert (facts["margin"], facts["alpha"], facts["exchanges"], facts["seed"]) == (0.1, 0.05, 199, 3)
    assert set(facts["runs"]) == {"dense", "wanda-50"}
    assert facts["versions"]["pandas"] == pd.__version__
    path = found.output / "tables" / "paired_changes.parquet"
    inside = json.loads(pq.read_schema(path).metadata[b"lm_eval_ext"])
    assert inside == {**facts, "table": "paired_changes", "rows": len(found.tables["paired_changes"])}
    assert set(found.tables["paired_changes"]["margin"]) == {0.1}
    report = json.loads((found.output / "report.json").read_text())
    assert report["settings"] == found.settings.as_dict()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"level": 1.0}, "level: expected"),
        ({"margin": 0.0}, "margin: expected"),
        ({"exchanges": 5}, "exchanges: expected"),
        ({"texts_per_item": 0}, "texts_per_item: expected"),
        ({"seed": -1}, "seed: expected"),
    ],
)
def test_settings_out_of_range_are_named(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Settings(**setting)


def test_the_same_input_gives_the_same_files(runs: Path) -> None:
    first = analysed(runs).output
    before = {path.relative_to(first): path.read_bytes() for path in first.rglob("*") if path.is_file()}
    second = analysed(runs).output
    assert {path.relative_to(second): path.read_bytes() for path in second.rglob("*") if path.is_file()} == before


def test_a_refused_task_is_in_no_table_and_heads_the_summary(runs: Path) -> None:
    other = Task([choice_line(i, 0, prompt="Please") for i in range(4)])
    write_run(runs, 3, {"arc": other, "bbq": bbq([S] * 6, [A] * 4)}, evidence("rtn-3"))
    found = analysed(runs)
    assert [(entry.run, entry.task) for entry in found.pairing.refusals] == [("rtn-3", "arc")]
    assert set(found.tables["flips"].loc[found.tables["flips"]["task"] == "arc", "run"]) == {"wanda-50"}
    assert found.headline.loc[found.headline["run"] == "rtn-3", "task"].tolist() == ["bbq"]
    summary = (found.output / "summary.md").read_text()
    assert summary.index("rtn-3 on arc is not comparable with dense: prompts") < summary.index("## Headline")
    issues = pd.read_csv(found.output / "issues.csv")
    assert issues.loc[0, ["level", "kind"]].tolist() == ["error", "refused"]
    accepted = analysed(runs, allow=["prompts"])
    assert accepted.pairing.refusals == []
    assert "## Accepted differences" in (accepted.output / "summary.md").read_text()


def test_allowed_items_put_all_runs_on_the_common_items(runs: Path) -> None:
    write_run(runs, 3, {"bbq": bbq([S, S, S, S], [])}, evidence("rtn-3"))
    found = analysed(runs, allow=["items"])
    rates = found.tables["rates"]
    pooled = rates[(rates["aggregate"] == "pooled") & (rates["subset"] == "all")]
    assert pooled[["run", "condition", "n_items"]].to_numpy().tolist() == [
        [run, "ambig", 4] for run in ("dense", "wanda-50", "rtn-3")
    ]
    # Of the first four items, dense and wanda chose the stereotype in 1 and 2.
    assert pooled["n_toward"].tolist() == [1, 2, 4]
    assert found.headline.set_index(["run", "task"]).loc[("dense", "bbq"), "n"] == 4


@pytest.mark.parametrize("protocol", ["text", "sampled"])
def test_an_undetermined_item_is_left_out_though_every_run_answers_unknown(tmp_path: Path, protocol: str) -> None:
    # Neither role nor probability of any answer shows that item 1 has no stereotype: its options' roles do.
    items = [bbq_item(0), bbq_item(1) | {"roles": ["undetermined", "undetermined", "unknown"]}]
    lines = [
        drawn_line(i, [U, U], item=item)
        if protocol == "sampled"
        else bbq_line(i, U, item=item, protocol="text", probs=None)
        for i, item in enumerate(items)
    ]
    write_run(tmp_path / "runs", 1, {"bbq": Task(lines)})
    write_run(tmp_path / "runs", 2, {"bbq": Task(lines)}, evidence("w"))
    found = analysed(tmp_path / "runs")
    draws = 2 if protocol == "sampled" else 1
    for run in ("dense", "w"):
        rates = row(found.tables["rates"], run=run, aggregate="pooled", subset="all")
        assert [rates[name] for name in ("n_items", "n", "n_neutral", "n_undetermined")] == [1, draws, draws, draws]
        assert row(found.tables["bias_scores"], run=run, category="all")["n_undetermined_items"] == 1
    moves = row(found.tables["transitions"], category="all", subset="all", transition="new_bias")
    assert (moves["n_items"], moves["n_at_risk"]) == (1, 1)


def test_baselines_of_other_tasks_are_joined(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    write_run(folder, 1, {"bbq_a": bbq([U, S], [])})
    write_run(folder, 2, {"bbq_b": bbq([U, U], [])})
    write_run(folder, 3, {"bbq_a": bbq([S, S], []), "bbq_b": bbq([S, U], [])}, evidence("w"))
    found = analysed(folder)
    assert row(found.tables["runs"], run="w")["baseline"] == "dense#1+dense#2"
    moves = found.tables["transitions"]
    new = moves[(moves["transition"] == "new_bias") & (moves["category"] == "all") & (moves["subset"] == "all")]
    assert new[["task", "n_events", "n_at_risk"]].to_numpy().tolist() == [["bbq_a", 1, 1], ["bbq_b", 1, 2]]
    assert set(new["baseline"]) == {"dense#1+dense#2"}
    assert found.headline.loc[found.headline["run"] == "w", "new_bias_pct"].tolist() == [100.0, 50.0]


def test_a_run_may_be_compared_in_one_task_and_be_the_baseline_of_another(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    write_run(folder, 1, {"bbq_a": bbq([U, S], [])})
    write_run(folder, 2, {"bbq_a": bbq([U, U], []), "bbq_b": bbq([U, U], [])})
    write_run(folder, 3, {"bbq_b": bbq([S, U], [])}, evidence("w"))
    found = analysed(folder, baseline="dense#1")
    assert found.tables["runs"].set_index("run")["baseline"].fillna("-").to_dict() == {
        "dense#1": "-", "dense#2": "dense#1", "w": "dense#2",
    }  # fmt: skip
    new = found.headline.set_index(["run", "task"])["new_bias_pct"]
    assert (new["w", "bbq_b"], new["dense#2", "bbq_a"]) == (50.0, 0.0)


def test_runs_without_bias_items_leave_these_tables_empty(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    write_run(folder, 1, {"arc": arc([0, 1])})
    write_run(folder, 2, {"arc": arc([1, 1])}, evidence("w"))
    found = analysed(folder)
    lengths = {name: len(table) for name, table in found.tables.items()}
    rows = {
        "runs": 2,
        "metric_changes": 1,
        "flips": 1,
        "item_changes": 2,
        "distances": 1,
        "run_verdicts": 1,
        "verdicts": 1,
    }
    assert lengths == dict.fromkeys(lengths, 0) | rows
    assert "srs" not in (found.output / "summary.md").read_text().lower()
    said = row(found.tables["run_verdicts"], run="w")
    assert (said["verdict"], said["reason"]) == ("CAN'T TELL", "2 documents: SAME needs 59 at a margin of 5 points")


def test_a_lone_run_is_described_and_said_to_be_alone(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, {"bbq": bbq([S, U], [])}, evidence("w"))
    found = analysed(tmp_path / "runs")
    assert [issue.kind for issue in found.issues] == ["no_baseline"]
    assert row(found.headline, run="w")["srs"] == 0.5
    assert len(found.tables["transitions"]) == 0


def test_faults_of_the_files_are_collected_with_their_names(runs: Path) -> None:
    broken = write_run(runs / "x", 4, {"bbq": bbq([S] * 6, [A] * 4)}, evidence("broken"))
    path = samples_of(broken, "bbq")
    path.write_bytes(path.read_bytes()[:-40])
    twice = write_run(runs / "y", 5, {"arc": arc([0, 0, 1, 2])}, evidence("twice"))
    write_lines(samples_of(twice, "arc"), [*arc([0, 0, 1, 2]).lines, choice_line(3, 1)])
    (runs / "z").mkdir()
    (runs / "z" / broken.name).write_text("{")
    found = analysed(runs)
    faults = {(issue.file, issue.kind) for issue in found.issues if issue.level != "note"}
    assert faults == {
        (f"x/{path.name}", "truncated"),
        (f"x/{broken.name}", "refused"),
        (f"y/{samples_of(twice, 'arc').name}", "duplicate_items"),
        (f"y/{twice.name}", "refused"),
        (f"y/{twice.name}", "identical_scores"),  # what is left of its lines is the dense run's
        (f"z/{broken.name}", "unreadable"),
    }
    assert [entry.differences[0].name for entry in found.pairing.refusals] == ["items", "items"]


def test_chosen_tasks_alone_are_analysed(runs: Path) -> None:
    found = analysed(runs, tasks=["a*"])
    assert set(found.headline["task"]) == {"arc"}
    with pytest.raises(UserError, match="no task matches mmlu"):
        analysed(runs, tasks=["mmlu*"])


def test_after_a_users_fault_nothing_is_written(runs: Path) -> None:
    for options in ({"baseline": "none"}, {"allow": ["everything"]}, {"tasks": ["x"]}):
        with pytest.raises(UserError):
            analysed(runs, **options)
    assert sorted(path.name for path in runs.parent.iterdir()) == ["runs"]


def test_other_seeds_are_no_comparison_but_a_replicate(tmp_path: Path) -> None:
    def drawn(answers: list[list[int]], **how: Any) -> dict[str, Task]:
        return {"bbq": Task([drawn_line(i, choices, **how) for i, choices in enumerate(answers)])}

    still, moved = [[U, U]] * 6 + [[S, U]] * 2, [[U, S]] * 3 + [[U, U]] * 5
    write_run(tmp_path / "runs", 1, drawn(still))
    write_run(tmp_path / "runs", 2, drawn(moved, seed=7))
    write_run(tmp_path / "runs", 3, drawn(moved, seed=9, prompt="Another prompt"))
    found = analysed(tmp_path / "runs", baseline="dense#1")
    assert {refusal.run for refusal in found.pairing.refusals} == {"dense#2", "dense#3"}
    table = found.tables["replicates"]
    assert set(zip(table["run"], table["replicate_of"], strict=True)) == {
        ("dense#1", "dense#2"),
        ("dense#2", "dense#1"),
    }
    assert set(table["differs"]) == {"seeds"}
    new = row(table, run="dense#2", transition="new_bias")
    # Six of eight items are at risk in the first, three of them show a stereotype in the second.
    assert (new["n_at_risk"], new["n_events"]) == (6, 3)
    assert found.tables["noise_floor"].empty


def test_many_inputs_give_what_one_folder_gives(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = analysed(runs)
    monkeypatch.chdir(runs.parent)
    first, second = sorted(runs.glob("results_*.json"))
    parts = analyze(["runs/*1.json", second, second], "other")
    assert [issue.kind for issue in parts.issues] == []
    for name, table in whole.tables.items():
        pd.testing.assert_frame_equal(parts.tables[name], table)
    marker = json.loads((parts.output / "report.json").read_text())
    assert marker["runs_folder"] == ["runs/*1.json", str(second), str(second)]
    assert marker["runs"] == {"dense": first.name, "wanda-50": second.name}
    assert json.loads((whole.output / "report.json").read_text())["runs_folder"] == str(runs)
    assert f"Analysed: `runs/*1.json`, `{second}`" in (parts.output / "summary.md").read_text()
