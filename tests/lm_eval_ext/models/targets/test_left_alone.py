"""What is left alone whatever the recipe says, and the reason that is given for it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.targets.find import find_targets
from tests.helpers.tiny import SIZES, tiny_model, tiny_tokenizer

TEXT: dict[str, Any] = {name: value for name, value in SIZES.items() if name != "tie_word_embeddings"}
OUTSIDE = "outside the decoder blocks"


def look(model: nn.Module) -> tuple[set[str], dict[str, str]]:
    targets, skips = find_targets(model, make_step({"method": "magnitude", "sparsity": 0.5}))
    return {target.info.name for target in targets}, {skip.name: skip.reason for skip in skips}


def test_maps_outside_the_blocks_are_named() -> None:
    # Embeddings of 32 channels in a model of 64: two maps between them.
    names, skips = look(tiny_model("opt", word_embed_proj_dim=32))
    assert len(names) == 12
    assert skips == {"model.decoder.project_in.weight": OUTSIDE, "model.decoder.project_out.weight": OUTSIDE}


def test_the_coefficients_of_gemma3n() -> None:
    # Two streams of the hidden state are mixed by maps of 2 and 4 coefficients, made by two outputs: no weights of
    # features, and no router, though one is called so.
    config = AutoConfig.for_model(
        "gemma3n_text",
        **TEXT | {"num_hidden_layers": 5, "num_key_value_heads": 4},
        head_dim=16,
        sliding_window=8,
        altup_num_inputs=2,
        num_kv_shared_layers=0,
        laurel_rank=16,
        hidden_size_per_layer_input=16,
        vocab_size_per_layer_input=300,
        layer_types=["sliding_attention"] * 4 + ["full_attention"],
        activation_sparsity_pattern=[0.9, 0.0, 0.0, 0.0, 0.0],
    )
    names, skips = look(AutoModelForCausalLM.from_config(config).eval())
    # Attention 4, MLP 3, LAuReL 2, per-layer input 2.
    assert len(names) == 5 * 11
    reason = "coefficients ({}: fewer than 8 on one side)"
    for block in range(5):
        start = f"model.layers.{block}.altup"
        assert skips[f"{start}.correction_coefs.weight"] == reason.format("2 x 2")
        assert skips[f"{start}.prediction_coefs.weight"] == reason.format("4 x 2")
        assert skips[f"{start}.modality_router.weight"] == reason.format("2 x 64")
    outside = {name for name, why in skips.items() if why == OUTSIDE}
    assert outside == {
        "model.altup_projections.0.weight",
        "model.altup_unembed_projections.0.weight",
        "model.per_layer_model_projection.weight",
    }


def test_eight_of_a_side_are_features() -> None:
    # Two key-value heads of four channels make eight outputs: a weight matrix; of two channels, four.
    assert len(look(tiny_model("llama", head_dim=4))[0]) == 14
    names, skips = look(tiny_model("llama", head_dim=2))
    # Query and output have four heads of two channels.
    assert len(names) == 10
    assert set(skips.values()) == {"coefficients (4 x 64: fewer than 8 on one side)"}


def test_a_recurrence_in_three_dimensions_is_no_set_of_experts() -> None:
    # Zamba's A_log, [heads, channels, states], is applied entry by entry; its projections of that shape are multiplied.
    from tools.families.build import tiny

    names, skips = look(tiny("zamba"))
    reason = skips["model.layers.0.mamba.A_log"]
    assert reason.startswith("not a linear map")
    assert {"model.layers.0.mamba.x_proj_weight[0]", "model.layers.0.mamba.x_proj_weight[1]"} <= names


def test_a_vision_tower_with_as_many_blocks() -> None:
    # Both lists have two modules and lie as deep; the text decoder's is the one.
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    vision = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": 4}
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    config = Qwen2VLConfig(text_config=TEXT | {"rope_parameters": rope}, vision_config=vision)
    model = Qwen2VLForConditionalGeneration(config).eval()
    names, skips = look(model)
    assert len(names) == 14
    assert all(name.startswith("model.language_model.layers.") for name in names)
    # Two blocks of qkv, proj, fc1 and fc2, the merger's two maps, and the convolution over patches.
    assert Counter(skips.values()) == {OUTSIDE: 2 * 4 + 2 + 1}
    assert all(name.startswith("model.visual.") for name in skips)


def save(model: Any, folder: Path) -> str:
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def test_a_vision_language_checkpoint_that_loads(tmp_path: Path) -> None:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config=TEXT | {"head_dim": 16, "sliding_window": 8},
        vision_config=vision | {"image_size": 28, "patch_size": 14},
        mm_tokens_per_image=4,
    )
    folder = save(Gemma3ForConditionalGeneration(config), tmp_path / "model")
    evidence = CompressedHFLM(pretrained=folder, device="cpu", recipe="magnitude-50")._evidence
    assert {record["name"].split(".layers.")[0] for record in evidence.matrices} == {"model.language_model"}
    assert len(evidence.matrices) == 14
    towers = [skip for skip in evidence.skipped if skip["name"].startswith("model.vision_tower.encoder.layers.")]
    assert len(towers) == 2 * 6
    assert {skip["reason"] for skip in evidence.skipped} == {OUTSIDE}


@pytest.mark.parametrize("recipe", ["dense", "magnitude-50"])
def test_a_vision_language_checkpoint_that_does_not_load(recipe: str, tmp_path: Path) -> None:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    config = LlavaConfig(vision_config=vision, text_config=LlamaConfig(**TEXT))
    folder = save(LlavaForConditionalGeneration(config), tmp_path / "model")
    with pytest.raises(UserError, match=r"a llava model is no text model .* its text model \(llama\)") as caught:
        CompressedHFLM(pretrained=folder, device="cpu", recipe=recipe)
    assert "\n" not in str(caught.value)


def test_an_encoder_is_no_language_model(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32)
    folder = save(ViTModel(config), tmp_path / "model")
    with pytest.raises(UserError, match="a vit model is no text model that AutoModelForCausalLM can load; give a dec"):
        CompressedHFLM(pretrained=folder, device="cpu")
