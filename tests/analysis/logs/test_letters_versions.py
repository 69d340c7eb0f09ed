"""Logs of the letters protocols before and after both spellings were scored: read alike, never compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.compare.baselines import choose_baselines
from analysis.compare.pairing import pair_runs
from analysis.logs import ItemStore, read_logs
from tests.helpers.runlogs import DENSE, Task, bbq_line, evidence, write_run

NEW: dict[str, Any] = {"spellings": {" A": 0.97, "A": 0.03}, "reason": None}
UNSCORED: dict[str, Any] = {"letter_mass": None, "entropy": None, "margin": None}


def both_spellings(line: dict[str, Any]) -> dict[str, Any]:
    """The line as version 2.0 writes it: three more requests, and two more fields of the answer."""
    own = list(line["arguments"].values())
    more = [{"arg_0": asked["arg_0"], "arg_1": f" {asked['arg_1']}"} for asked in own]
    line["arguments"] = {f"gen_args_{i}": asked for i, asked in enumerate([*own, *more])}
    line["resps"] = line["resps"] * 2
    line["answer"] = line["answer"] | NEW
    return line


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with ItemStore(tmp_path / "store") as opened:
        yield opened


def test_both_versions_are_read_and_a_pair_of_them_is_refused(tmp_path: Path, store: ItemStore) -> None:
    def lines() -> list[dict[str, Any]]:
        return [bbq_line(0, 1), bbq_line(1, 2), bbq_line(2, None, **UNSCORED)]

    old, new = lines(), [both_spellings(line) for line in lines()]
    new[2]["answer"]["reason"] = "above_one"
    write_run(tmp_path / "logs" / "a", 1, {"t": Task(old, version=1.0)}, evidence("dense", **DENSE))
    write_run(tmp_path / "logs" / "b", 2, {"t": Task(new, version=2.0)}, evidence("w"))
    logs = read_logs(tmp_path / "logs", store)
    assert [issue for issue in logs.issues if issue.level != "note"] == []
    asked = ["item_id", "status", "choice", "role", "p_toward", "letter_mass", "entropy", "margin"]
    first, second = (store.read(label, "t", asked).sort_values("item_id") for label in ("dense", "w"))
    assert first.to_dict("list") == second.to_dict("list")
    assert list(first["status"]) == ["answered", "answered", "unscored"]
    (refusal,) = pair_runs(logs, choose_baselines(logs.runs)).refusals
    assert [difference.name for difference in refusal.differences] == ["task_version", "requests"]
