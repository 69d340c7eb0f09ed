"""batch_size: what auto finds, by hand; and that no number depends on it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from lm_eval_ext import plugin
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.scoring import memory
from lm_eval_ext.models.scoring.memory import attention_width, row_bytes, rows_per_pass, size_of, stock_rows
from tests.helpers.runs import evaluate
from tests.helpers.tiny import tiny_model, write_tiny
from tests.lm_eval_ext.models.scoring.test_fallbacks import PAIRS, TREES, asked, build

GIB = 2**30
# Tiny Llama, numbers a token: 8 x 64 hidden, 3 x 128 of the MLP, keys and values 2 x 2 layers x 2 heads x 16, a mask of
# 512, and 4 heads x 2 x 512 for the scores: 512 + 384 + 128 + 512 + 4096 = 5632; 512 tokens of 4 bytes each.
LLAMA_ROW = 512 * 5632 * 4


def lm_of(model: Any, size: Any = "auto", device: str = "cpu", most: int = 64) -> Any:
    return SimpleNamespace(model=model, batch_size=size, device=device, max_batch_size=most)


def test_memory_of_a_row_by_hand() -> None:
    assert row_bytes(tiny_model("llama")) == LLAMA_ROW
    assert row_bytes(tiny_model("llama", dtype=torch.bfloat16)) == LLAMA_ROW // 2
    # Two of four experts of 128: another 3 x 128.
    assert row_bytes(tiny_model("mixtral")) == LLAMA_ROW + 512 * 384 * 4
    # Four times the hidden size in the MLP (its config has no width), all four heads in keys and values.
    assert row_bytes(tiny_model("gpt2")) == 512 * (512 + 3 * 256 + 2 * 2 * 4 * 16 + 512 + 4096) * 4


def test_memory_of_a_row_where_a_config_tells_otherwise() -> None:
    # DBRX keeps its MLP (two of four experts of 64) and its key heads (2 of 16) in configs within the config.
    dbrx = build("dbrx", TREES["sizes in configs within the config"][1])
    assert row_bytes(dbrx) == 512 * (512 + 2 * 3 * 64 + 2 * 2 * 2 * 16 + 512 + 4096) * 4
    # Gemma-3n lists the widths of its layers (the largest is 128), and has keys and values in four.
    gemma = build("gemma3n_text", TREES["sizes that differ by layer, shared keys"][1])
    assert row_bytes(gemma) == 512 * (512 + 3 * 128 + 2 * 4 * 2 * 16 + 512 + 4096) * 4
    # MPT names every size in its own way, and no width of the MLP: four times the hidden size.
    mpt = build("mpt", {"vocab_size": 300, "d_model": 64, "n_heads": 4, "n_layers": 2})
    assert row_bytes(mpt) == 512 * (512 + 3 * 256 + 2 * 2 * 4 * 16 + 512 + 4096) * 4
    assert [attention_width(model) for model in (dbrx, gemma, mpt)] == [128, 256, 128]


@pytest.mark.parametrize(
    ("value", "size"),
    [(7, 7), ([3, 9, 4], 9), ((3, 9), 9), (None, 5), ([], 5), ([None, 2], 2), (0, 5), ("3", 5), (True, 5), ({}, 5)],
)
def test_a_size_of_any_kind_is_read_or_replaced(value: object, size: int) -> None:
    assert size_of(SimpleNamespace(width=value), ("missing", "width"), 5) == size
    assert size_of(SimpleNamespace(ffn_config=SimpleNamespace(width=value)), ("width",), 5) == size


@pytest.mark.parametrize(("size", "rows"), [(1, 1), (7, 7), (0, 1)])
def test_a_number_is_that_many_rows(size: int, rows: int) -> None:
    assert rows_per_pass(lm_of(None, size)) == rows


def test_auto_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    for threads, rows in ((1, 4), (2, 4), (3, 6), (8, 16), (64, 32)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert rows_per_pass(lm_of(model)) == rows
    assert rows_per_pass(lm_of(model, most=5)) == 5  # lm_eval's own bound
    # 1 GiB is 93 rows of the tiny model; with rows 31 times as large it is three, with larger ones than all of it one.
    monkeypatch.setattr(memory, "row_bytes", lambda model: 31 * LLAMA_ROW)
    assert GIB // (31 * LLAMA_ROW) == 3
    assert rows_per_pass(lm_of(model)) == 3
    monkeypatch.setattr(memory, "row_bytes", lambda model: 2 * GIB)
    assert rows_per_pass(lm_of(model)) == 1


def test_auto_on_cuda_is_half_of_what_the_fullest_device_has(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {torch.device("cuda:0"): 100, torch.device("cuda:1"): 20}
    monkeypatch.setattr(memory, "_cuda_devices", lambda model: set(free))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device] * LLAMA_ROW, 10**12))
    # Twelve rows' worth are reserved by torch, two of them in use.
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 12 * LLAMA_ROW)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 * LLAMA_ROW)
    model = tiny_model("llama")
    assert rows_per_pass(lm_of(model, device="cuda:0")) == 15
    free[torch.device("cuda:1")] = 1000
    assert rows_per_pass(lm_of(model, device="cuda:0")) == 55
    free[torch.device("cuda:0")] = 1000
    assert rows_per_pass(lm_of(model, device="cuda:0")) == 64
    free[torch.device("cuda:0")] = -10
    assert rows_per_pass(lm_of(model, device="cuda:0")) == 1


def test_rows_of_lm_evals_own_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    lm = lm_of(tiny_model("llama"))
    # 4 rows of 512 tokens: 2,048 in all.
    assert [stock_rows(lm, tokens) for tokens in (1, 32, 100, 512, 1024, 5000)] == [64, 64, 20, 4, 2, 1]
    # 64 Mi numbers are 1,365 logits of 49,152 tokens: two rows of 512.
    lm.model.set_input_embeddings(torch.nn.Embedding(49152, 1))
    assert stock_rows(lm, 512) == 2


@pytest.fixture(scope="module")
def stock(tiny_checkpoint: Path) -> HFLM:
    return HFLM(pretrained=str(tiny_checkpoint), device="cpu", softmax_dtype="float32")


@pytest.mark.parametrize("size", [1, 7, "auto", "auto:3"])
def test_no_number_depends_on_it(
    size: int | str, tiny_checkpoint: Path, stock: HFLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = CompressedHFLM(pretrained=str(tiny_checkpoint), device="cpu", batch_size=size)
    pairs = [*PAIRS, *((f"{context} Who?", target) for context, target in PAIRS)]
    expected = [stock.loglikelihood([one], disable_tqdm=True)[0] for one in asked(pairs)]
    order = [5, 0, 11, 3, 7, 1, 10, 2, 9, 4, 8, 6]
    for turn in (range(len(pairs)), order):
        found = lm.loglikelihood(asked([pairs[i] for i in turn]), disable_tqdm=True)
        assert [value for value, _ in found] == pytest.approx([expected[i][0] for i in turn], abs=2e-4)
        assert [flag for _, flag in found] == [expected[i][1] for i in turn]
    assert lm._trees.trust.settled


@pytest.mark.parametrize("size", [2, "auto"])
def test_lm_evals_own_path_with_auto(size: int | str, tiny_checkpoint: Path, stock: HFLM) -> None:
    lm = CompressedHFLM(pretrained=str(tiny_checkpoint), device="cpu", batch_size=size, max_length=96)
    short = HFLM(pretrained=str(tiny_checkpoint), device="cpu", softmax_dtype="float32", max_length=96)
    rolled = [Instance("loglikelihood_rolling", {}, (context,), i) for i, (context, _) in enumerate(PAIRS) if context]
    found = lm.loglikelihood_rolling(rolled, disable_tqdm=True)
    assert found == pytest.approx(short.loglikelihood_rolling(rolled, disable_tqdm=True), abs=2e-4)
    asks = [Instance("generate_until", {}, (PAIRS[i][0], {"until": ["\n"], "max_gen_toks": 4}), i) for i in (0, 3)]
    assert lm.generate_until(asks, disable_tqdm=True) == short.generate_until(asks, disable_tqdm=True)
    lm._trees.trust.refuse("is refused by the test")
    own = [lm.loglikelihood(asked(PAIRS), disable_tqdm=True), stock.loglikelihood(asked(PAIRS[:5]), disable_tqdm=True)]
    assert [value for value, _ in own[0][:5]] == pytest.approx([value for value, _ in own[1]], abs=2e-4)


def test_hflm_searches_by_trial_elsewhere(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = CompressedHFLM(pretrained=str(tiny_checkpoint), device="cpu", batch_size="auto")
    monkeypatch.setattr(HFLM, "_detect_batch_size", lambda self, requests, pos: 11)
    monkeypatch.setattr(lm, "_device", torch.device("cuda"))
    assert lm._detect_batch_size() == 11


def test_logs_of_the_sampled_task_do_not_depend_on_it(tmp_path: Path) -> None:
    plugin.activate()
    model = write_tiny("llama", tmp_path / "model", max_position_embeddings=2048)
    logs = []
    for size in (1, 7, "auto"):
        found = evaluate(
            model, ["bbq_itemlevel_sampled_demo"], model="compressed_hf", limit=6, batch_size=size, bootstrap_iters=0
        )
        logs.append(found["samples"]["bbq_itemlevel_sampled_demo"])
    first, *others = logs
    assert len(first) == 6
    for other in others:
        for one, two in zip(first, other, strict=True):
            assert one["resps"][0] == two["resps"][0]
            assert one["answer"]["texts"] == two["answer"]["texts"]
            assert one["answer"]["probs"] == pytest.approx(two["answer"]["probs"], abs=1e-5)
            assert one["doc_hash"] == two["doc_hash"]
