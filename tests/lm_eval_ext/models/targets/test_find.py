"""Which matrices are found: counted by hand in every family, and never more or less than asked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.native.method import Method
from lm_eval_ext.models.parts.decoder import base_model, decoder_blocks
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.targets.find import find_targets
from tests.helpers.compress import COUNTS, EMBEDDING, STRUCTURE, TIED, expected
from tests.helpers.tiny import FAMILIES, tiny_model


def magnitude(**keys: Any) -> Method:
    return make_step({"method": "magnitude", "sparsity": 0.5, **keys})


def names(model: nn.Module, **keys: Any) -> list[str]:
    return [target.info.name for target in find_targets(model, magnitude(**keys))[0]]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_matrices_of_a_family(family: str) -> None:
    model = tiny_model(family)
    targets, skips = find_targets(model, magnitude())
    assert {t.info.name: (t.info.rows, t.info.cols) for t in targets} == expected(family)
    assert len(targets) == COUNTS[family]
    assert all(t.view().shape == (t.info.rows, t.info.cols) for t in targets)
    assert {t.place for t in targets} == {"block"}
    # Only Mixtral has something two-dimensional in its blocks that is left alone: its two routers.
    routers = [f"model.layers.{block}.mlp.gate.weight" for block in range(2)] if family == "mixtral" else []
    assert [(skip.name, skip.reason) for skip in skips] == [(name, "router") for name in routers]


@pytest.mark.parametrize("family", FAMILIES)
def test_block_numbers_and_list(family: str) -> None:
    model = tiny_model(family)
    blocks, count, _ = STRUCTURE[family]
    name, modules = decoder_blocks(model)
    assert (name, len(modules)) == (blocks, count)
    for target in find_targets(model, magnitude())[0]:
        assert target.info.name.startswith(f"{blocks}.{target.block}.")
    assert not hasattr(base_model(model), "lm_head")


def test_views_write_into_the_model() -> None:
    # GPT-2 stores [inputs, outputs]; the experts of Mixtral lie in one tensor.
    for family, where in (
        ("gpt2", "transformer.h.1.mlp.c_proj.weight"),
        ("mixtral", "model.layers.1.mlp.experts.down_proj[2]"),
    ):
        model = tiny_model(family)
        target = next(t for t in find_targets(model, magnitude())[0] if t.info.name == where)
        target.view()[3, 5] = 77.0
        stored = model.state_dict()[where.split("[")[0]]
        assert float(stored[5, 3] if family == "gpt2" else stored[2, 3, 5]) == 77.0
        assert int((stored == 77).sum()) == 1


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - set(TIED)))
def test_untied_ends_are_found_only_on_request(family: str) -> None:
    model = tiny_model(family)
    inside = list(expected(family))
    assert sorted(names(model, lm_head=True)) == sorted([*inside, "lm_head.weight"])
    assert sorted(names(model, embeddings=True)) == sorted([*inside, "model.embed_tokens.weight"])
    both = find_targets(model, magnitude(lm_head=True, embeddings=True))[0]
    assert sorted(t.info.name for t in both) == sorted([*inside, "lm_head.weight", "model.embed_tokens.weight"])
    assert [(t.place, t.info.rows, t.info.cols) for t in (both[0], both[-1])] == [
        ("embedding", 300, 64),
        ("lm_head", 300, 64),
    ]


@pytest.mark.parametrize("family", TIED)
def test_tied_ends_are_one_matrix(family: str) -> None:
    model = tiny_model(family)
    embedding = EMBEDDING.get(family, "model.embed_tokens.weight")
    with pytest.raises(UserError, match=rf"lm_head.weight shares its storage with {embedding}.*ask for both"):
        find_targets(model, magnitude(lm_head=True))
    with pytest.raises(UserError, match=rf"{embedding} shares its storage with lm_head.weight.*ask for both"):
        find_targets(model, magnitude(embeddings=True))
    targets = find_targets(model, magnitude(lm_head=True, embeddings=True))[0]
    assert len(targets) == COUNTS[family] + 1
    assert (targets[0].info.name, targets[0].aliases) == (embedding, ("lm_head.weight",))


def test_any_shared_storage_is_seen() -> None:
    # A norm that lies in the memory of a matrix: nobody asked for it, so nothing is changed through it.
    model = tiny_model("llama")
    whole = model.model.layers[0].self_attn.q_proj.weight
    model.model.norm.weight = nn.Parameter(whole.data.reshape(-1)[:64])
    with pytest.raises(UserError, match=r"layers.0.self_attn.q_proj.weight shares its storage with model.norm.weight"):
        find_targets(model, magnitude())


def test_one_module_used_as_two_blocks_is_found_once() -> None:
    model = tiny_model("llama")
    model.model.layers[1] = model.model.layers[0]
    targets = find_targets(model, magnitude())[0]
    assert len(targets) == 7
    assert targets[0].aliases == ("model.layers.1.self_attn.q_proj.weight",)


def test_two_modules_with_one_storage_are_found_once() -> None:
    model = tiny_model("llama")
    model.model.layers[1].mlp.up_proj.weight = model.model.layers[0].mlp.up_proj.weight
    targets = find_targets(model, magnitude())[0]
    assert len(targets) == 13
    assert [t.aliases for t in targets if t.aliases] == [("model.layers.1.mlp.up_proj.weight",)]
    # A tensor of its own over the same memory is no other matrix either.
    model.model.layers[1].mlp.up_proj.weight = nn.Parameter(model.model.layers[0].mlp.up_proj.weight.data)
    assert len(find_targets(model, magnitude())[0]) == 13


def test_exclude_is_reported() -> None:
    model = tiny_model("llama")
    targets, skips = find_targets(model, magnitude(exclude=["*.o_proj", "model.layers.0.mlp.*"]))
    assert len(targets) == 14 - 2 - 3
    assert sorted(skip.name for skip in skips) == [
        "model.layers.0.mlp.down_proj.weight",
        "model.layers.0.mlp.gate_proj.weight",
        "model.layers.0.mlp.up_proj.weight",
        "model.layers.0.self_attn.o_proj.weight",
        "model.layers.1.self_attn.o_proj.weight",
    ]
    assert {skip.reason for skip in skips} == {"excluded by the recipe"}


def test_exclude_reaches_fused_experts_by_their_parameter() -> None:
    model = tiny_model("mixtral")
    targets, skips = find_targets(model, magnitude(exclude=["*.down_proj"]))
    assert len(targets) == 24 - 8
    excluded = [skip.name for skip in skips if skip.reason == "excluded by the recipe"]
    assert excluded == [f"model.layers.{block}.mlp.experts.down_proj" for block in range(2)]
    assert len(find_targets(model, magnitude(exclude=["*.experts"]))[0]) == 8


def test_a_pattern_that_fits_nothing_is_refused() -> None:
    # Misspelt, it would compress what was to be left alone.
    with pytest.raises(
        UserError, match=r"exclude='\*.o_porj' matches no module of LlamaForCausalLM.*layers.0.self_attn.o_proj"
    ):
        find_targets(tiny_model("llama"), magnitude(exclude=["*.o_porj"]))


def test_everything_excluded_is_an_error() -> None:
    with pytest.raises(UserError, match="method magnitude matched no weight matrix of OPTForCausalLM"):
        find_targets(tiny_model("opt"), magnitude(exclude=["*"]))


def test_unknown_layout_of_experts() -> None:
    model = tiny_model("mixtral")
    for block in model.model.layers:
        del block.mlp.experts.is_transposed
    with pytest.raises(
        UserError,
        match=r"experts.gate_up_proj \[4, 256, 64\] looks like fused experts.*exclude=model.layers.\*.mlp.experts$",
    ):
        find_targets(model, magnitude())
    # The way out that the message names is one.
    assert len(find_targets(model, magnitude(exclude=["model.layers.*.mlp.experts"]))[0]) == 8


def test_transposed_experts() -> None:
    # GPT-OSS stores its experts as [experts, inputs, outputs], here with 2 x 128 and 128 channels inside; their
    # biases are two-dimensional too, and are no linear maps.
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "gpt_oss", vocab_size=300, hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, num_local_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    targets, skips = find_targets(model, magnitude())
    shapes = {t.info.name: (t.info.rows, t.info.cols) for t in targets}
    assert len(shapes) == 4 + 8
    assert shapes["model.layers.0.mlp.experts.gate_up_proj[0]"] == (256, 64)
    assert shapes["model.layers.0.mlp.experts.down_proj[3]"] == (64, 128)
    assert sorted((skip.name.rsplit(".", 1)[-1], skip.reason) for skip in skips) == [
        ("down_proj_bias", "not a linear map (GptOssExperts)"),
        ("gate_up_proj_bias", "not a linear map (GptOssExperts)"),
        ("weight", "router"),
    ]


class Expert(nn.Module):
    """Modules by name."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


class Experts(nn.Module):
    """A mixture whose experts are modules, with a router one level further down than usual."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Module()
        self.gate.wg = nn.Linear(64, 4, bias=False)
        self.experts = nn.ModuleList(Expert({"w1": nn.Linear(64, 96), "w2": nn.Linear(96, 64)}) for _ in range(4))
        self.shared_expert_gate = nn.Linear(64, 1)
        # A gate by name, but one of a gated MLP: 96 outputs are no choice among 4 experts.
        self.shared_expert = Expert({"gate_proj": nn.Linear(64, 96)})

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        chosen = self.gate.wg(hidden).softmax(-1).topk(1)
        out = self.shared_expert.gate_proj(hidden)[..., :64] * self.shared_expert_gate(hidden).sigmoid()
        for number, expert in enumerate(self.experts):
            weight = (chosen.values * (chosen.indices == number)).sum(-1, keepdim=True)
            out = out + weight * expert.w2(expert.w1(hidden).relu())
        return out


def test_experts_that_are_modules() -> None:
    model = tiny_model("mixtral")
    model.model.layers[1].mlp = Experts()
    targets, skips = find_targets(model, magnitude())
    inside = [t for t in targets if t.info.name.startswith("model.layers.1.mlp.")]
    assert len(inside) == 8 + 1
    assert {t.info.name for t in inside if not t.routed} == {"model.layers.1.mlp.shared_expert.gate_proj.weight"}
    assert all(t.expert is None for t in inside)
    assert {t.routed for t in targets if ".self_attn." in t.info.name} == {False}
    routers = [skip.name for skip in skips if skip.reason == "router"]
    assert routers == [
        "model.layers.0.mlp.gate.weight",
        "model.layers.1.mlp.gate.wg.weight",
    ]
    # One number a token: no features.
    left = {skip.name: skip.reason for skip in skips if skip.reason != "router"}
    assert left == {
        "model.layers.1.mlp.shared_expert_gate.weight": "coefficients (1 x 64: fewer than 8 on one side)",
    }


def test_offloaded_weight_is_refused() -> None:
    model = tiny_model("llama")
    model.model.layers[1].mlp.up_proj.weight = nn.Parameter(torch.empty(128, 64, device="meta"))
    with pytest.raises(UserError, match=r"layers.1.mlp.up_proj.weight is offloaded"):
        find_targets(model, magnitude())
    assert len(find_targets(model, magnitude(exclude=["model.layers.1.mlp.up_proj"]))[0]) == 13


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn])
def test_quantized_weight_is_refused(dtype: torch.dtype) -> None:
    model = tiny_model("llama")
    weight = torch.zeros(64, 64).to(dtype)
    model.model.layers[0].self_attn.o_proj.weight = nn.Parameter(weight, requires_grad=False)
    with pytest.raises(
        UserError, match=rf"layers.0.self_attn.o_proj.weight holds {dtype}: the model is quantized already"
    ):
        find_targets(model, magnitude())


class Packed(torch.Tensor):
    """A tensor that only looks like numbers, as torchao's are."""


def test_quantized_tensor_type_is_refused() -> None:
    model = tiny_model("llama")
    packed = torch.zeros(64, 64).as_subclass(Packed)
    model.model.layers[0].self_attn.o_proj.weight = nn.Parameter(packed, requires_grad=False)
    with pytest.raises(
        UserError, match=r"layers.0.self_attn.o_proj.weight is a Packed: the model is quantized already"
    ):
        find_targets(model, magnitude())


def test_encoder_decoder_is_refused() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=300, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    with pytest.raises(UserError, match="T5ForConditionalGeneration is an encoder-decoder model"):
        find_targets(T5ForConditionalGeneration(config), magnitude())


def test_model_without_a_list_of_blocks() -> None:
    model = tiny_model("llama")
    model.config.num_hidden_layers = 5
    with pytest.raises(UserError, match="no list of 5 decoder blocks"):
        find_targets(model, magnitude())


def test_adapters_are_left_alone() -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny_model("llama"), LoraConfig(r=4, target_modules=["q_proj", "o_proj"]))
    targets, skips = find_targets(model, magnitude())
    assert {t.info.name.replace(".base_layer", "") for t in targets} == set(expected("llama"))
    adapters = [skip.name for skip in skips if skip.reason == "adapter"]
    # Two matrices (A and B) for two layers in each of two blocks.
    assert len(adapters) == len(skips) == 8
    assert all("lora_A" in name or "lora_B" in name for name in adapters)
    # Patterns go by the model's own names.
    targets, skips = find_targets(model, magnitude(exclude=["*.o_proj"]))
    assert not [t.info.name for t in targets if "o_proj" in t.info.name]
    assert len([skip for skip in skips if skip.reason == "excluded by the recipe"]) == 2


def test_adapted_output_layer() -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny_model("llama"), LoraConfig(r=4, target_modules=["lm_head"]))
    assert names(model, lm_head=True)[-1] == "lm_head.base_layer.weight"
