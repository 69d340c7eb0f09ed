"""The model class through lm_eval's own Python entry: arguments, evidence, scoring, chat template, cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lm_eval
import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from lm_eval_ext import plugin
from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from tests.helpers.tiny import write_tiny


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_tiny("llama", tmp_path_factory.mktemp("tiny") / "llama"))


def requests(*pairs: tuple[str, str]) -> list[Instance]:
    return [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]


PAIRS = (
    ("Who kept the key?", " A"),
    ("Who kept the key?", " B"),
    ("The ferry leaves", " at noon and reaches"),
)


def same(ours: list[tuple[float, bool]], stock: list[tuple[float, bool]]) -> None:
    """Equal up to float32 rounding: prompts that share a prefix are run together here, and alone there."""
    assert [value for value, _ in ours] == pytest.approx([value for value, _ in stock], abs=2e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in stock]


def test_dense_scores_equal_stock_lm_evals(llama: str) -> None:
    ours = CompressedHFLM(pretrained=llama, device="cpu").loglikelihood(requests(*PAIRS))
    stock = HFLM(pretrained=llama, device="cpu", softmax_dtype="float32").loglikelihood(requests(*PAIRS))
    same(ours, stock)


def test_pruned_scores_equal_stock_lm_evals_on_a_model_pruned_by_hand(llama: str) -> None:
    ours = CompressedHFLM(pretrained=llama, recipe="magnitude-50", device="cpu")
    stock = HFLM(pretrained=llama, device="cpu", softmax_dtype="float32")
    for name, weight in stock.model.named_parameters():
        if "layers" in name and weight.ndim == 2:
            order = weight.detach().abs().flatten().argsort()
            weight.data.view(-1)[order[: weight.numel() // 2]] = 0
    same(ours.loglikelihood(requests(*PAIRS)), stock.loglikelihood(requests(*PAIRS)))


def test_evidence_goes_into_the_results(llama: str, tmp_path: Path) -> None:
    plugin.activate()
    results = lm_eval.simple_evaluate(
        model="compressed_hf",
        model_args=f"pretrained={llama},method=rtn,bits=4,group_size=32",
        tasks=["bbq_itemlevel_demo"],
        limit=2,
        device="cpu",
        bootstrap_iters=0,
    )
    evidence = json.loads(json.dumps(results["config"]["compression"], allow_nan=False))
    assert (evidence["label"], evidence["method"], evidence["bits"]) == ("rtn-4(group_size=32)", "rtn", 4)
    # Two blocks of q, k, v, o, gate, up, down.
    assert evidence["totals"]["matrices"] == len(evidence["matrices"]) == 14
    assert evidence["weights_hash_before"] != evidence["weights_hash_after"]
    assert evidence["softmax_dtype"] == "float32"
    assert evidence["base"]["pretrained"] == llama
    assert evidence["recipe"]["steps"][0]["group_size"] == 32


def test_a_step_may_follow_another(llama: str) -> None:
    lm = CompressedHFLM(pretrained=llama, method="magnitude+rtn", sparsity=0.5, bits=8, group_size=32, device="cpu")
    weight = lm.model.model.layers[0].mlp.up_proj.weight
    assert float((weight == 0).float().mean()) >= 0.5
    assert [record["method"] for record in lm.get_model_info()["compression"]["matrices"]].count("rtn") == 14


def test_bfloat16_model_scores_in_float32_by_default(llama: str) -> None:
    lm = CompressedHFLM(pretrained=llama, dtype="bfloat16", device="cpu")
    values = [value for value, _ in lm.loglikelihood(requests(*PAIRS))]
    # A bfloat16 number has 8 significant bits; a float32 log-probability is one only by chance.
    assert any(float(torch.tensor(value).bfloat16()) != value for value in values)
    assert lm.get_model_info()["compression"]["dtype"] == "bfloat16"


def test_tied_model_keeps_its_embedding_through_hflms_tying(tmp_path: Path) -> None:
    folder = write_tiny("gpt2", tmp_path / "gpt2")
    dense = CompressedHFLM(pretrained=str(folder), device="cpu")
    lm = CompressedHFLM(pretrained=str(folder), recipe="magnitude-50", device="cpu", lm_head=True, embeddings=True)
    assert lm.model.lm_head.weight.data_ptr() == lm.model.transformer.wte.weight.data_ptr()
    assert float((lm.model.lm_head.weight == 0).float().mean()) == pytest.approx(0.5, abs=1e-4)
    assert not bool((dense.model.lm_head.weight == 0).any())


@pytest.mark.parametrize(
    "extra",
    [{"batch_size": 4}, {"max_length": 64}, {"attn_implementation": "eager"}, {"logits_cache": False}],
)
def test_arguments_of_hflm_are_kept(llama: str, extra: dict[str, Any]) -> None:
    lm = CompressedHFLM(pretrained=llama, recipe="rtn-4", group_size=32, device="cpu", **extra)
    assert len(lm.loglikelihood(requests(*PAIRS))) == 3


def test_a_ready_model_can_be_given(llama: str) -> None:
    stock = HFLM(pretrained=llama, device="cpu")
    lm = CompressedHFLM(pretrained=stock.model, tokenizer=stock.tokenizer, recipe="random-30")
    assert lm.get_model_info()["compression"]["base"]["pretrained"] == "LlamaForCausalLM"


def test_response_cache_is_refused(llama: str, tmp_path: Path) -> None:
    plugin.activate()
    with pytest.raises(UserError, match="--use_cache is refused: lm-eval keys its cache by the prompt alone"):
        lm_eval.simple_evaluate(
            model="compressed_hf",
            model_args=f"pretrained={llama}",
            tasks=["bbq_itemlevel_demo"],
            limit=1,
            device="cpu",
            use_cache=str(tmp_path / "cache"),
        )


def test_saved_checkpoint_scores_as_the_model_in_memory(llama: str, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "pruned"
    lm = CompressedHFLM(pretrained=llama, recipe="magnitude-50", save_compressed=str(folder), device="cpu")
    again = CompressedHFLM(pretrained=str(folder), device="cpu")
    # The first call compares some rows with the model's own pass, and packs the others anew: an ulp apart.
    lm.loglikelihood(requests(*PAIRS))
    assert lm.loglikelihood(requests(*PAIRS)) == again.loglikelihood(requests(*PAIRS))
    saved = json.loads((folder / "compression_evidence.json").read_text())
    known = again.get_model_info()["compression"]
    assert (known["label"], known["status"]) == ("magnitude-50", "proved")
    for name in ("weights_hash_before", "weights_hash_after"):
        assert saved[name] == known[name] == lm.get_model_info()["compression"][name]


def test_an_invalid_generation_config_costs_nothing(llama: str, tmp_path: Path) -> None:
    shutil.copytree(llama, tmp_path / "model")
    config = tmp_path / "model" / "generation_config.json"
    config.write_text(json.dumps({"do_sample": False, "temperature": 0.9, "pad_token_id": 0}), encoding="utf-8")
    folder = tmp_path / "saved"
    lm = CompressedHFLM(
        pretrained=str(tmp_path / "model"), recipe="magnitude-50", save_compressed=str(folder), device="cpu"
    )
    assert json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))["temperature"] == 0.9
    assert lm.get_model_info()["compression"]["save_error"] is None


def test_what_saving_needs_is_seen_before_the_compression(
    llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compress(*args: Any, **keys: Any) -> None:
        raise AssertionError("compressed first")

    monkeypatch.setattr("lm_eval_ext.models.native.driver.compress_", compress)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't write a file there"):
        CompressedHFLM(
            pretrained=llama, recipe="magnitude-50", save_compressed=str(tmp_path / "file" / "x"), device="cpu"
        )


def test_a_save_that_fails_does_not_take_the_evaluation_with_it(
    llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plugin.activate()

    def full(*args: Any, **keys: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lm_eval_ext.models.checkpoints.write.check_saved", full)
    plain = {"model": "compressed_hf", "tasks": ["bbq_itemlevel_demo"], "limit": 1, "device": "cpu"}
    arguments = f"pretrained={llama},recipe=magnitude-50"
    results = lm_eval.simple_evaluate(model_args=f"{arguments},save_compressed={tmp_path / 'saved'}", **plain)
    wanted = lm_eval.simple_evaluate(model_args=arguments, **plain)
    assert results["results"] == wanted["results"]
    evidence = results["config"]["compression"]
    assert evidence["save_error"].endswith("failed, nothing was kept: [Errno 28] No space left on device")
    told = [r for r in caplog.records if r.levelname == "ERROR" and "save_compressed=" in r.getMessage()]
    # At once, and behind the evaluation.
    assert len(told) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rank", [0, 1])
def test_one_process_of_several_saves(rank: int, llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CompressedHFLM, "rank", property(lambda self: rank))
    CompressedHFLM(pretrained=llama, recipe="magnitude-50", save_compressed=str(tmp_path / "saved"), device="cpu")
    assert (tmp_path / "saved").exists() == (rank == 0)


def test_calibration_is_looked_for_before_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: Any, **keys: Any) -> None:
        raise AssertionError("the model was loaded first")

    monkeypatch.setattr(HFLM, "__init__", load)
    (tmp_path / "broken.jsonl").write_text('{"text": "fine"}\n{"text": ', encoding="utf-8")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "folder.txt").mkdir()
    for name, message in {
        "none.txt": "none.txt' does not exist; give the path",
        "none.jsonl": "none.jsonl' does not exist; give the path",
        "empty.txt": "is empty",
        "bytes.txt": "is UTF-16; save it as UTF-8",
        "folder.txt": "is a folder",
        "broken.jsonl": "line 2: not JSON",
        "text.csv": "expected c4, wikitext, demo, or the path",
    }.items():
        with pytest.raises(UserError, match=message) as error:
            CompressedHFLM(pretrained="any", method="wanda", sparsity=0.5, calibration=str(tmp_path / name))
        assert "\n" not in str(error.value)
    for source in ({"calibration": "c4"}, {"calibration": "wikitext"}, {}):
        with pytest.raises(UserError, match="can't be had from the hub"):
            CompressedHFLM(pretrained="any", method="wanda", sparsity=0.5, **source)
    with pytest.raises((AssertionError, UserError), match="the model was loaded first"):
        CompressedHFLM(pretrained="any", method="wanda", sparsity=0.5, calibration="demo")
