"""Models in a PEFT wrapper: what is in use is compressed, what is not is neither compressed nor in the way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.recipe.recipe import Recipe
from lm_eval_ext.models.targets.find import find_targets
from lm_eval_ext.models.targets.wrappers import any_number, plain_name
from tests.helpers.compress import expected
from tests.helpers.tiny import tiny_model

peft = pytest.importorskip("peft")


def wrapped(model: nn.Module, saved: list[str], **options: Any) -> Any:
    """A model with adapters on q_proj and whole copies of some modules, no copy equal to its original."""
    config = peft.LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=saved, **options)
    outside = peft.get_peft_model(model, config).eval()
    for name, parameter in outside.named_parameters():
        if "modules_to_save.default" in name:
            parameter.data += 0.01
    return outside


def found(model: nn.Module, **keys: Any) -> tuple[list[str], dict[str, str]]:
    targets, skips = find_targets(model, make_step({"method": "magnitude", "sparsity": 0.5, **keys}))
    return [target.info.name for target in targets], {skip.name: skip.reason for skip in skips}


def test_the_copy_in_use_is_compressed_and_the_other_is_not(tokenizer: Any) -> None:
    model = wrapped(tiny_model("llama"), ["up_proj"])
    names, skips = found(model)
    assert len(names) == 14
    assert [name for name in names if "up_proj" in name] == [
        f"model.layers.{block}.mlp.up_proj.modules_to_save.default.weight" for block in range(2)
    ]
    idle = [f"model.layers.{block}.mlp.up_proj.original_module.weight" for block in range(2)]
    assert {name: skips[name] for name in idle} == dict.fromkeys(idle, "inactive copy (modules_to_save)")
    before = {name: value.clone() for name, value in model.get_base_model().state_dict().items()}
    evidence = compress_(
        model, tokenizer, Recipe(name="half", steps=(make_step({"method": "magnitude", "sparsity": 0.5}),))
    )
    after = model.get_base_model().state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == set(names)
    # 73,728 weights: two blocks of 2 x 64x64 + 2 x 32x64 + 3 x 128x64; no copy is counted.
    assert evidence.totals["parameters"] == 73_728
    assert evidence.totals["achieved_sparsity"] == 0.5
    assert all(float((after[name] == 0).float().mean()) == 0.5 for name in names)


def test_without_its_adapter_the_original_is_in_use() -> None:
    model = wrapped(tiny_model("llama"), ["up_proj"])
    with model.disable_adapter():
        names, skips = found(model)
    assert [name for name in names if "up_proj" in name] == [
        f"model.layers.{block}.mlp.up_proj.original_module.weight" for block in range(2)
    ]
    assert skips["model.layers.0.mlp.up_proj.modules_to_save.default.weight"] == "inactive copy (modules_to_save)"


def test_of_two_adapters_the_active_one_is_in_use() -> None:
    model = wrapped(tiny_model("llama"), ["up_proj"])
    model.add_adapter("other", peft.LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["up_proj"]))
    for active, idle in (("default", "other"), ("other", "default")):
        model.set_adapter(active)
        names, skips = found(model)
        assert len(names) == 14
        assert f"model.layers.1.mlp.up_proj.modules_to_save.{active}.weight" in names
        assert f"model.layers.1.mlp.up_proj.modules_to_save.{idle}.weight" in skips


def test_an_adapter_without_copies_uses_the_originals() -> None:
    model = wrapped(tiny_model("llama"), ["up_proj"])
    model.add_adapter("other", peft.LoraConfig(r=4, target_modules=["q_proj"]))
    model.set_adapter("other")
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        for block in model.get_base_model().model.layers:
            block.mlp.up_proj.modules_to_save["default"].weight.zero_()
        assert torch.equal(model(input_ids=ids).logits, before)
    names, _ = found(model)
    assert [name for name in names if "up_proj" in name] == [
        f"model.layers.{block}.mlp.up_proj.original_module.weight" for block in range(2)
    ]


def test_patterns_go_by_the_models_own_names() -> None:
    model = wrapped(tiny_model("llama"), ["up_proj"])
    assert len(found(model, exclude=["*.up_proj"])[0]) == 12
    assert len(found(model, exclude=["model.layers.1.mlp"])[0]) == 11
    assert len(found(model, exclude=["*.q_proj"])[0]) == 12
    with pytest.raises(UserError, match=r"exclude='\*.lora_A' removes no target .*\(adapter\)"):
        found(model, exclude=["*.lora_A"])


def test_a_copied_output_layer_is_the_one() -> None:
    model = wrapped(tiny_model("llama"), ["lm_head"])
    assert found(model, lm_head=True)[0][-1] == "lm_head.modules_to_save.default.weight"


@pytest.mark.parametrize("both", [True, False])
def test_copies_of_tied_ends(both: bool) -> None:
    # GPT-2's ends are tied. A copy of one, or one of each, is a matrix of its own, and the originals are in use no
    # longer: asking for both ends is no fault, and what was asked is what is compressed.
    saved = ["lm_head", "wte"] if both else ["lm_head"]
    config = peft.LoraConfig(r=4, target_modules=["c_attn"], fan_in_fan_out=True, modules_to_save=saved)
    model = peft.get_peft_model(tiny_model("gpt2"), config)
    names, _ = found(model, lm_head=True, embeddings=True)
    ends = [name for name in names if ".h." not in name]
    storages = {model.get_base_model().get_parameter(name).data_ptr() for name in ends}
    wte = model.get_base_model().get_input_embeddings()
    head = model.get_base_model().get_output_embeddings()
    assert storages == {wte.weight.data_ptr(), head.weight.data_ptr()}
    assert len(ends) == len(storages)


def test_ends_that_are_tied_are_still_asked_for_together() -> None:
    model = peft.get_peft_model(
        tiny_model("gpt2"), peft.LoraConfig(r=4, target_modules=["c_attn"], fan_in_fan_out=True)
    )
    with pytest.raises(UserError, match=r"lm_head.weight shares its storage with transformer.wte.weight.*ask for both"):
        found(model, lm_head=True)
    assert len(found(model, lm_head=True, embeddings=True)[0]) == 9


@pytest.mark.parametrize("kind", ["IA3Config", "OFTConfig", "BOFTConfig", "LoHaConfig", "LoKrConfig", "VeraConfig"])
def test_every_kind_of_adapter_is_left_alone(kind: str) -> None:
    options: dict[str, Any] = {"target_modules": ["q_proj", "down_proj"]}
    options |= {"IA3Config": {"feedforward_modules": ["down_proj"]}, "OFTConfig": {"oft_block_size": 0, "r": 4}}.get(
        kind, {}
    )
    options |= {"BOFTConfig": {"boft_block_size": 4}, "VeraConfig": {"r": 8}}.get(kind, {})
    if kind == "VeraConfig":
        options["target_modules"] = ["q_proj"]
    model = peft.get_peft_model(tiny_model("llama"), getattr(peft, kind)(**options)).eval()
    names, skips = found(model)
    assert {plain_name(name) for name in names} == set(expected("llama"))
    assert set(skips.values()) <= {"adapter"}


def test_rows_that_are_trained_alone() -> None:
    config = peft.LoraConfig(r=4, target_modules=["q_proj"], trainable_token_indices=[5, 6])
    model = peft.get_peft_model(tiny_model("llama"), config)
    names, _ = found(model, embeddings=True)
    assert plain_name(names[0]) == "model.embed_tokens.weight"
    assert len(names) == 15


def test_names() -> None:
    assert plain_name("a.q_proj.base_layer.weight") == "a.q_proj.weight"
    assert plain_name("lm_head.modules_to_save.default.weight") == "lm_head.weight"
    assert plain_name("lm_head.original_module") == "lm_head"
    assert any_number("model.layers.11.mlp.experts.3.w1.base_layer") == "model.layers.*.mlp.experts.*.w1"
