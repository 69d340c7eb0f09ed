"""Experts that are all multiplied in one batched product: statistics of each from the tokens that it gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.recipe.recipe import Calibration, Recipe
from tools.families.build import tiny


def pruned(model: nn.Module, tokenizer: Any, text_file: Path) -> Any:
    step = make_step({"method": "wanda", "sparsity": 0.5, "sequential": False})
    calibration = Calibration(source=str(text_file), samples=3, seqlen=24)
    return compress_(model, tokenizer, Recipe(name="wanda", steps=(step,), calibration=calibration))


def test_llama4_by_hand(tokenizer: Any, text_file: Path) -> None:
    # Stored [experts, inputs, outputs]; a token that an expert does not get is a row of zeros in its batch.
    model = tiny("llama4_text", num_experts_per_tok=1)
    experts = model.model.layers[0].feed_forward.experts
    dense = {name: getattr(experts, name).detach().clone() for name in ("gate_up_proj", "down_proj")}
    entering: list[Tensor] = []
    keep = experts.register_forward_pre_hook(lambda module, args: entering.append(args[0].detach().clone()))
    evidence = pruned(model, tokenizer, text_file)
    keep.remove()
    # Three samples of 24 tokens, as often as there are experts; what ran before and after are other lengths, or first.
    passes = [inputs.view(4, -1, 64) for inputs in entering if len(inputs) == 4 * 24][-3:]
    tokens = torch.cat(passes, dim=1)
    received = (tokens != 0).any(-1).sum(-1)
    assert int(received.sum()) == 3 * 24  # one expert a token
    gate, up = torch.bmm(tokens, dense["gate_up_proj"]).chunk(2, dim=-1)
    inner = up * nn.functional.silu(gate)
    for name, inputs in (("gate_up_proj", tokens), ("down_proj", inner)):
        for expert in range(4):
            weight = dense[name][expert].t()
            scores = weight.abs() * inputs[expert].square().sum(0).sqrt()
            if not received[expert]:
                scores = weight.abs()
            gone = scores.argsort(dim=1, stable=True)[:, : weight.shape[1] // 2]
            expected = weight.scatter(1, gone, 0.0)
            assert torch.equal(getattr(experts, name)[expert].t() == 0, expected == 0), (name, expert)
    assert {record["achieved_sparsity"] for record in evidence.matrices} == {0.5}


def test_an_expert_without_tokens_is_ranked_by_magnitude_and_named(tokenizer: Any, text_file: Path) -> None:
    model = tiny("llama4_text", num_experts_per_tok=1)
    moe = model.model.layers[0].feed_forward
    # The last expert's score is always the least: nobody is sent there.
    moe.router.register_forward_hook(lambda module, args, out: _without_last(out))
    dense = moe.experts.down_proj.detach().clone()
    evidence = pruned(model, tokenizer, text_file)
    name = "model.layers.0.feed_forward.experts.down_proj[3]"
    assert name in evidence.unseen_experts
    weight = dense[3].t()
    gone = weight.abs().argsort(dim=1, stable=True)[:, : weight.shape[1] // 2]
    assert torch.equal(moe.experts.down_proj[3].t() == 0, weight.scatter(1, gone, 0.0) == 0)


def _without_last(out: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    scores, logits = out
    scores = scores.clone()
    scores[:, 3] = 0
    return scores, logits
