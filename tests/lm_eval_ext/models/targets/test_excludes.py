"""Exclude patterns: what each removes, counted by hand, and the refusal of one that removes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.recipe.files import load_recipe, recipe_names
from lm_eval_ext.models.targets.find import find_targets
from tests.helpers.compress import expected
from tests.helpers.tiny import tiny_model


def left(model: nn.Module, *patterns: str, **keys: Any) -> set[str]:
    step = make_step({"method": "magnitude", "sparsity": 0.5, "exclude": list(patterns), **keys})
    targets, skips = find_targets(model, step)
    names = {target.info.name for target in targets}
    # Whatever is taken out is said to be, and nothing is both.
    assert not names & {skip.name for skip in skips}
    return names


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("*.o_proj", 12),
        ("*.self_attn", 14 - 8),
        ("*.mlp", 14 - 6),
        ("*.self_attn.*", 14 - 8),
        ("model.layers.0", 7),
        ("model.layers.[0]", 7),
        ("model.layers.1.mlp.up_proj", 13),
        ("model.layers.1.mlp.up_proj.weight", 13),
        ("*_proj", 0),
        ("model", 0),
    ],
)
def test_a_pattern_takes_out_what_is_below_what_it_fits(pattern: str, count: int) -> None:
    model = tiny_model("llama")
    if count == 0:
        with pytest.raises(UserError, match="matched no weight matrix"):
            left(model, pattern)
        return
    names = left(model, pattern)
    assert len(names) == count
    inner = pattern.replace("[0]", "0").removeprefix("*.").removesuffix(".*").removesuffix(".weight")
    assert not [name for name in names if f"{inner}." in name]


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        # 2 blocks of 4 attention matrices and 8 of experts; 4 experts, two tensors.
        ("*.experts", 24 - 16),
        ("*.mlp", 24 - 16),
        ("*.mlp.experts.gate_up_proj", 24 - 8),
        ("model.layers.0", 12),
        ("model.layers.1.mlp.experts.down_proj[2]", 23),
    ],
)
def test_experts_in_one_tensor(pattern: str, count: int) -> None:
    names = left(tiny_model("mixtral"), pattern)
    assert len(names) == count
    assert pattern not in names


def test_a_matrix_under_two_names_goes_by_either() -> None:
    model = tiny_model("llama")
    model.model.layers[1].mlp.up_proj.weight = model.model.layers[0].mlp.up_proj.weight
    for pattern in ("model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"):
        assert left(model, pattern) == set(expected("llama")) - {
            "model.layers.0.mlp.up_proj.weight",
            "model.layers.1.mlp.up_proj.weight",
        }


def test_both_ends() -> None:
    model = tiny_model("llama")
    assert len(left(model, "lm_head", lm_head=True, embeddings=True)) == 15
    assert len(left(model, "*.embed_tokens", lm_head=True, embeddings=True)) == 15
    # The tied weight is one matrix: either name takes it out.
    for pattern in ("lm_head", "*.wte"):
        assert len(left(tiny_model("gpt2"), pattern, lm_head=True, embeddings=True)) == 8


@pytest.mark.parametrize(
    ("family", "pattern", "message"),
    [
        (
            "llama",
            "*.o_porj",
            r"matches no module of LlamaForCausalLM\. Matrices of .*layers.0.self_attn.o_proj.weight \[64, 64\]",
        ),
        ("llama", "self_attn", r"no module of LlamaForCausalLM\. Did you mean '\*.self_attn'\? Matrices"),
        ("llama", "re:.*o_proj$", r"no module of LlamaForCausalLM\. Did you mean '\*.o_proj'\? Matrices"),
        ("llama", "lm_head", r"removes no target of LlamaForCausalLM: it matches lm_head, which is left alone anyway"),
        ("llama", "*.input_layernorm", r"it matches model.layers.0.input_layernorm, which is left alone anyway"),
        ("mixtral", "*.gate", r"it matches model.layers.0.mlp.gate, which is left alone anyway \(router\)"),
        (
            "opt",
            "model.layers.0",
            r"matches no module of OPTForCausalLM\. Matrices of .*model.decoder.layers.0.fc1.weight",
        ),
    ],
)
def test_a_pattern_that_removes_nothing_is_refused(family: str, pattern: str, message: str) -> None:
    model = tiny_model(family)
    with pytest.raises(UserError, match=message) as caught:
        left(model, "*.k_proj", pattern)
    assert str(caught.value).startswith(f"exclude={pattern!r} ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in recipe_names() if any(s.exclude for s in load_recipe(name).steps)])
def test_packaged_patterns_fit_real_models(name: str) -> None:
    # 7 matrices a block, of which o_proj and down_proj stay dense; Phi-3 has 4, Mixtral's experts lie in two tensors.
    for family, count in (("llama", 10), ("qwen2", 10), ("mistral", 10), ("gemma2", 20), ("phi3", 4), ("mixtral", 14)):
        step = load_recipe(name).steps[0]
        assert len(find_targets(tiny_model(family), step)[0]) == count


def test_thirty_blocks() -> None:
    # As many as SmolLM2-135M has, of 7 matrices each: 210.
    model = tiny_model("llama", num_hidden_layers=30)
    assert len(left(model)) == 210
    assert len(left(model, "*.self_attn")) == 30 * 3
    assert len(left(model, "*.mlp")) == 30 * 4
    assert len(left(model, "model.layers.0")) == 29 * 7
    # As a shell would: 1 and 10 to 19.
    assert len(left(model, "model.layers.1*")) == 19 * 7
    assert len(left(model, "*.o_proj", "*.down_proj")) == 30 * 5
