from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis.logs.samples import read_samples
from analysis.logs.store import CATEGORIES, ItemStore, to_pandas
from analysis.logs.table import ITEM_SCHEMA
from analysis.schema.items import ITEMS
from tests.analysis.logs.test_samples import task
from tests.helpers.runlogs import bbq_item, drawn_line, text_line, write_lines


@pytest.fixture
def store(tmp_path: Path) -> ItemStore:
    """Two runs of a task of ours, over other items, and one run of another task."""
    opened = ItemStore(tmp_path / "items.parquet")
    for run, first in (("a", 0), ("b", 2)):
        lines = [drawn_line(i, [0, 1, None], item=bbq_item(i) | {"polarity": None}) for i in range(first, first + 3)]
        write_lines(tmp_path / "s.jsonl", lines)
        opened.append(run, "t", read_samples(tmp_path / "s.jsonl", "s", run, task(lines)).table)
    lines = [text_line(i, "4") for i in range(2)]
    write_lines(tmp_path / "s.jsonl", lines)
    opened.append("b", "u", read_samples(tmp_path / "s.jsonl", "s", "b", task(lines, name="u")).table)
    return opened


def test_rows_come_back_in_the_dtypes_of_items_or_as_categories(store: ItemStore, tmp_path: Path) -> None:
    with store:
        found = store.read("b", "t")
        coded = store.read("b", "t", ["item_id", "cluster"])
    assert list(found) == ITEMS.names
    assert coded.equals(found[["item_id", "cluster"]])
    dtypes = {column.name: column.dtype for column in ITEMS.columns}
    assert {name: str(kind) for name, kind in found.dtypes.items() if name not in CATEGORIES} == {
        name: str(pd.Series([], dtype=kind).dtype) for name, kind in dtypes.items() if name not in CATEGORIES
    }
    assert set(found["run"]) == {"b"}
    assert found["item_id"].tolist() == [f"bbq/Age/{i}" for i in (2, 3, 4) for _ in range(3)]
    assert found["seed"].tolist() == [42, 43, 44] * 3
    assert found["option_groups"].tolist() == ["old || young || "] * 9
    assert found["role"].tolist() == ["stereotype", "anti_stereotype", pd.NA] * 3
    assert found["polarity"].isna().all()
    ITEMS.conform(found)


def test_runs_are_joined_without_falling_back_to_objects(store: ItemStore) -> None:
    with store:
        parts = [store.read(*key, ["run", "item_id", "cluster", "option_groups"]) for key in (("a", "t"), ("b", "u"))]
        none = store.read("a", "absent", ["run", "item_id", "cluster", "option_groups"])
    joined = pd.concat([*parts, none], ignore_index=True)
    assert [str(kind) for kind in joined.dtypes[1:]] == ["category"] * 3
    assert joined["item_id"].tolist() == [*(f"bbq/Age/{i}" for i in (0, 1, 2) for _ in range(3)), "u/0", "u/1"]
    assert joined["option_groups"].isna().tolist() == [False] * 9 + [True] * 2
    merged = parts[0].merge(parts[0], on="item_id")
    assert len(merged) == 27


def test_the_file_holds_plain_strings_as_codes(store: ItemStore) -> None:
    with store:
        store.finish()
        meta = pq.read_metadata(store.path)
    frame = pd.read_parquet(store.path)
    assert not any(isinstance(kind, pd.CategoricalDtype) for kind in frame.dtypes)
    assert len(frame) == 20
    columns = [meta.row_group(0).column(i) for i in range(meta.num_columns)]
    coded = {column.path_in_schema for column in columns if "RLE_DICTIONARY" in column.encodings}
    assert coded >= CATEGORIES | {"run", "task", "filter", "condition", "status", "role"}


def test_a_run_is_written_once_and_no_rows_are_no_entry(store: ItemStore) -> None:
    with store:
        table = ITEM_SCHEMA.empty_table()
        with pytest.raises(ValueError, match="already there"):
            store.append("a", "t", table)
        store.append("a", "u", table)
        assert ("a", "t") in store
        assert ("a", "u") not in store


def test_all_columns_of_a_table_become_nullable(store: ItemStore) -> None:
    with store:
        store.finish()
        frame = to_pandas(pq.read_table(store.path))
    assert str(frame["choice"].dtype) == "Int64"
    assert str(frame["determined"].dtype) == "boolean"
