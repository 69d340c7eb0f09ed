"""Records of `lm-eval-ext profile` beside perplexity and verdict: matched by the weights' hash, copied as they are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.pipeline import analyze
from tests.helpers.runlogs import DENSE, Task, evidence, rolling_line, scheme_item, write_pair, write_run

DENSE_HASH, OTHER_HASH = "aa" * 32, "bb" * 32


def side(digest: str, bytes_: int, seconds: float) -> dict[str, Any]:
    times = {"median": seconds, "p95": 2 * seconds, "n": 4}
    batch = {
        "prefill_seconds": times,
        "prefill_tokens_per_second": 32 / seconds,
        "decode_seconds": times,
        "decode_tokens_per_second": 1 / seconds,
    }
    return {
        "weights_hash": digest,
        "dtype": "float32",
        "file_bytes": bytes_,
        "archive_bytes": bytes_ // 2,
        "weight_bytes": bytes_,
        "peak_bytes": 3 * bytes_,
        "peak_bytes_gpu": None,
        "bits_per_weight": 32.0,
        "load_seconds": times,
        "batches": {"1": batch, "8": batch},
    }


def record(*sides: dict[str, Any], **changes: Any) -> dict[str, Any]:
    spread = {"median": 1.5, "least": 1.25, "most": 1.75}
    return {
        "format": "lm-eval-ext-profile",
        "version": 1,
        "machine": {"device": "cpu", "threads": 1},
        "settings": {"rounds": 6, "archive": "zlib-1"},
        "sides": list(sides),
        "ratios": {"file_bytes": 0.5, "decode_seconds_batch_1": spread, "prefill_seconds_batch_8": spread},
    } | changes


def runs(folder: Path) -> Path:
    def wiki(value: float) -> Task:
        return Task([rolling_line(0, -5 * math.log(value))], "loglikelihood_rolling", {"word_perplexity,none": value})

    write_run(folder, 1, {"wikitext": wiki(20.0)}, evidence("dense", **DENSE | {"weights_hash_after": DENSE_HASH}))
    write_run(
        folder,
        2,
        {"wikitext": wiki(25.0)},
        evidence("rtn-4", weights_hash_before=DENSE_HASH, weights_hash_after=OTHER_HASH),
    )
    return folder


def table(tmp_path: Path, *contents: Any) -> tuple[pd.DataFrame, dict[str, str]]:
    folder = runs(tmp_path / "runs")
    for number, content in enumerate(contents):
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"profile_{number}.json").write_text(text, encoding="utf-8")
    found = analyze(folder, tmp_path / "report")
    return found.tables["profiles"], {issue.kind: issue.message for issue in found.issues}


def test_dense_beside_compressed(tmp_path: Path) -> None:
    frame, issues = table(tmp_path, record(side(DENSE_HASH, 400, 0.5), side(OTHER_HASH, 200, 0.75)))
    assert not {"bad_profile", "profile_of_no_run"} & issues.keys()
    assert frame[["run", "batch"]].to_numpy().tolist() == [["dense", 1], ["dense", 8], ["rtn-4", 1], ["rtn-4", 8]]
    own = frame[frame["run"] == "rtn-4"].iloc[0]
    assert (own["baseline"], own["file"], own["device"], own["n_rounds"]) == ("dense", "profile_0.json", "cpu", 6)
    assert (own["file_bytes"], own["file_bytes_ratio"], own["peak_bytes"]) == (200, 0.5, 600)
    assert (own["decode_tokens_per_second"], own["decode_seconds_p95"]) == (pytest.approx(4 / 3), 1.5)
    assert own[["decode_time_ratio", "decode_time_ratio_low", "decode_time_ratio_high"]].tolist() == [1.5, 1.25, 1.75]
    assert own[["prefill_time_ratio", "archive_bytes_ratio", "peak_bytes_gpu"]].isna().all()
    # 25 / 20 is a quarter more.
    assert (own["perplexity_task"], own["perplexity_pct_change"]) == ("wikitext", pytest.approx(25.0))
    dense = frame[frame["run"] == "dense"].iloc[0]
    assert dense[["baseline", "file_bytes_ratio", "decode_time_ratio", "perplexity_task", "run_verdict"]].isna().all()


def test_a_verdict_stands_beside_it(tmp_path: Path) -> None:
    axes = {"more": "toward", "less": "against"}
    items = [scheme_item(number, ["more", "less"], axes) for number in range(4)]
    write_pair(tmp_path / "runs", items, [0, 0, 0, 0], [0, 1, 0, 1])
    digest = evidence("wanda-50")["weights_hash_after"]
    (tmp_path / "runs/profile_x.json").write_text(json.dumps(record(side(DENSE_HASH, 4, 1.0), side(digest, 4, 1.0))))
    found = analyze(tmp_path / "runs", tmp_path / "report").tables
    (word,) = found["run_verdicts"]["verdict"]
    rows = found["profiles"]
    assert rows["run"].tolist() == ["dense", "dense", "wanda-50", "wanda-50"]
    assert rows["run_verdict"].isna().tolist() == [True, True, False, False]
    assert set(rows["run_verdict"].dropna()) == {word}


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (record(side("cc" * 32, 4, 1.0)), "profile_of_no_run", "no run has the weights of this profile (cccccccccccc)"),
        (record(side(DENSE_HASH, 4, 1.0), version=2), "bad_profile", "a record of version 2"),
        ({"format": "other"}, "bad_profile", "not a record of lm-eval-ext profile"),
        (record(), "bad_profile", "sides: expected one or two objects"),
        (record({"dtype": "float32"}), "bad_profile", "a hash of the weights is missing"),
        ("{", "bad_profile", "left out"),
    ],
)
def test_what_can_not_be_read_is_said(tmp_path: Path, content: Any, kind: str, message: str) -> None:
    frame, issues = table(tmp_path, content)
    assert frame.empty
    assert message in issues[kind]
