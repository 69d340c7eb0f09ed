"""llm-compressor's recipes, read strictly: what it would skip in silence is one line; what is asked is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends.llmcompressor.any_recipe import LlmCompressor
from lm_eval_ext.models.backends.llmcompressor.base import LlmCompressorStep
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.recipe.resolve import resolve


def step(**values: Any) -> LlmCompressor:
    made = make_step({"method": "llmcompressor", **values})
    assert isinstance(made, LlmCompressor)
    return made


GPTQ = {"GPTQModifier": {"scheme": "W4A16", "ignore": ["lm_head"]}}


def test_a_file_of_theirs(tmp_path: Path) -> None:
    file = tmp_path / "theirs.yaml"
    file.write_text(
        "quant_stage:\n  quant_modifiers:\n    SmoothQuantModifier: {smoothing_strength: 0.8}\n"
        "    GPTQModifier:\n      scheme: W8A8\n      targets: Linear\n      ignore: [lm_head]\n",
        encoding="utf-8",
    )
    made = step(options={"recipe": str(file)})
    assert made.modifier_list() == (
        ("SmoothQuantModifier", {"smoothing_strength": 0.8}),
        ("GPTQModifier", {"scheme": "W8A8", "targets": "Linear", "ignore": ["lm_head"]}),
    )
    assert (made.asked_bits, made.asked_sparsity, made.measured_group) == (8.0, None, -1)
    # What was read stands in the results, and needs the file no more.
    file.unlink()
    assert make_step(made.model_dump(mode="json")).model_dump() == made.model_dump()


@pytest.mark.parametrize(
    ("modifiers", "bits", "sparsity", "group"),
    [
        ([GPTQ], 4.0, None, 128),
        ([{"QuantizationModifier": {"scheme": {"W8A16": ["Linear"]}}}], 8.0, None, 128),
        ([{"QuantizationModifier": {"scheme": "FP8_DYNAMIC"}}], None, None, None),
        ([{"SparseGPTModifier": {"sparsity": 0.4}}], None, 0.4, None),
        # N is what is pruned there, and what is kept here.
        ([{"WandaPruningModifier": {"mask_structure": "1:4"}}], None, 0.25, None),
        ([{"SparseGPTModifier": {"sparsity": 0.5, "mask_structure": "2:4"}}, GPTQ], 4.0, 0.5, 128),
        ([{"SparseGPTModifier": {"sparsity": [0.4, 0.6]}}], None, None, None),
        (
            [{"GPTQModifier": {"config_groups": {"a": {"weights": {"num_bits": 3, "group_size": 64}}}}}],
            3.0,
            None,
            64,
        ),
        (
            [
                {
                    "GPTQModifier": {
                        "config_groups": {"a": {"weights": {"num_bits": 3}}, "b": {"weights": {"num_bits": 4}}}
                    }
                }
            ],
            None,
            None,
            None,
        ),
    ],
)
def test_what_modifiers_ask_for(
    modifiers: list[Any], bits: float | None, sparsity: float | None, group: int | None
) -> None:
    made = step(modifiers=modifiers)
    assert (made.asked_bits, made.asked_sparsity, made.measured_group) == (bits, sparsity, group)


def test_the_pattern_of_modifiers_is_counted() -> None:
    made = step(modifiers=[{"WandaPruningModifier": {"mask_structure": "1:4"}}])
    # Three of four kept: the first group has four.
    assert made.breaches(torch.tensor([[1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 1.0, 1.0]])) == (1, 2)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({}, r"needs options\.recipe \(a path or a mapping\) or modifiers"),
        ({"modifiers": [{"MagnitudePruningModifier": {"init_sparsity": 0, "final_sparsity": 0.5}}]}, "prunes nothing"),
        ({"modifiers": [{"ConstantPruningModifier": {}}]}, "prunes nothing"),
        (
            {"modifiers": [{"WandaPruningModifier": {"sparsity": 0.3, "mask_structure": "2:4"}}]},
            r"has sparsity 0\.3 and mask_structure 2:4, which prunes 0\.5 whatever sparsity says; give 0\.5",
        ),
        (
            {"modifiers": [{"AWQModifier": {}}]},
            "AWQModifier only scales weights; a QuantizationModifier must follow it",
        ),
        ({"modifiers": [{"SpinQuantModifier": {"rotations": ["R1", "R4"]}}]}, "rotates by R4 at each pass"),
        ({"modifiers": ["GPTQModifier"]}, r"modifiers\.0='GPTQModifier': input should be a valid dictionary"),
        (
            {"options": {"recipe": {"quant": {"quant_modifiers": GPTQ}}}},
            "llm-compressor skips the key 'quant'; it reads",
        ),
        ({"options": {"recipe": {"quant_stage": {"modifiers": GPTQ}}}}, "llm-compressor skips the key 'modifiers'"),
        ({"options": {"recipe": {"quant_stage": {"a_modifiers": {}}}}}, "holds no modifier"),
        ({"options": {"recipe": "none.yaml"}}, "does not exist; give the path of its YAML file"),
        ({"options": {"recipes": {}}, "modifiers": [GPTQ]}, "options: recipes: expected recipe, python or moe_cal"),
        ({"options": {"python": "python3"}, "modifiers": [GPTQ]}, "python: got 'python3', expected the whole path"),
        ({"modifiers": [GPTQ], "embeddings": True}, "llmcompressor compresses no embedding"),
    ],
)
def test_what_it_would_do_in_silence_is_a_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        step(**values)


@pytest.mark.parametrize(
    ("arguments", "modifiers"),
    [
        (
            {"method": "sparsegpt", "pattern": "1:4"},
            (("SparseGPTModifier", {"sparsity": 0.75, "mask_structure": "3:4"}),),
        ),
        (
            {"method": "smoothquant", "strength": 0.8, "options": {"ignore": ["x"]}},
            (("SmoothQuantModifier", {"smoothing_strength": 0.8, "ignore": ["x"]}),),
        ),
        (
            {"method": "spinquant", "options": {"python": "/usr/bin/python3"}},
            (("SpinQuantModifier", {"rotations": ["R1", "R2"]}),),
        ),
    ],
)
def test_modifiers_of_our_methods(arguments: dict[str, Any], modifiers: tuple[Any, ...]) -> None:
    made = make_step(arguments)
    assert isinstance(made, LlmCompressorStep)
    assert made.modifier_list() == modifiers


def test_schemes_of_our_methods_are_the_presets() -> None:
    """compressed-tensors 0.19.0: preset_name_to_scheme("W8A8", ["Linear"]) and the like."""
    presets = pytest.importorskip("compressed_tensors.quantization")
    for name, values in (
        ("W8A8", {"bits": 8, "granularity": "channel", "activation_bits": 8}),
        ("W4A16", {"bits": 4}),
        ("W3A16", {"bits": 3, "group_size": 128}),
        ("W4A16_ASYM", {"bits": 4, "symmetric": False}),
    ):
        made = make_step({"method": "llmc_rtn", **values})
        assert isinstance(made, LlmCompressorStep)
        ((_, arguments),) = made.modifier_list()
        ours = presets.QuantizationScheme.model_validate(arguments["config_groups"]["group_0"])
        assert ours == presets.preset_name_to_scheme(name, ["Linear"]), name


@pytest.mark.parametrize(
    ("recipe", "label"),
    [
        ({"recipe": "llmc-w4a16"}, "llmc-w4a16"),
        ({"method": "llmc_rtn", "bits": 8, "granularity": "channel"}, "llmc_rtn-8(granularity=channel)"),
        ({"method": "smoothquant+llmc_rtn", "strength": 0.8, "bits": 4, "calibration": "demo"},
         "smoothquant-0.8+llmc_rtn-4(calibration=demo)"),
    ],
)  # fmt: skip
def test_labels(recipe: dict[str, Any], label: str) -> None:
    assert resolve(**recipe).label == label
