"""A profile says what is there: bytes by hand, times by hand, and no gain where none is seen."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import pytest

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.profile import measure
from lm_eval_ext.models.profile.measure import Plan, profile
from lm_eval_ext.models.profile.sizes import archived, parameters, weight_files
from lm_eval_ext.models.profile.table import sentences

PLAN = Plan(rounds=1, repeats=1, prompt=8, new=2, batches=(1, 2), device="cpu", threads=1)


def test_a_real_model_in_a_process_of_its_own(tiny_checkpoint: Path) -> None:
    record = json.loads(json.dumps(profile({"dense": str(tiny_checkpoint)}, PLAN), allow_nan=False))
    (side,) = record["sides"]
    file = tiny_checkpoint / "model.safetensors"
    # 300 x 64 twice (embedding, output layer), two blocks of 36,864 weights and two norms, the last norm; by hand.
    weights = 2 * 300 * 64 + 2 * (64 * 64 * 2 + 32 * 64 * 2 + 3 * 128 * 64 + 2 * 64) + 64
    assert side["parameters"] == weights
    assert side["weight_bytes"] == 4 * weights
    assert side["file_bytes"] == file.stat().st_size
    assert side["bits_per_weight"] == pytest.approx(8 * file.stat().st_size / weights)
    assert side["dtype"] == "float32"
    assert side["peak_bytes"] >= side["peak_bytes_load"] > 4 * weights
    assert side["batches"]["2"]["decode_seconds"]["n"] == 2
    assert side["batches"]["2"]["decode_tokens_per_second"] == 2 / side["batches"]["2"]["decode_seconds"]["median"]
    assert side["batches"]["1"]["prefill_tokens_per_second"] == 8 / side["batches"]["1"]["prefill_seconds"]["median"]
    assert record["ratios"] == {}
    from lm_eval_ext.models.evidence.hashes import weights_hash
    from tests.helpers.tiny import tiny_model

    assert side["weights_hash"] == weights_hash(tiny_model("llama"))


def fake(seconds: dict[str, list[float]]) -> Any:
    """Rounds of two sides whose decode steps take what is given; everything else takes a second."""
    turns = {name: iter(values) for name, values in seconds.items()}

    def run(pretrained: str, plan: Plan, *, hash: bool) -> dict[str, Any]:
        step = next(turns[Path(pretrained).name])
        times = {"prefill_seconds": [1.0], "decode_seconds": [step, step, 3 * step]}
        return {
            "load_seconds": 1.0,
            "peak_bytes": 10,
            "peak_bytes_load": 5,
            "peak_bytes_gpu": None,
            "weight_bytes": 100,
            "weights_hash": "h" if hash else None,
            "dtype": "float32",
            "device": "cpu",
            "threads": 1,
            "versions": {"torch": "2"},
            "batches": {str(batch): times for batch in plan.batches},
        }

    return run


def two(tmp_path: Path) -> dict[str, str]:
    import torch
    from safetensors.torch import save_file

    for name in ("dense", "compressed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        save_file({"a": torch.zeros(10, 10)}, tmp_path / name / "model.safetensors")
    return {name: str(tmp_path / name) for name in ("dense", "compressed")}


def test_zero_storage_and_zero_latency_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_run", fake({"dense": [1, 2, 1], "compressed": [1.1, 1.9, 0.9]}))
    record = profile(two(tmp_path), Plan(batches=(1,), rounds=3, repeats=3))
    assert record["ratios"]["file_bytes"] == 1
    assert record["ratios"]["decode_seconds_batch_1"] == pytest.approx({"median": 0.95, "least": 0.9, "most": 1.1})
    assert sentences(record) == [
        "Weights on disk: nothing saved.",
        "Weights in memory: nothing saved.",
        "Decoding at batch 1: no difference seen (0.91 to 1.11 times as fast, round by round).",
    ]
    # All nine steps of the dense side: 1, 1, 3, 2, 2, 6, 1, 1, 3.
    times = record["sides"][0]["batches"]["1"]["decode_seconds"]
    assert times == {"median": 2, "p95": 6, "n": 9}


@pytest.mark.parametrize(
    ("rounds", "said"), [(5, "can't tell from 5 rounds, give --rounds 6"), (6, "faster")], ids=["five", "six"]
)
def test_a_gain_is_said_when_six_rounds_show_it(
    rounds: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where there is no difference, six rounds agree by chance once in 32 times, five once in 16.
    steps = {"dense": [1.0, 2.0, 1.0, 1.0, 1.0, 1.0], "compressed": [0.5, 0.8, 0.5, 0.5, 0.5, 0.5]}
    monkeypatch.setattr(measure, "_run", fake(steps))
    lines = sentences(profile(two(tmp_path), Plan(batches=(1,), rounds=rounds)))
    assert lines[-1] == f"Decoding at batch 1: {said} (2.00 to 2.50 times as fast, round by round)."


def test_bytes_of_files(tmp_path: Path) -> None:
    two(tmp_path)
    files = weight_files(tmp_path / "dense")
    assert archived(files, "zlib-1") == len(zlib.compress(files[0].read_bytes(), level=1))
    assert parameters(tmp_path / "dense") == 100
    with pytest.raises(UserError, match="holds no weights"):
        weight_files(tmp_path)


@pytest.mark.parametrize("n", [1, 19, 20, 21, 100])
def test_p95_is_the_least_value_that_95_percent_don_t_exceed(n: int) -> None:
    values = list(map(float, range(1, n + 1)))
    assert measure._times(values)["p95"] == math.ceil(0.95 * n)


def test_what_can_t_be_measured_is_one_line(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder, and no model of the hub"):
        profile({"dense": "no/such-model"}, PLAN)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/config.json").write_text((tiny_checkpoint / "config.json").read_text())
    (tmp_path / "broken/model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError) as caught:
        profile({"dense": str(tmp_path / "broken")}, PLAN)
    assert "\n" not in str(caught.value)
