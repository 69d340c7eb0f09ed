"""Every mixture of experts among transformers' causal language models, tiny, with its routers' names read by hand."""

from __future__ import annotations

from typing import Any

from tests.helpers.tiny import SIZES

# Values of the config fields that a family has; 64 channels, two blocks, 8 experts of which a token gets two.
COMMON: dict[str, Any] = SIZES | {
    "head_dim": 16,
    "max_position_embeddings": 128,
    "moe_intermediate_size": 48,
    "num_experts": 8,
    "num_local_experts": 8,
    "n_routed_experts": 8,
    "moe_num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_top_k": 2,
    "moe_k": 2,
    "moe_topk": 2,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
    "num_shared_experts": 1,
    "moe_num_shared_experts": 1,
    "first_k_dense_replace": 0,
    "shared_expert_intermediate_size": 56,
    "shared_intermediate_size": 56,
    "moe_latent_size": 32,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 16,
    "mamba_n_heads": 4,
    "mamba_d_head": 32,
    "mamba_d_state": 16,
    "mamba_n_groups": 1,
    "mamba_num_heads": 4,
    "mamba_head_dim": 32,
    "ssm_state_size": 16,
    "n_groups": 1,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "index_n_heads": 4,
    "index_head_dim": 16,
    "index_topk": 4,
    "sliding_window": 8,
    "kv_channels": 16,
    "router_hidden_size": 16,
    "num_dense_layers": 0,
    "moe_layer_start_index": 0,
    "intermediate_size_mlp": 96,
}
# Latent attention repeats no key-value heads.
_LATENT: dict[str, Any] = {"head_dim": None, "num_key_value_heads": 4}
_GATE = ("mlp.gate.weight",)
_DBRX = {
    "d_model": 64,
    "n_heads": 4,
    "n_layers": 2,
    "max_seq_len": 128,
    "vocab_size": 300,
    "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
    "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 8, "moe_top_k": 2, "hidden_size": 64},
}
# Family -> its own config values (None: the family's default), and the routers below a block, read from its source.
FAMILIES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "afmoe": ({}, ("mlp.router.gate.weight",)),
    "aria_text": ({}, ("mlp.router.weight",)),
    "axk1": (_LATENT, _GATE),
    "axk2": (_LATENT, _GATE),
    "cohere2_moe": ({}, _GATE),
    "dbrx": (_DBRX, ("ffn.router.layer.weight",)),
    "deepseek_v2": (_LATENT, _GATE),
    "deepseek_v3": (_LATENT, _GATE),
    "deepseek_v32": (_LATENT, _GATE),
    # Its first blocks look the experts up by the token; the gate weighs them.
    "deepseek_v4": ({}, _GATE),
    "dots1": ({}, _GATE),
    "ernie4_5_moe": ({}, _GATE),
    "exaone_moe": ({}, _GATE),
    "flex_olmo": ({}, _GATE),
    "gemma4_text": (
        {
            "head_dim": None,
            "enable_moe_block": True,
            "top_k_experts": 2,
            "hidden_size_per_layer_input": 16,
            "vocab_size_per_layer_input": 300,
            "num_kv_shared_layers": 0,
        },
        ("router.proj.weight",),
    ),
    "glm4_moe": ({}, _GATE),
    "glm4_moe_lite": (_LATENT, _GATE),
    "glm_moe_dsa": (_LATENT, _GATE),
    "gpt_oss": ({}, ("mlp.router.weight",)),
    "granitemoe": ({}, ("block_sparse_moe.router.weight",)),
    "granitemoe_swa": ({}, ("block_sparse_moe.router.weight",)),
    "granitemoehybrid": ({}, ("block_sparse_moe.router.weight",)),
    "granitemoeshared": ({}, ("block_sparse_moe.router.weight",)),
    "hunyuan_v1_moe": ({}, ("mlp.gate.wg.weight",)),
    "hy_v3": ({}, _GATE),
    "hy_v4": ({}, _GATE),
    "jamba": ({}, ("feed_forward.router.weight",)),
    "inkling_text": ({}, _GATE),
    # The second router chooses among pairs of query and output projections.
    "jetmoe": ({}, ("mlp.router.layer.weight", "self_attention.experts.router.layer.weight")),
    "kimi_linear": ({}, _GATE),
    "laguna": ({}, _GATE),
    "lfm2_moe": ({"layer_types": ["conv", "full_attention"]}, ("feed_forward.gate.weight",)),
    "llama4_text": ({}, ("feed_forward.router.weight",)),
    "longcat_flash": (
        _LATENT
        | {
            "head_dim": 8,
            "num_layers": 2,
            "num_hidden_layers": None,
            "expert_ffn_hidden_size": 48,
            "zero_expert_num": 2,
        },
        ("mlp.router.classifier.weight",),
    ),
    "mellum": ({}, _GATE),
    "mimo_v2_flash": ({"num_key_value_heads": 2}, _GATE),
    "minimax": ({}, _GATE),
    "minimax_m2": ({}, _GATE),
    "minimax_m3_vl_text": ({}, _GATE),
    "mixtral": ({}, _GATE),
    "nemotron_h": ({}, ("mixer.gate.weight",)),
    "olmoe": ({}, _GATE),
    "phimoe": ({}, ("mlp.router.weight",)),
    "qwen2_moe": ({}, _GATE),
    "qwen3_5_moe_text": ({}, _GATE),
    "qwen3_moe": ({}, _GATE),
    "qwen3_next": ({}, _GATE),
    "qwen4_exp_text": ({}, _GATE),
    "solar_open": ({}, _GATE),
    # A router of four matrices, one expert of which does nothing.
    "zaya": (
        {"num_experts_per_tok": 1},
        (
            "mlp.gate.down_proj.weight",
            "mlp.gate.router_mlp.fc1.weight",
            "mlp.gate.router_mlp.fc2.weight",
            "mlp.gate.router_mlp.out_proj.weight",
        ),
    ),
}
_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
# As many experts as there are channels, and every inner width the same.
EQUAL = {"intermediate_size": 64, "moe_intermediate_size": 64, "intermediate_size_mlp": 64} | dict.fromkeys(_COUNTS, 64)
EQUAL |= {"shared_expert_intermediate_size": 64, "shared_intermediate_size": 64, "num_key_value_heads": 4}


def moe_model(family: str, **changes: Any) -> Any:
    """A tiny random model of a family, in evaluation mode; `changes` go to the config fields that it has."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    own = FAMILIES[family][0]
    if family == "dbrx":
        own = own | {"ffn_config": own["ffn_config"] | changes.pop("ffn_config", {})}
        config = AutoConfig.for_model(family, **own)
    else:
        fields = vars(AutoConfig.for_model(family)).keys() | {"num_hidden_layers", "hidden_size"}
        fields |= type(AutoConfig.for_model(family)).attribute_map.keys()
        values = {key: value for key, value in (COMMON | changes).items() if key in fields} | own
        config = AutoConfig.for_model(family, **{key: value for key, value in values.items() if value is not None})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).eval()
