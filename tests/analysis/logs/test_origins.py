"""What runs were made from: files beside the weights, hashes of other runs, and what the user says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from analysis.compare.baselines import choose_baselines
from analysis.errors import UserError
from analysis.logs import ItemStore, RunLog, read_logs
from tests.helpers.runlogs import DENSE, Task, choice_line, evidence, write_run

DATED = 1_700_000_000  # 2023: before the runs of write_run


def task() -> dict[str, Task]:
    return {"t": Task([choice_line(0, 0)])}


def stock(pretrained: Any, **arguments: Any) -> dict[str, Any]:
    return {"model_args": {"pretrained": str(pretrained), "dtype": "float32", **arguments}}


def read(folder: Path, *bases: str) -> tuple[dict[str, RunLog], dict[tuple[str, str], str]]:
    with ItemStore(folder / "items.parquet") as store:
        logs = read_logs(folder / "runs", store, bases=bases)
        return logs.runs, choose_baselines(logs.runs).by_task


def saved(folder: Path, record: dict[str, Any] | None = None, *, card: str = "", **config: Any) -> Path:
    """A checkpoint without its weights."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    if record is not None:
        (folder / "compression_evidence.json").write_text(json.dumps(record))
        os.utime(folder / "compression_evidence.json", (DATED, DATED))
    if card:
        (folder / "README.md").write_text(card)
    return folder


def facts(run: RunLog) -> tuple[Any, ...]:
    return run.standing.status, run.method, run.base_model, run.facts["sparsity"], run.facts.get("base_by")


def test_a_checkpoint_that_we_wrote_is_known_by_the_files_beside_it(tmp_path: Path) -> None:
    folder = saved(tmp_path / "ckpt", evidence("wanda-50"))
    write_run(tmp_path / "runs", 1, task(), evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 2, task(), config=stock(folder))
    runs, by_task = read(tmp_path)
    assert list(runs) == ["dense", "wanda-50(unverified)"]
    assert facts(runs["wanda-50(unverified)"]) == ("unverified", "wanda", "org/base", 0.5, "files")
    assert runs["wanda-50(unverified)"].standing.doubts == (
        "known by compression_evidence.json beside it alone: the run logged no hash of what it loaded",
    )
    assert by_task == {("wanda-50(unverified)", "t"): "dense"}


def test_it_is_proved_where_the_run_logged_the_hash_of_what_it_loaded(tmp_path: Path) -> None:
    record = evidence("wanda-50")
    folder, loaded = saved(tmp_path / "ckpt", record), record["weights_hash_after"]
    own = evidence("dense", **DENSE | {"weights_hash_before": loaded, "weights_hash_after": loaded})
    write_run(tmp_path / "runs", 1, task(), evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 2, task(), own | {"base": {"pretrained": str(folder)}}, config=stock(folder))
    runs, by_task = read(tmp_path)
    assert facts(runs["wanda-50"]) == ("proved", "wanda", "org/base", 0.5, "hash")
    assert by_task == {("wanda-50", "t"): "dense"}


def test_files_of_other_weights_or_of_later_say_neither_level_nor_method(tmp_path: Path) -> None:
    folder, later = (saved(tmp_path / name, evidence("wanda-50")) for name in ("ckpt", "later"))
    os.utime(later / "compression_evidence.json")
    own = evidence("dense", **DENSE | {"weights_hash_before": "ff" * 32, "weights_hash_after": "ff" * 32})
    write_run(tmp_path / "runs", 1, task(), own | {"base": {"pretrained": str(folder)}}, config=stock(folder))
    write_run(tmp_path / "runs", 2, task(), config=stock(later))
    other, younger = read(tmp_path)[0].values()
    assert facts(other) == facts(younger) == ("unverified", "unverified", "org/base", None, "files")
    assert other.standing.doubts[-1].endswith("is of other weights than those that were scored")
    assert younger.standing.doubts[-1].endswith("is younger than the run")


def test_weights_of_another_runs_hash_are_that_runs(tmp_path: Path) -> None:
    made = evidence("wanda-50")
    loaded = made["weights_hash_after"]
    own = evidence("dense", **DENSE | {"weights_hash_before": loaded, "weights_hash_after": loaded})
    write_run(tmp_path / "runs", 1, task(), evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 2, task(), made)
    # The folder is gone, or on another machine.
    write_run(tmp_path / "runs", 3, task(), own | {"base": {"pretrained": "/gone/ckpt"}}, config=stock("/gone/ckpt"))
    runs, by_task = read(tmp_path)
    assert list(runs) == ["dense", "wanda-50#1", "wanda-50#2"]
    assert facts(runs["wanda-50#2"]) == ("proved", "wanda", "org/base", 0.5, "hash")
    assert by_task == {("wanda-50#1", "t"): "dense", ("wanda-50#2", "t"): "dense"}


def test_weights_that_a_compression_left_alone_stay_dense(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", 1, task(), evidence("dense", **DENSE))
    write_run(tmp_path / "runs", 2, task(), evidence("magnitude-0", weights_hash_after="aa" * 32))
    assert [run.standing.status for run in read(tmp_path)[0].values()] == ["dense", "proved"]


CARD = "---\nlicense: mit\nbase_model: {}\n---\n# A model\nbase_model: org/wrong\n"


@pytest.mark.parametrize(
    ("card", "base"),
    [
        (CARD.format("org/base"), "org/base"),
        (CARD.format("'org/base'"), "org/base"),
        (CARD.format("\n- org/base\nbase_model_relation: quantized"), "org/base"),
        (CARD.format("[org/base]"), "org/base"),
        (CARD.format("\n- org/base\n- org/second"), None),  # a merge
        ("# A model\nbase_model: org/base\n", None),
    ],
)
def test_a_compressed_model_is_made_from_what_its_card_names(card: str, base: str | None, tmp_path: Path) -> None:
    config = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    folder = saved(tmp_path / "ckpt", card=card, **config)
    write_run(tmp_path / "runs", 1, task(), config=stock("org/base"))
    write_run(tmp_path / "runs", 2, task(), config=stock(folder))
    runs, by_task = read(tmp_path)
    run = runs["ckpt(unverified gptq-4)"]
    assert facts(run)[:3] == ("unverified", "unverified gptq-4", base or str(folder))
    assert len(by_task) == (base is not None)


def test_a_plain_model_is_not_what_it_was_tuned_from(tmp_path: Path) -> None:
    folder = saved(tmp_path / "tuned", card=CARD.format("org/base"))
    write_run(tmp_path / "runs", 1, task(), config=stock(folder))
    (run,) = read(tmp_path)[0].values()
    assert facts(run)[:3] == ("as named", "none", str(folder))


@pytest.mark.parametrize(
    ("config", "runtime", "said"),
    [
        ({"quantization": {"bits": 4, "group_size": 64}, "quantization_config": {"bits": 4}}, "hf", "mlx-4"),
        ({"quantization_config": {"quant_method": "fp8"}}, "hf", "fp8"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "hf", "bitsandbytes-4"),
        ({"compression_config": {"sparsity_config": {}}}, "hf", "quantized"),
        (
            {"quantization_config": {"quant_method": "x", "kv_cache_scheme": {"num_bits": 8, "type": "float"}}},
            "vllm",
            "x kv-float8",
        ),
    ],
)
def test_what_a_configuration_says(config: dict[str, Any], runtime: str, said: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "ckpt", **config)
    write_run(tmp_path / "runs", 1, task(), config=stock(folder) | {"model": runtime})
    (run,) = read(tmp_path)[0].values()
    assert run.method == f"unverified {said}"


def test_a_model_of_the_hub_is_looked_up_in_the_local_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    kept = tmp_path / "hub" / "models--me--plain"
    saved(kept / "snapshots" / "ab12", card=CARD.format("org/base"), quantization_config={"quant_method": "awq"})
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("ab12")
    write_run(tmp_path / "runs", 1, task(), config=stock("me/plain"))
    (run,) = read(tmp_path)[0].values()
    assert (run.label, run.base_model) == ("plain(unverified awq)", "org/base")


@pytest.mark.parametrize("name", ["config.json", "README.md", "compression_evidence.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b'{"quantization_config": 4, "method": 7}', None])
def test_files_that_hold_anything_are_no_fault(name: str, content: bytes | None, tmp_path: Path) -> None:
    folder = saved(tmp_path / "ckpt")
    (folder / name).unlink(missing_ok=True)
    if content is None:
        (folder / name).mkdir()
    else:
        (folder / name).write_bytes(content)
    write_run(tmp_path / "runs", 1, task(), config=stock(folder))
    (run,) = read(tmp_path)[0].values()
    assert run.standing.status == "as named"


def two(folder: Path, name: str = "org/smol-tuned") -> None:
    write_run(folder / "runs", 1, task(), config=stock("org/smol"))
    write_run(folder / "runs", 2, task(), config=stock(name))


@pytest.mark.parametrize("model", ["org/smol-tuned", "smol-tuned", "smol-tuned/dense"])
@pytest.mark.parametrize("base", ["org/smol", "smol", "smol/dense"])
def test_the_user_says_what_a_model_was_made_from(model: str, base: str, tmp_path: Path) -> None:
    two(tmp_path)
    runs, by_task = read(tmp_path, f"{model}={base}")
    assert by_task == {("smol-tuned(unverified)", "t"): "dense"}
    assert facts(runs["smol-tuned(unverified)"])[:3] == ("unverified", "unverified", "org/smol")


def test_a_name_may_hold_an_equals_sign(tmp_path: Path) -> None:
    two(tmp_path, "/data/bits=4/m")
    assert read(tmp_path, "/data/bits=4/m=org/smol")[1] == {("m(unverified)", "t"): "dense"}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("org/smol", "--base org/smol: expected MODEL=BASE, such as --base org/m-AWQ=org/m"),
        ("org/smol-tunned=org/smol", "Did you mean 'org/smol-tuned'"),
        ("org/smol-tuned=org/small", "unknown base model (--base MODEL=BASE) 'org/small'. Did you mean 'org/smol'"),
        ("smol-tuned=smol-tuned", "org/smol-tuned is the model itself. Give what it was made from"),
    ],
)
def test_what_is_told_wrongly_is_said(told: str, said: str, tmp_path: Path) -> None:
    two(tmp_path)
    with pytest.raises(UserError) as caught:
        read(tmp_path, told)
    assert said in str(caught.value)


def test_a_server_without_a_named_model_is_called_by_its_address(tmp_path: Path) -> None:
    # lm_eval makes up another model_name in every run of its model `gguf`.
    for number, name in enumerate(["2c01d9b8-run", "77ab-run"]):
        config = {"model": "gguf", "model_args": {"base_url": "http://me:secret@host:8000/?key=x"}}
        write_run(tmp_path / "runs", number, task(), config=config, model_name=name)
    runs, _ = read(tmp_path)
    assert {run.base_model for run in runs.values()} == {"llama.cpp at host:8000"}
    assert list(runs) == ["llama.cpp at host:8000(unverified gguf)#1", "llama.cpp at host:8000(unverified gguf)#2"]
