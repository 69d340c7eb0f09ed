"""One list of fields drives both readers: a field is added in analysis/schema/items.py and nowhere else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import analysis
from tests.helpers.runlogs import bbq_item, drawn_line

PACKAGE = Path(analysis.__file__).parent
# One of a document, of a line and of a text; of several kinds; in the middle and at the end.
ADDED = """
_ADDED = (
    _optional("subcategory", "string", "document", "doc.item.subcategory", None, "A field of the document."),
    _optional("other_people", "string", "document", "doc.item.other_people", None, "Coded.", coding="groups"),
    _optional("spare", "float", "line", "answer.spare", "doc_id", "A field of the line."),
    _optional("study_choice", "integer", "answer", "answer.texts.study_choice", None, "A field of the text."),
)
ITEM_FIELDS: tuple[SourceField, ...] = (
    *_ADDED[:2],
"""
SCRIPT = """
import json, sys
from pathlib import Path
from analysis.logs import samples, table
from analysis.logs.results import TaskLog
from analysis.report.docs import tables_markdown
task = TaskLog(name="t", output_type="generate_until", version="1", n_shot=0, n_effective=2, task_hash=None,
               perplexities={}, samples=None)
names = ["subcategory", "other_people", "spare", "study_choice"]
taken = samples.typed_line(Path(sys.argv[1]).read_bytes().splitlines()[0]) is not None
found = {"quick": samples.read_file(Path(sys.argv[1]), task).table}
samples.typed_line = lambda raw: None
found["general"] = samples.read_file(Path(sys.argv[1]), task).table
rows = {way: made.select(names).to_pylist() for way, made in found.items()}
page = tables_markdown()
print(json.dumps({"rows": rows, "taken": taken, "types": [str(table.ITEM_SCHEMA.field(name).type) for name in names],
                  "page": [f"| `{name}` |" in page for name in names]}))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder = tmp_path_factory.mktemp("one")
    shutil.copytree(PACKAGE, folder / "analysis", ignore=shutil.ignore_patterns("__pycache__"))
    declared = folder / "analysis" / "schema" / "items.py"
    start, end = "ITEM_FIELDS: tuple[SourceField, ...] = (\n", ")  # fmt: skip\n"
    text = declared.read_text()
    assert (text.count(start), text.count(end)) == (1, 1)
    declared.write_text(text.replace(start, ADDED.lstrip()).replace(end, f"    *_ADDED[2:],\n{end}"))
    line = drawn_line(0, [0, 1], item=bbq_item(0) | {"subcategory": "s", "other_people": ["b", "a"]})
    line["answer"]["spare"] = 0.25
    line["answer"]["draws"][1]["study_choice"] = 2
    lines = [line, drawn_line(1, [2])]
    (folder / "s.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = [sys.executable, "-c", SCRIPT, str(folder / "s.jsonl")]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(run, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    content: dict[str, object] = json.loads(done.stdout)
    return content


def test_both_readers_have_the_new_fields(made: dict[str, object]) -> None:
    first = {"subcategory": "s", "other_people": "a | b", "spare": 0.25}
    # bbq_item gives every item the subcategory "None".
    expected = [
        first | {"study_choice": None},
        first | {"study_choice": 2},
        {"subcategory": "None", "other_people": None, "spare": None, "study_choice": None},
    ]
    assert made["rows"] == {"quick": expected, "general": expected}
    assert made["taken"] is True


def test_schema_and_page_have_them(made: dict[str, object]) -> None:
    coded = "dictionary<values=string, indices=int32, ordered=0>"
    assert made["types"] == [coded, coded, "double", "int64"]
    assert made["page"] == [True] * 4
