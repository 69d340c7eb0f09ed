"""Three sources, one item record; and what is said where items cannot be had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest

from lm_eval_ext.datasets.bbq import source
from lm_eval_ext.datasets.bbq.data_set import load_bbq
from lm_eval_ext.datasets.bbq.items import bbq_docs
from lm_eval_ext.datasets.bbq.rows import CATEGORIES
from lm_eval_ext.datasets.bbq.source import PLACE, bbq_rows, choose_source
from lm_eval_ext.errors import UserError
from lm_eval_ext.tasks.bbq_itemlevel.utils import load_items
from tests.helpers.bbq_raw import raw_row, real_rows, write_rows
from tests.helpers.shared import shared_data
from tests.lm_eval_ext.datasets.test_roles import targets

__all__ = ["targets"]

ROWS = [raw_row(i, condition=c, polarity=p) for i, (c, p) in enumerate([("ambig", "neg"), ("disambig", "nonneg")])]


@pytest.fixture(autouse=True)
def _no_folder_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LM_EVAL_EXT_BBQ_DIR", raising=False)


def as_on_the_hub(raw: dict[str, Any], target: int) -> dict[str, Any]:
    """The same row with the hub's fields: answer_label for label, and target_label."""
    return {k: v for k, v in raw.items() if k != "label"} | {
        "answer_label": raw["label"],
        "target_label": target,
    }


def serve(monkeypatch: pytest.MonkeyPatch, splits: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Let the hub have these splits, as data sets; returns the list of what is asked of it."""
    asked: list[str] = []

    def load_dataset(name: str, *, split: str) -> datasets.Dataset:
        asked.append(f"{name}/{split}")
        return datasets.Dataset.from_list(splits[split])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


@pytest.mark.parametrize("category", ["Age", "Nationality", "Religion"])
def test_hub_and_folder_give_identical_items(
    category: str, targets: dict[tuple[str, int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    raws = real_rows(shared_data("bbq", "official", f"{category}.jsonl.gz"))
    hub = [as_on_the_hub(raw, targets[category, raw["example_id"]]) for raw in raws]
    asked = serve(monkeypatch, {category.lower(): hub})
    remote = bbq_docs(bbq_rows(choose_source({}), [category]), "bbq")
    folder = choose_source({"bbq_dir": str(shared_data("bbq"))})
    assert asked == [f"Elfsong/BBQ/{category.lower()}"]
    assert remote == bbq_docs(bbq_rows(folder, [category]), "bbq")
    assert len(remote) == len(raws)


def test_without_targets_the_hub_still_gives_the_folders_items(monkeypatch: pytest.MonkeyPatch) -> None:
    raws = real_rows(shared_data("bbq", "regenerated", "Gender_identity.jsonl.gz"))
    serve(monkeypatch, {"gender_identity": [as_on_the_hub(raw, -1) for raw in raws]})
    remote = bbq_docs(bbq_rows(choose_source({}), ["Gender_identity"]), "bbq")
    local = bbq_rows(choose_source({"bbq_dir": str(shared_data("bbq"))}), ["Gender_identity"])
    assert remote == bbq_docs(local, "bbq")


def test_the_demonstration_items_are_read_like_bbqs_but_never_share_an_id() -> None:
    docs = load_bbq({"bbq_source": "demo"})
    assert len(docs) == 200
    assert docs[0]["item"]["item_id"] == "bbq_demo/Age/0"
    assert {d["item"]["benchmark"] for d in docs} == {"bbq_demo"}
    assert not any("undetermined" in d["item"]["roles"] for d in docs)


def test_all_58492_items_are_found_and_have_their_own_ids() -> None:
    docs = bbq_docs(bbq_rows(choose_source({"bbq_dir": str(shared_data("bbq"))})), "bbq")
    assert len(docs) == len({d["item"]["item_id"] for d in docs}) == 58_492
    # The bias score for ambiguous items rests on this: their keyed option is the unknown one, no other's is.
    assert all((d["item"]["roles"][d["key"]] == "unknown") == (d["item"]["condition"] == "ambig") for d in docs)


def test_the_studies_five_categories_are_12148_ambiguous_items() -> None:
    wanted = ["Age", "Gender_identity", "Race_ethnicity", "Religion", "SES"]
    docs = bbq_docs(bbq_rows(choose_source({"bbq_dir": str(shared_data("bbq"))}), wanted), "bbq", "ambig")
    counts = {c: sum(d["item"]["category"] == c for d in docs) for c in wanted}
    # Per category as in the studies (arXiv 2605.15208).
    assert counts == {
        "Age": 1840,
        "Gender_identity": 2836,
        "Race_ethnicity": 3440,
        "Religion": 600,
        "SES": 3432,
    }


@pytest.mark.parametrize("name", ["Age.jsonl", "Age.jsonl.gz", "data/Age.jsonl", "a/b/age.jsonl.gz"])
def test_a_local_copy_may_be_compressed_and_nested(tmp_path: Path, name: str) -> None:
    write_rows(tmp_path / name, ROWS)
    write_rows(tmp_path / "results" / "preds_Age.jsonl", ROWS)  # BBQ's repository has such files too
    rows = bbq_rows(choose_source({"bbq_dir": str(tmp_path)}), ["Age"])
    assert [row.example_id for row in rows] == [0, 1]


def test_the_metadata_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_EVAL_EXT_BBQ_DIR", str(tmp_path / "env"))
    assert choose_source({}).folder == tmp_path / "env"
    assert choose_source({"bbq_dir": str(tmp_path / "own")}).folder == tmp_path / "own"
    assert choose_source({"bbq_source": "hub"}).kind == "hub"
    assert choose_source({"bbq_source": "demo"}).kind == "demo"


def test_without_a_folder_the_hub_is_asked_and_model_arguments_do_not_matter() -> None:
    assert choose_source({"pretrained": "x", "method": "rtn", "source": "dir"}).kind == "hub"


def names_all_three(message: str) -> bool:
    return all(part in message for part in ("Elfsong/BBQ", "bbq_dir", "LM_EVAL_EXT_BBQ_DIR", "bbq_itemlevel_demo"))


def test_what_cannot_be_had_from_the_hub_ends_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, *, split: str) -> None:
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub\nmore lines")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(UserError) as caught:
        bbq_rows(choose_source({}), ["Age"])
    message = str(caught.value)
    assert message.startswith("Elfsong/BBQ, split 'age', cannot be had (ConnectionError: Couldn't reach")
    assert names_all_three(message)
    assert "\n" not in message
    assert caught.value.__suppress_context__


def test_the_real_client_offline_ends_in_the_same_message() -> None:
    with pytest.raises(UserError) as caught:
        bbq_rows(choose_source({}), ["Age"])
    assert names_all_three(str(caught.value))


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"bbq_source": "hubb"}, "unknown bbq_source 'hubb'. Did you mean 'hub'?"),
        ({"bbq_source": "dir"}, "no folder is named"),
    ],
)
def test_a_source_that_is_none_is_refused(metadata: dict[str, str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        choose_source(metadata)
    assert said in str(caught.value)


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere' is not a folder") as caught:
        bbq_rows(choose_source({"bbq_dir": str(tmp_path / "nowhere")}))
    assert names_all_three(str(caught.value))


def test_missing_categories_are_all_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "Age.jsonl", ROWS)
    with pytest.raises(UserError) as caught:
        bbq_rows(choose_source({"bbq_dir": str(tmp_path)}))
    assert f"has no file for {', '.join(c for c in CATEGORIES if c != 'Age')} (looked" in str(caught.value)
    assert names_all_three(str(caught.value))


def test_demonstration_items_lack_categories_by_name() -> None:
    with pytest.raises(UserError, match="have no Nationality, SESS, only Age, "):
        bbq_rows(choose_source({"bbq_source": "demo"}), ["Age", "Nationality", "SESS"])


def test_two_files_for_one_category_are_not_guessed_between(tmp_path: Path) -> None:
    write_rows(tmp_path / "new" / "Age.jsonl", ROWS)
    write_rows(tmp_path / "old" / "Age.jsonl.gz", ROWS)
    with pytest.raises(UserError, match=r"several files for Age: new/Age.jsonl, old/Age.jsonl.gz"):
        bbq_rows(choose_source({"bbq_dir": str(tmp_path)}), ["Age"])


def test_an_item_twice_is_an_error_with_its_name(tmp_path: Path) -> None:
    write_rows(tmp_path / "Age.jsonl", [raw_row(i) for i in (4, 5, 4, 6, 5)])
    with pytest.raises(UserError, match=r"^2 rows repeat .*: Age/4, Age/5\."):
        bbq_rows(choose_source({"bbq_dir": str(tmp_path)}), ["Age"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"example_id": 1,', "Age.jsonl line 3: not JSON"),
        ("[1, 2]", "Age.jsonl line 3: a JSON object was expected, list was found"),
        ('{"example_id": 1}', "Age.jsonl line 3: a BBQ row lacks the field"),
    ],
)
def test_a_malformed_line_is_named_with_its_file(tmp_path: Path, line: str, said: str) -> None:
    path = write_rows(tmp_path / "Age.jsonl", ROWS)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UserError) as caught:
        bbq_rows(choose_source({"bbq_dir": str(tmp_path)}), ["Age"])
    assert said in str(caught.value)


def test_a_row_of_another_category_is_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "Age.jsonl", [raw_row(0), raw_row(1, category="SES")])
    with pytest.raises(UserError, match=r"Age.jsonl line 2: the row's category is 'SES', expected 'Age'"):
        bbq_rows(choose_source({"bbq_dir": str(tmp_path)}), ["Age"])


@pytest.mark.parametrize("content", [b"", b"\n\n", b"not gzip"])
def test_an_empty_or_broken_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "Age.jsonl.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"Age.jsonl.gz"):
        bbq_rows(choose_source({"bbq_dir": str(tmp_path)}), ["Age"])


def test_packaged_items_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PLACE", replace(PLACE, packaged=tmp_path / "demo.jsonl"))
    with pytest.raises(UserError, match="demonstration items are missing"):
        bbq_rows(choose_source({"bbq_source": "demo"}))


def test_metadata_narrows_a_task_to_some_categories(tmp_path: Path) -> None:
    for category in ("Age", "Religion", "SES"):
        write_rows(tmp_path / f"{category}.jsonl", [raw_row(0, category=category)])
    docs = load_items(["Age", "SES", "Religion"], bbq_dir=str(tmp_path), bbq_categories=["Religion", "Age"])["test"]
    # In the task's order, not in the user's: the items of a run do not depend on how it was asked for.
    assert [doc["item"]["category"] for doc in docs] == ["Age", "Religion"]
    assert len(load_items(None, bbq_dir=str(tmp_path), bbq_categories="SES")["test"]) == 1


@pytest.mark.parametrize("wanted", [[], 3, {"Age": 1}])
def test_no_category_wanted_is_refused(wanted: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"bbq_categories: expected a list of categories such as \['Age'"):
        load_items(None, bbq_dir=str(tmp_path), bbq_categories=wanted)


def test_a_category_that_the_task_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"category of this task in bbq_categories.*'SES'.*Age"):
        load_items(["Age"], bbq_dir=str(tmp_path), bbq_categories=["SES"])
