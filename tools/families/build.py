"""A tiny random model of every decoder family of transformers, made from its config alone.

A config is shrunk by the names of its sizes, one rule for all families. A family whose sizes must fit each other, or
whose default shows nothing of what makes the family itself, gets its own values in `_OWN`.
"""

from __future__ import annotations

import warnings
from dataclasses import fields, is_dataclass
from inspect import signature
from typing import Any

__all__ = ["LEFT_OUT", "POSITIONS", "VOCABULARY", "families", "tiny", "tiny_config"]

VOCABULARY = 300
POSITIONS = 512

# Sizes by the names that configs give them; a name that a config does not have is left out.
_SIZES: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "embedding_size", "word_embed_proj_dim", "lru_width"), 64),
    "input_embedding_size": 64,
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_decoder_attention_heads", "num_encoder_attention_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_inner", "decoder_ffn_dim", "encoder_ffn_dim", "dff"), 128),
    **dict.fromkeys(("n_inner", "ffn_hidden_size", "dim_ff", "feed_forward_size", "dense_intermediate_size"), 128),
    **dict.fromkeys(("moe_intermediate_size", "expert_ffn_hidden_size", "shared_intermediate_size"), 32),
    **dict.fromkeys(("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size"), 32),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "context_length"), POSITIONS),
    **dict.fromkeys(("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "moe_topk", "num_experts_per_token", "moe_top_k"), 2),
    **dict.fromkeys(("n_group", "topk_group", "num_expert_group"), 1),
    **dict.fromkeys(("head_dim", "kv_channels", "attention_head_dim", "dim_head", "qk_head_dim"), 16),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "hidden_size_per_layer_input"), 16),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 16),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "rotary_dim"), 8),
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size"), 8),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("sliding_window", "attention_window_size"), 16),
    **dict.fromkeys(("mamba_chunk_size", "chunk_size"), 16),
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "is_decoder": True,
    "is_encoder_decoder": False,
}

_AS_MANY_KEYS = {"num_key_value_heads": 4}
_WINDOW = {"layer_types": ["sliding_attention", "full_attention"]}
_LINEAR = {"layer_types": ["linear_attention", "full_attention"]}
_TWO_WINDOWS = {"num_hidden_layers": 4, "layer_types": ["sliding_attention", "full_attention"] * 2}
_OWN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "axk2", "deepseek_v2", "glm4_moe_lite", "minicpm3", "youtu"), _AS_MANY_KEYS),
    **dict.fromkeys(("deepseek_v32", "glm_moe_dsa"), _AS_MANY_KEYS | {"mlp_layer_types": ["dense", "sparse"]}),
    **dict.fromkeys(("afmoe", "cohere2", "cohere2_moe", "exaone4", "exaone_moe", "ministral", "olmo3"), _WINDOW),
    **dict.fromkeys(("granitemoehybrid", "qwen3_5_text", "qwen3_5_moe_text", "qwen3_next"), _LINEAR),
    **dict.fromkeys(("gemma2", "gemma3_text"), _TWO_WINDOWS),
    "bamba": {"attn_layer_indices": [1]},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8},
        "ffn_config": {"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 64},
    },
    "deepseek_v3": _AS_MANY_KEYS | {"first_k_dense_replace": 1},
    "dots1": {"n_shared_experts": 1},
    "gemma3n_text": _TWO_WINDOWS
    | {"num_kv_shared_layers": 2, "laurel_rank": 8, "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0]},
    "gemma4_text": _TWO_WINDOWS | {"num_kv_shared_layers": 2},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_offset": 0},
    "kimi_linear": _LINEAR | _AS_MANY_KEYS | {"linear_num_heads": 4, "linear_head_dim": 16},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "llama4_text": {"layer_types": ["chunked_attention", "full_attention"], "attention_chunk_size": 16},
    "longcat_flash": _AS_MANY_KEYS | {"head_dim": 8, "zero_expert_num": 2},
    "mamba2": {"num_heads": 8, "head_dim": 16, "n_groups": 2},
    "qwen4_exp_text": _LINEAR
    | {"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 16, "indexer_budget": 64}
    | {"indexer_compress_ratio": 4},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {"axial_pos_embds": False},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2},
    "zamba2": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "n_mamba_heads": 4,
        "chunk_size": 16,
        "tie_word_embeddings": True,
    },
    "zaya": {"num_experts_per_tok": 1},
}

_COMPOSITE = "a composite of several models; its text model is a family of its own"
LEFT_OUT: dict[str, str] = {
    **dict.fromkeys(("emu3", "gemma3", "gemma3n", "gemma4", "gemma4_unified", "got_ocr2", "llama4"), _COMPOSITE),
    **dict.fromkeys(("mllama", "musicgen", "musicgen_melody", "phi4_multimodal", "qwen3_5", "qwen3_5_moe"), _COMPOSITE),
    **dict.fromkeys(("qwen4_exp", "fuyu", "git", "moshi"), _COMPOSITE),
    **dict.fromkeys(("gemma4_assistant", "gemma4_unified_assistant"), "drafts for another model, reads its states"),
    "blt": "reads bytes in patches that a second model cuts",
}
"""Families that no config alone makes tiny, and why."""


def families() -> list[str]:
    """Model types that AutoModelForCausalLM knows, sorted."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def tiny_config(family: str, **changes: Any) -> Any:
    """Config of a family with two to four blocks of 64 channels and 300 tokens.

    Args:
        family: A model type.
        **changes: Values over those of the rule.

    Raises:
        Exception: Whatever the config's own checks raise where its sizes don't fit each other.
    """
    from transformers import AutoConfig

    names = _names(AutoConfig.for_model(family))
    values = {name: value for name, value in _SIZES.items() if name in names}
    return AutoConfig.for_model(family, **values | _OWN.get(family, {}) | changes)


def tiny(family: str, seed: int = 0, **changes: Any) -> Any:
    """A family's model in float32 and evaluation mode; the same weights for the same seed, wherever it is built."""
    import torch
    from transformers import AutoModelForCausalLM

    config = tiny_config(family, **changes)
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            # Initial weights are so small that a tiny model answers alike to everything.
            if parameter.ndim >= 2:
                parameter.data.normal_(std=0.12)
            parameter.data = parameter.data.float()
    return model.eval()


def _names(config: Any) -> set[str]:
    cls = type(config)
    own = {field.name for field in fields(cls)} if is_dataclass(cls) else set()
    return own | set(signature(cls.__init__).parameters) | set(getattr(cls, "attribute_map", {}))
