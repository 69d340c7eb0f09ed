"""Kinds of models: the plain model's numbers by prefix trees, or lm_eval's own path and one line that says why."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.scoring import obstacles, trust
from tests.helpers.tiny import tiny_model, tiny_tokenizer
from tests.lm_eval_ext.models.scoring.test_sampling import KWARGS, slow, texts

BASE: dict[str, Any] = {"vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
BLOCK: dict[str, Any] = BASE | {"intermediate_size": 128, "num_key_value_heads": 2, "head_dim": 16}
EXPERTS = {"num_experts_per_tok": 1, "num_local_experts": 2}
LINEAR = {f"linear_{name}": size for name, size in (("num_key_heads", 2), ("num_value_heads", 4))} | {
    f"linear_{name}_head_dim": 16 for name in ("key", "value")
}
TREES: dict[str, tuple[str, dict[str, Any]]] = {
    "sliding window in every layer": ("mistral", BLOCK | {"sliding_window": 16}),
    "sliding window in some layers": (
        "gemma3_text",
        BLOCK | {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "window and attention sinks": (
        "gpt_oss",
        BLOCK | EXPERTS | {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "one key head": ("falcon", BASE | {"alibi": False}),
    "rotation of a part": ("gpt_neox", BASE | {"intermediate_size": 128}),
    "sizes that differ by layer, shared keys": (
        "gemma3n_text",
        BLOCK
        | {"num_hidden_layers": 4, "intermediate_size": [128, 96, 128, 96], "num_kv_shared_layers": 2}
        | {"vocab_size_per_layer_input": 300, "hidden_size_per_layer_input": 16, "altup_num_inputs": 2}
        | {"laurel_rank": 8, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"] * 2}
        | {"activation_sparsity_pattern": [0.0] * 4},
    ),
    "sizes in configs within the config": (
        "dbrx",
        {"d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 512, "vocab_size": 300}
        | {"ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 64}}
        | {"attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0}},
    ),
    "chunks wider than the prompts": (
        "llama4_text",
        BLOCK | EXPERTS | {"intermediate_size_mlp": 128, "attention_chunk_size": 512, "moe_layers": []},
    ),
}
ALIBI, STATE = "from their order in the row (ALiBi)", "carries a state from token to token"
OWN: dict[str, tuple[str, dict[str, Any], str]] = {
    "ALiBi, bloom": ("bloom", {"vocab_size": 300, "hidden_size": 64, "n_head": 4, "n_layer": 2}, ALIBI),
    "ALiBi, mpt": ("mpt", {"vocab_size": 300, "d_model": 64, "n_heads": 4, "n_layers": 2}, ALIBI),
    "ALiBi, falcon": ("falcon", BASE | {"alibi": True}, ALIBI),
    "state space": ("mamba", {"vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2}, STATE),
    "recurrent": ("rwkv", {"vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2}, STATE),
    "recurrent hybrid": (
        "recurrent_gemma",
        BLOCK | {"num_key_value_heads": 1, "lru_width": 64, "block_types": ["recurrent", "attention"]},
        STATE,
    ),
    "linear attention hybrid": (
        "qwen3_next",
        BLOCK
        | LINEAR
        | {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 32}
        | {"shared_expert_intermediate_size": 32, "layer_types": ["linear_attention", "full_attention"]},
        STATE,
    ),
    "convolution hybrid": ("lfm2", BLOCK | {"layer_types": ["conv", "full_attention"]}, STATE),
    "state space and attention in one layer": (
        "falcon_h1",
        BLOCK
        | {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 16}
        | {"mamba_chunk_size": 16},
        STATE,
    ),
    "state space hybrid, bamba": (
        "bamba",
        BLOCK
        | {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 1, "mamba_chunk_size": 16}
        | {"attn_layer_indices": [1]},
        STATE,
    ),
    "state space hybrid, jamba": (
        "jamba",
        BLOCK
        | {"num_experts": 2, "num_experts_per_tok": 1, "attn_layer_period": 2, "attn_layer_offset": 1}
        | {"expert_layer_period": 2, "expert_layer_offset": 1, "mamba_d_state": 8, "use_mamba_kernels": False},
        STATE,
    ),
    "local attention": (
        "gpt_neo",
        {"vocab_size": 300, "hidden_size": 64, "num_layers": 2, "num_heads": 4}
        | {"attention_types": [[["global", "local"], 1]], "window_size": 16, "max_position_embeddings": 512},
        "attends within 16 tokens by their order in the row",
    ),
    "chunks": (
        "llama4_text",
        BLOCK | EXPERTS | {"intermediate_size_mlp": 128, "attention_chunk_size": 16, "moe_layers": []},
        "cuts attention into chunks of 16 tokens",
    ),
    "rotation by length": (
        "phi3",
        BLOCK
        | {"max_position_embeddings": 512, "original_max_position_embeddings": 64}
        | {"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0] * 8, "long_factor": [4.0] * 8}},
        "scales positions by the longest prompt of a batch (longrope rotary embedding, over 64 tokens)",
    ),
}
STEM = "Who kept the key, and who lost it? Answer:"
PAIRS = [
    (STEM, " A"),
    (STEM, " B"),
    (STEM, " The older one"),
    ("Who kept the key? Answer:", " The younger one wrote letters"),
    ("", "The ferry leaves at noon"),
    ("The bakery closes" * 12, " before noon"),
]


def asked(pairs: list[tuple[str, str]]) -> list[Instance]:
    return [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]


def build(model_type: str, values: dict[str, Any], auto: str = "AutoModelForCausalLM") -> Any:
    import transformers

    config = transformers.AutoConfig.for_model(model_type, **values, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(transformers, auto).from_config(config).float().eval()
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.data.normal_(std=0.12)
    return model


def both(model: Any, **options: Any) -> tuple[CompressedHFLM, HFLM]:
    shared = {"pretrained": model, "tokenizer": tiny_tokenizer(), "max_length": 512}
    return CompressedHFLM(**shared, **options), HFLM(**shared, softmax_dtype="float32")


def compare(ours: HFLM, stock: HFLM, pairs: list[tuple[str, str]]) -> None:
    found = ours.loglikelihood(asked(pairs), disable_tqdm=True)
    expected = [stock.loglikelihood([one], disable_tqdm=True)[0] for one in asked(pairs)]  # one prompt at a time
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=2e-4)
    assert [flag for _, flag in found] == [flag for _, flag in expected]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING and r.name.startswith("lm_eval_ext")]


@pytest.mark.parametrize("kind", TREES)
def test_kinds_that_are_run_by_trees(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    ours, stock = both(build(*TREES[kind]), batch_size="auto")
    compare(ours, stock, PAIRS)
    assert ours._trees.trust.settled
    prompts = [context for context, _ in PAIRS[2:4]]
    assert texts(ours, prompts, KWARGS) == {prompt: slow(ours, prompt, KWARGS) for prompt in prompts}
    assert ours._seeded.trust.settled
    assert warnings(caplog) == []


@pytest.mark.parametrize("kind", OWN)
def test_kinds_that_are_run_as_lm_eval_does(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    model_type, values, reason = OWN[kind]
    model = build(model_type, values)
    ours, stock = both(model, batch_size="auto" if reason == STATE else 1)
    compare(ours, stock, PAIRS)
    prompts = [context for context, _ in PAIRS[2:4]]
    assert texts(ours, prompts, KWARGS) == {prompt: slow(ours, prompt, KWARGS) for prompt in prompts}
    compare(ours, stock, PAIRS[:2])
    (told,) = warnings(caplog)
    assert told.startswith(type(model).__name__)
    assert reason in told
    assert told.endswith("every prompt is run on its own")
    assert ours._trees.trust.settled is False


SHORT = [("Who kept it?", " A"), ("Who kept it?", " B"), ("Who lost it?", " A")]


def test_distances_by_the_order_in_a_row_are_found_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Local attention that nothing in the config gave away, wider than any prompt, but not than a row of 512.
    monkeypatch.setattr(trust, "obstacle", lambda lm, longest: None)
    ours, stock = both(build("gpt_neo", OWN["local attention"][1] | {"window_size": 256}))
    compare(ours, stock, SHORT)
    assert ours._trees.trust.settled is False
    assert "by prefix trees and" in warnings(caplog)[0]


def test_chunks_that_only_a_longer_prompt_exceeds(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "obstacle", lambda lm, longest: None)
    ours, stock = both(build("llama4_text", OWN["chunks"][1] | {"attention_chunk_size": 40}))
    compare(ours, stock, SHORT)
    assert ours._trees.trust.settled
    # Many more short ones: the long one must be among those compared wherever it stands.
    compare(ours, stock, [*SHORT * 6, PAIRS[5]])
    assert ours._trees.trust.settled is False
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_the_longest_request_is_compared_wherever_it_sorts(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "obstacle", lambda lm, longest: None)
    ours, stock = both(build("llama4_text", OWN["chunks"][1] | {"attention_chunk_size": 40}))
    start = {"first": "!", "middle": "M", "last": "the"}[place]
    short = [(f"{first}{second} kept it?", " A") for first in ("A", "B", "Z", "k") for second in "abcdefgh"]
    pairs = [*short, (start + PAIRS[5][0], " A")]
    order = sorted(pairs, key=lambda pair: ours.tok_encode(pair[0])).index(pairs[-1])
    assert order == {"first": 0, "middle": 16, "last": 32}[place]
    compare(ours, stock, pairs)
    assert ours._trees.trust.settled is False


DEPENDENT: dict[str, tuple[str, dict[str, Any], str]] = {
    "rotation by length": (*OWN["rotation by length"][:2], "scales positions by the longest prompt of a batch"),
    "mask by length": ("doge", BLOCK, "gives other numbers beside a longer prompt"),
    "no causal mask": (
        "megatron-bert",
        BASE | {"intermediate_size": 128},
        "gives other numbers beside a longer prompt",
    ),
}


@pytest.mark.parametrize("size", [4, "auto"])
@pytest.mark.parametrize("kind", DEPENDENT)
def test_models_whose_numbers_depend_on_their_company(
    kind: str, size: int | str, caplog: pytest.LogCaptureFixture
) -> None:
    model_type, values, reason = DEPENDENT[kind]
    ours, _ = both(build(model_type, values), batch_size=size)
    model = ours.model

    @torch.no_grad()
    def alone(tokens: list[int]) -> Any:
        return model(torch.tensor([tokens])).logits[0].log_softmax(-1)

    # Where later tokens act on earlier ones, a text of several tokens has no score; see test_ahead.
    pairs = PAIRS if not ours.looks_ahead else [(context, " A") for context, _ in PAIRS if context]
    found = ours.loglikelihood(asked(pairs), disable_tqdm=True)
    for (context, target), (value, _) in zip(pairs, found, strict=True):
        prompt, wanted = ours._encode_pair(context, target) if context else ([1], ours.tok_encode(target))
        logits = alone([*prompt, *wanted][:-1])[-len(wanted) :]
        assert value == pytest.approx(float(logits[range(len(wanted)), wanted].sum()), abs=2e-4)
    texts_ = [] if ours.looks_ahead else [context for context, _ in PAIRS if context]
    rolled = ours.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (t,), 0) for t in texts_])
    for text, value in zip(texts_, rolled, strict=True):
        wanted = ours.tok_encode(text)
        logits = alone([ours.prefix_token_id, *wanted][:-1])
        assert value == pytest.approx(float(logits[range(len(wanted)), wanted].sum()), rel=1e-5)
    told = [line for line in warnings(caplog) if line.endswith("lm_eval's passes take one prompt each")]
    assert len(told) == 1
    assert reason in told[0]


def test_short_prompts_of_a_model_with_rotation_by_length() -> None:
    _, values, _ = OWN["rotation by length"]
    ours, stock = both(build("phi3", values | {"original_max_position_embeddings": 300}))
    compare(ours, stock, PAIRS)
    assert ours._trees.trust.settled


@pytest.mark.parametrize("name", ["flex_attention", "flash_attention_2"])
def test_an_attention_that_takes_no_such_mask(name: str, caplog: pytest.LogCaptureFixture) -> None:
    ours, _ = both(tiny_model("llama"))
    ours.model.config._attn_implementation = name  # not run: flex_attention is compiled for a minute on a CPU
    request = (("Who", " A"), [5, 6], [7])
    assert not ours._trees.usable([request])
    assert warnings(caplog) == [
        f"LlamaForCausalLM runs with attn_implementation={name}, which takes no mask of prefix trees (sdpa and eager "
        "do); every prompt is run on its own"
    ]


def test_an_attention_that_is_not_installed(tiny_checkpoint: Path) -> None:
    with pytest.raises(UserError, match="can't be loaded as asked: FlashAttention2 has been toggled on, but"):
        CompressedHFLM(pretrained=str(tiny_checkpoint), device="cpu", attn_implementation="flash_attention_2")


def test_eager_attention(tiny_checkpoint: Path) -> None:
    ours = CompressedHFLM(pretrained=str(tiny_checkpoint), device="cpu", attn_implementation="eager")
    compare(ours, HFLM(pretrained=str(tiny_checkpoint), device="cpu", softmax_dtype="float32"), PAIRS)
    assert ours._trees.trust.settled


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> str:
    values = {"vocab_size": 300, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}
    folder = tmp_path_factory.mktemp("t5")
    build("t5", values | {"decoder_start_token_id": 0}, "AutoModelForSeq2SeqLM").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("size", [1, "auto"])
def test_an_encoder_decoder_model(t5: str, size: int | str, caplog: pytest.LogCaptureFixture) -> None:
    shared = {"pretrained": t5, "device": "cpu", "max_length": 256}
    ours = CompressedHFLM(**shared, batch_size=size)
    stock = HFLM(**shared, softmax_dtype="float32")
    compare(ours, stock, PAIRS)
    compare(ours, stock, PAIRS[:3])
    plain = [Instance("generate_until", {}, (STEM, {"until": ["\n"], "max_gen_toks": 4}), 0)]
    assert ours.generate_until(plain) == stock.generate_until(plain)
    assert warnings(caplog) == [
        "T5ForConditionalGeneration is an encoder-decoder model, which prefix trees are not made for; every prompt is "
        "run on its own"
    ]
    with pytest.raises(UserError, match="seeds need a decoder-only model, got seq2seq; use a task that scores instead"):
        texts(ours, [STEM], KWARGS)
    assert ours.get_model_info()["compression"]["label"] == "dense"
    with pytest.raises(UserError, match="encoder-decoder"):
        CompressedHFLM(**shared, recipe="magnitude-50")


def test_what_is_known_of_a_plain_model_is_no_obstacle() -> None:
    lm: Any = SimpleNamespace(backend="causal", model=tiny_model("gpt2"))
    assert obstacles.obstacle(lm, 10**6) is None
