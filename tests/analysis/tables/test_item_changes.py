"""The list of paired answers: by hand on a tiny log, against the tables that count, and as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis import Analysis, analyze
from analysis.tables.item_changes.columns import ITEM_CHANGES, TEXT_LENGTH
from analysis.tables.item_changes.table import item_changes
from tests.helpers.answers import write_study_logs, write_unifiedqa_logs
from tests.helpers.changes import assert_counts_agree
from tests.helpers.runlogs import (
    DENSE,
    Task,
    bbq_item,
    bbq_line,
    choice_line,
    drawn_line,
    evidence,
    text_line,
    write_run,
)
from tests.helpers.shared import shared_data

S, A, U = 0, 1, 2  # options by role; U is the key

UNTOLD = {"roles": ["undetermined", "undetermined", "unknown"]}

# item: baseline's choice, run's choice, what became of it
BY_HAND: list[tuple[int | None, int | None, str]] = [
    (U, S, "toward"),
    (A, S, "toward"),
    (S, U, "away"),
    (S, A, "away"),
    (U, A, "sideways"),
    (A, A, "same"),
    (U, None, "lost"),
    (None, S, "gained"),
    (None, None, "same"),
    # From here on no role tells a direction; U is right.
    (U, S, "right_to_wrong"),
    (A, U, "wrong_to_right"),
    (S, A, "other"),
    (U, U, "same"),
]


def bbq(side: int) -> Task:
    lines = []
    for number, case in enumerate(BY_HAND):
        item = bbq_item(number) | (UNTOLD if number >= 9 else {})
        lines.append(bbq_line(number, case[side], item=item))
    return Task(lines)


def analysed(folder: Path, dense: dict[str, Task], run: dict[str, Task], **options: Any) -> Analysis:
    write_run(folder / "runs", 1, dense, evidence("dense", **DENSE))
    write_run(folder / "runs", 2, run, evidence("wanda-50"))
    return analyze(folder / "runs", folder / "report", **options)


def test_what_became_of_each_answer_by_hand(tmp_path: Path) -> None:
    found = analysed(tmp_path, {"bbq": bbq(0)}, {"bbq": bbq(1)}).tables["item_changes"]
    found = found.set_index("item_id").loc[[f"bbq/Age/{i}" for i in range(len(BY_HAND))]]
    assert found["direction"].tolist() == [case[2] for case in BY_HAND]
    assert found["changed"].tolist() == [case[2] != "same" for case in BY_HAND]
    assert found["choice_baseline"].tolist() == [pd.NA if case[0] is None else case[0] for case in BY_HAND]
    assert found["choice"].tolist() == [pd.NA if case[1] is None else case[1] for case in BY_HAND]
    first = found.iloc[0]
    assert dict(first[["run", "baseline", "task", "filter", "category", "condition", "polarity", "cluster"]]) == {
        "run": "wanda-50",
        "baseline": "dense",
        "task": "bbq",
        "filter": "none",
        "category": "Age",
        "condition": "ambig",
        "polarity": "nonneg",
        "cluster": "Age/0",
    }
    assert (first["role_baseline"], first["role"]) == ("unknown", "stereotype")
    assert (first["axis_baseline"], first["axis"]) == ("neutral", "toward")
    # Options name old, young and nobody.
    assert (first["people_baseline"], first["people"], first["stereotyped_groups"]) == (pd.NA, "old", "old")
    assert (first["correct_baseline"], first["correct"]) == (True, False)
    # scipy.stats.entropy([0.6, 0.2, 0.2], base=2)
    numbers = [first[name] for name in ("p_choice_baseline", "p_choice", "entropy", "margin")]
    assert numbers == pytest.approx([0.6, 0.6, 1.370951, 0.4], abs=1e-6)
    lost = found.iloc[6]
    assert dict(lost[["status_baseline", "status", "role", "axis", "people", "p_choice"]]) == {
        "status_baseline": "answered",
        "status": "unscored",
        "role": pd.NA,
        "axis": pd.NA,
        "people": pd.NA,
        "p_choice": pd.NA,
    }


def test_a_changed_answer_can_be_read_beside_its_question(tmp_path: Path) -> None:
    dense = {"bbq": bbq(0), "arc": Task([choice_line(7, 0)])}
    run = {"bbq": bbq(1), "arc": Task([choice_line(7, 2)])}
    found = analysed(tmp_path, dense, run)
    read = found.tables["item_changes"].query("changed").merge(found.documents, on="doc_hash", how="left")
    assert len(read) == sum(case[2] != "same" for case in BY_HAND) + 1
    row = read.set_index("item_id").loc["bbq/Age/0"]
    # bbq_line asks "context 0" with the options a, b, c: dense chose the third, the run the first.
    said = (
        f"{row['context']}: {row['options'][row['choice_baseline']]} ({row['p_choice_baseline']}) -> "
        f"{row['options'][row['choice']]} ({row['p_choice']}), {row['direction']}"
    )
    assert said == "context 0: c (0.6) -> a (0.6), toward"
    # A task without items: the question, and the whole document.
    plain = read.set_index("item_id").loc["arc/7"]
    assert (plain["question"], plain["choice_baseline"], plain["choice"]) == ("question 7", 0, 2)
    assert json.loads(plain["document"]) == {"question": "question 7", "answer": 0}


def test_every_task_is_listed_with_its_seeds_filters_and_texts(tmp_path: Path) -> None:
    long = "x" * TEXT_LENGTH
    dense = {
        "arc": Task([choice_line(i, choice) for i, choice in enumerate([0, 0, 1, 2])]),
        "sampled": Task([drawn_line(0, [S, U, None])]),
        "sums": Task([text_line(0, "4"), text_line(1, "5"), text_line(2, f"{long}a"), text_line(3, "7")]),
    }
    run = {
        "arc": Task([choice_line(i, choice) for i, choice in enumerate([0, 1, 0, 1])]),
        "sampled": Task([drawn_line(0, [S, S, None])]),
        "sums": Task([text_line(0, "5"), text_line(1, "4"), text_line(2, f"{long}b"), text_line(3, "7")]),
    }
    for task in (dense["sums"], run["sums"]):
        task.output_type = "generate_until"
    analysis = analysed(tmp_path, dense, run)
    found = analysis.tables["item_changes"]
    assert found.groupby("task").size().to_dict() == {"arc": 4, "sampled": 3, "sums": 4}
    of = dict(iter(found.groupby("task")))
    assert of["arc"]["direction"].tolist() == ["same", "right_to_wrong", "wrong_to_right", "other"]
    assert of["arc"]["role"].isna().all()
    assert of["sampled"]["seed"].tolist() == [42, 43, 44]
    assert of["sampled"]["direction"].tolist() == ["same", "toward", "same"]
    assert of["sampled"]["text_baseline"].tolist() == ["A", "C", "?"]
    assert of["sums"]["direction"].tolist() == ["right_to_wrong", "wrong_to_right", "other", "same"]
    # The texts of item 2 differ after what the list shows of them.
    assert of["sums"]["text"].tolist()[2] == of["sums"]["text_baseline"].tolist()[2] == long + "…"
    assert assert_counts_agree(analysis.output)["changed"] == 3 + 1 + 3


def test_answers_that_the_log_does_not_name_are_listed_as_unknown(tmp_path: Path) -> None:
    # acc_norm decides, and the log does not say which option that took.
    lines = [choice_line(0, 0, acc_norm=1.0), choice_line(1, 0, acc_norm=0.0)]
    other = [choice_line(0, 1, acc_norm=1.0), choice_line(1, 0, acc_norm=1.0)]
    for line in (*lines, *other):
        del line["acc"]
        line["metrics"] = ["acc_norm"]
    analysis = analysed(tmp_path, {"t": Task(lines)}, {"t": Task(other)})
    found = analysis.tables["item_changes"]
    assert found["changed"].tolist() == [pd.NA, True]
    assert found["direction"].tolist() == [pd.NA, "wrong_to_right"]
    assert_counts_agree(analysis.output)


def test_refused_tasks_are_not_listed_and_common_items_alone_are(tmp_path: Path) -> None:
    dense = {"arc": Task([choice_line(i, 0) for i in range(4)])}
    run = {"arc": Task([choice_line(i, 1) for i in range(1, 6)])}
    refused = analysed(tmp_path / "refused", dense, run)
    assert refused.tables["item_changes"].equals(ITEM_CHANGES.empty())
    assert (refused.output / "tables" / "item_changes.csv").read_text() == ",".join(ITEM_CHANGES.names) + "\n"
    accepted = analysed(tmp_path / "accepted", dense, run, allow=["items"])
    assert accepted.tables["item_changes"]["item_id"].tolist() == ["arc/1", "arc/2", "arc/3"]


def test_parquet_holds_all_pairs_run_by_run_and_csv_those_that_changed(tmp_path: Path) -> None:
    quoted = 'a "b", c\nd'
    dense = {"bbq": bbq(0), "sums": Task([text_line(0, "4"), text_line(1, "5")], "generate_until")}
    run = {"bbq": bbq(1), "sums": Task([text_line(0, quoted), text_line(1, "5")], "generate_until")}
    found = analysed(tmp_path, dense, run)
    folder = found.output / "tables"
    frame = ITEM_CHANGES.conform(pd.read_parquet(folder / "item_changes.parquet"))
    assert frame.equals(found.tables["item_changes"])
    assert [str(kind) for kind in frame.dtypes] == [column.dtype for column in ITEM_CHANGES.columns]
    file = pq.ParquetFile(folder / "item_changes.parquet")
    assert file.num_row_groups == 2
    facts = json.loads(file.schema_arrow.metadata[b"lm_eval_ext"])
    assert (facts["table"], facts["rows"], facts["rows_in_csv"]) == ("item_changes", 15, 11)
    assert facts["margin"] == found.settings.margin
    plain = pd.read_csv(folder / "item_changes.csv", dtype={c.name: c.dtype for c in ITEM_CHANGES.columns})
    assert ITEM_CHANGES.conform(plain).equals(frame[frame["changed"].fillna(False)].reset_index(drop=True))
    # Written as the other tables are, but for quotes around every text.
    text = (folder / "item_changes.csv").read_text()
    assert text.startswith("run,baseline,task,filter,")
    assert ',"True","toward",' in text
    assert "nan" not in text.lower()


@pytest.mark.parametrize("study", ["q", "p"])
def test_counts_agree_with_the_tables_on_the_studies_answers(tmp_path: Path, study: str) -> None:
    write_study_logs(shared_data("study_checks", f"{study}_answers.jsonl.gz"), tmp_path / "runs")
    found = analyze(tmp_path / "runs", tmp_path / "report")
    compared = assert_counts_agree(found.output)
    assert min(compared.values()) >= 8


def test_counts_agree_with_the_tables_on_real_answers_in_two_conditions(tmp_path: Path) -> None:
    targets = shared_data("bbq", "target_label.csv.gz")
    write_unifiedqa_logs(shared_data("unifiedqa"), ["Religion", "Age"], targets, tmp_path / "runs")
    found = analyze(tmp_path / "runs", tmp_path / "report", allow=["requests", "prompts"])
    compared = assert_counts_agree(found.output)
    assert compared["changed"] > 100
    changes = found.tables["item_changes"]
    assert changes["people"].dropna().nunique() > 5


def test_the_frames_of_a_notebook_give_the_same_list(tmp_path: Path) -> None:
    found = analysed(tmp_path, {"bbq": bbq(0)}, {"bbq": bbq(1)})
    items = pd.read_parquet(found.output / "items.parquet")
    assert item_changes(items, found.tables["runs"]).equals(found.tables["item_changes"])
    assert item_changes(items, found.tables["runs"].head(1)).equals(ITEM_CHANGES.empty())
