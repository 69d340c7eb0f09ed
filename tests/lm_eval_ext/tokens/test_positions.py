"""How many tokens a model takes: over every decoder config of transformers, and by running models to their end."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.tokens.positions import config_positions, model_positions, position_table
from tests.helpers.tiny import tiny_model, tiny_tokenizer

# Other names than max_position_embeddings, as the models' papers and code use them.
NAMED_OTHERWISE = {
    "codegen": "n_positions",
    "ctrl": "n_positions",
    "dbrx": "max_seq_len",
    "gpt-sw3": "n_positions",
    "gpt2": "n_positions",
    "gpt_bigcode": "n_positions",
    "gptj": "n_positions",
    "kimi_linear": "model_max_length",
    "led": "max_encoder_position_embeddings",
    "mpt": "max_seq_len",
    "openai-gpt": "n_positions",
    "rwkv": "context_length",
    "whisper": "max_target_positions",
}
# Relative positions, ALiBi without a bound, or a state in place of positions.
UNLIMITED = {
    *("bloom", "cpmant", "falcon_mamba", "longt5", "mamba", "mamba2", "mt5", "recurrent_gemma", "switch_transformers"),
    *("t5", "umt5", "xlnet", "xlstm"),
}
# Can't be made without parts of other models; a draft model; not text.
LEFT_OUT = {"encoder-decoder", "gemma4_assistant", "gemma4_unified_assistant", "musicgen", "musicgen_melody"}
KINDS = sorted(({*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES}) - LEFT_OUT)


def text_config(kind: str) -> Any:
    config = CONFIG_MAPPING[kind]()
    return config, getattr(config, "text_config", None) or config


@pytest.mark.parametrize("kind", KINDS)
def test_every_config_of_transformers(kind: str) -> None:
    config, text = text_config(kind)
    if kind in UNLIMITED:
        assert config_positions(config) is None
        return
    name = NAMED_OTHERWISE.get(kind, "max_position_embeddings")
    part = text if name in text.to_dict() else text.get_text_config(decoder=True)
    assert config_positions(config) == part.to_dict()[name] >= 64
    setattr(part, name, 77)
    assert config_positions(config) == 77


def test_no_name_is_missing() -> None:
    """Whatever in a config looks like a limit of positions is one that we read, or known to be something else."""
    looks = re.compile(r"(max|n)_.*(pos|seq|ctx|context)|context_length|seq_len|model_max_length")
    known = {*NAMED_OTHERWISE.values(), "max_position_embeddings", "n_ctx"}
    others = {
        "attention_window_size",
        "left_max_position_embeddings",  # of speech
        "max_decoder_position_embeddings",
        "max_source_positions",  # of audio
        "num_conv_pos_embeddings",
        "num_conv_pos_embedding_groups",
        "original_max_position_embeddings",  # before scaling
        "position_bias_max_distance",
        "right_max_position_embeddings",
        "t2u_max_position_embeddings",
        "image_seq_length",
    }
    for kind in KINDS:
        config, text = text_config(kind)
        found = {
            key
            for part in (config, text)
            for key, value in part.to_dict().items()
            if looks.search(key) and isinstance(value, int) and not isinstance(value, bool)
        }
        assert found <= known | others, kind


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"seq_length": 8192}, 8192),  # ChatGLM, Qwen-1 and BLOOM's own files
        ({"model_max_length": 4096}, 4096),  # Baichuan
        ({"max_context_length": 2048}, 2048),  # OpenELM
        ({"max_sequence_length": 1024}, 1024),  # OLMo's first code
        ({"n_ctx": 512}, 512),
        ({"max_position_embeddings": -1, "n_ctx": 512}, 512),
        ({"max_position_embeddings": None}, None),
        ({"max_position_embeddings": True}, None),
        ({"text_config": SimpleNamespace(max_seq_len=96), "max_position_embeddings": 577}, 96),
        ({"text_config": SimpleNamespace(), "max_position_embeddings": 96}, 96),
        ({"llm_config": SimpleNamespace(n_positions=96)}, 96),
        ({"max_position_embeddings": 2048.0}, 2048),
        ({}, None),
    ],
)
def test_configs_that_come_with_their_own_code(values: dict[str, Any], expected: int | None) -> None:
    assert config_positions(SimpleNamespace(**values)) == expected


SMALL = {"vocab_size": 60, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 16}
# Family, its own names of the sizes, the limit's name, and how many tokens of a limit of 24 it can read.
TABLES: list[tuple[str, dict[str, Any], str, int]] = [
    ("gpt2", {"n_embd": 16, "n_layer": 1, "n_head": 2}, "n_positions", 24),
    ("gpt_bigcode", {"n_embd": 16, "n_layer": 1, "n_head": 2}, "n_positions", 24),
    ("gpt_neo", {"attention_types": [[["global"], 1]], "num_layers": 1, "num_heads": 2}, "max_position_embeddings", 24),
    ("openai-gpt", {"n_embd": 16, "n_layer": 1, "n_head": 2}, "n_positions", 24),
    ("opt", {"ffn_dim": 16, "word_embed_proj_dim": 16}, "max_position_embeddings", 24),
    ("biogpt", {}, "max_position_embeddings", 24),
    ("bert", {"is_decoder": True}, "max_position_embeddings", 24),
    ("electra", {"is_decoder": True, "embedding_size": 16}, "max_position_embeddings", 24),
    ("roberta", {"is_decoder": True}, "max_position_embeddings", 22),  # its first two rows are for padding
    ("camembert", {"is_decoder": True}, "max_position_embeddings", 22),
    ("xlm-roberta", {"is_decoder": True}, "max_position_embeddings", 22),
    ("data2vec-text", {"is_decoder": True}, "max_position_embeddings", 22),
    ("xglm", {"d_model": 16, "ffn_dim": 16, "num_layers": 1, "attention_heads": 2}, "max_position_embeddings", 24),
]


@pytest.mark.parametrize(("kind", "own", "name", "usable"), TABLES, ids=[kind for kind, *_ in TABLES])
def test_models_read_as_many_tokens_and_no_more(kind: str, own: dict[str, Any], name: str, usable: int) -> None:
    config = CONFIG_MAPPING[kind](**SMALL | own | {name: 24})
    model = AutoModelForCausalLM.from_config(config).eval()
    assert model_positions(model) == usable
    with torch.no_grad():
        model(input_ids=torch.full((1, usable), 7))
        if kind != "xglm":  # its table grows
            assert position_table(model) == usable
            with pytest.raises((IndexError, RuntimeError)):
                model(input_ids=torch.full((1, usable + 1), 7))


def test_alibi_ends_where_its_table_does() -> None:
    config = CONFIG_MAPPING["mpt"](vocab_size=60, d_model=16, n_heads=2, n_layers=1, max_seq_len=24)
    model = AutoModelForCausalLM.from_config(config).eval()
    assert (model_positions(model), position_table(model)) == (24, None)
    with torch.no_grad():
        assert model(input_ids=torch.full((1, 24), 7)).logits.shape[1] == 24


def test_an_images_table_is_no_texts() -> None:
    config = CONFIG_MAPPING["llama"](**SMALL, max_position_embeddings=64)
    model = AutoModelForCausalLM.from_config(config)
    model.vision = torch.nn.Module()
    model.vision.position_embedding = torch.nn.Embedding(10, 4)
    assert (model_positions(model), position_table(model)) == (64, None)


@pytest.mark.parametrize(
    ("kind", "own", "name"),
    [
        ("mpt", {"d_model": 16, "n_heads": 2, "n_layers": 1}, "max_seq_len"),
        ("gpt2", {"n_embd": 16, "n_layer": 1, "n_head": 2}, "n_positions"),
        ("roberta", {"is_decoder": True, "pad_token_id": 0} | SMALL, "max_position_embeddings"),
    ],
)
def test_calibration_scoring_and_sampling_know_the_same_length(kind: str, own: dict[str, Any], name: str) -> None:
    config = CONFIG_MAPPING[kind](**own | {"vocab_size": 300, name: 64, "bos_token_id": 1, "eos_token_id": 2})
    length = 63 if kind == "roberta" else 64
    model = AutoModelForCausalLM.from_config(config).eval()
    lm = CompressedHFLM(
        pretrained=model, tokenizer=tiny_tokenizer(), method="wanda", sparsity=0.5, calibration="demo", samples=2
    )
    assert lm.max_length == length
    assert lm.get_model_info()["compression"]["calibration"]["seqlen"] == length
    with pytest.raises(UserError, match=f"max_gen_toks={length} leaves no room"):
        lm.generate_until(
            [Instance("generate_until", {}, ("A", {"seeds": [1], "max_gen_toks": length}), 0, ("a_task", 0, 1))]
        )


def test_more_than_a_table_holds_is_refused() -> None:
    config = CONFIG_MAPPING["gpt2"](vocab_size=300, n_embd=16, n_layer=1, n_head=2, n_positions=64)
    model = AutoModelForCausalLM.from_config(config)
    with pytest.raises(UserError, match=r"max_length=65, but this model holds 64 positions; give at most that"):
        CompressedHFLM(pretrained=model, tokenizer=tiny_tokenizer(), max_length=65)
    assert CompressedHFLM(pretrained=model, tokenizer=tiny_tokenizer(), max_length=64).max_length == 64
    # Rotary positions are computed, and may be asked for further ones.
    assert CompressedHFLM(pretrained=tiny_model("llama"), tokenizer=tiny_tokenizer(), max_length=513).max_length == 513
