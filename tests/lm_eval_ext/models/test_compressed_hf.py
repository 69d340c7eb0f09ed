"""The model class through lm_eval's own Python entry: arguments, evidence, scoring, chat template, cache."""

from __future__ import annotations

import json
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
    assert lm.loglikelihood(requests(*PAIRS)) == again.loglikelihood(requests(*PAIRS))
    saved = json.loads((folder / "compression_evidence.json").read_text())
    assert saved["weights_hash_after"] == again.get_model_info()["compression"]["weights_hash_before"]
