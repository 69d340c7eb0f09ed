"""Input norms: by hand, in float32 whatever the model's dtype, and expert by expert against an explicit routing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.native.norms import InputNorms
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.targets.find import find_targets
from lm_eval_ext.models.targets.target import Target
from tests.helpers.tiny import tiny_model

STEP = make_step({"method": "wanda", "sparsity": 0.5})


def targets_of(model: nn.Module) -> dict[str, Target]:
    return {target.info.name: target for target in find_targets(model, STEP)[0]}


def samples(lengths: Sequence[int] = (40, 23, 31)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(4)
    return [torch.randint(3, 300, (1, length), generator=generator) for length in lengths]


def watched(
    model: Any, ids: Sequence[Tensor], targets: dict[str, Target] | None = None
) -> tuple[dict[str, Target], InputNorms]:
    targets, norms = targets or targets_of(model), InputNorms()
    with torch.no_grad(), norms.watch(list(targets.values())):
        for sample in ids:
            model(input_ids=sample)
    return targets, norms


def same_up_to_a_factor(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one.double() / one.double().norm(), other.double() / other.double().norm())


@pytest.fixture
def target() -> Target:
    return targets_of(tiny_model("llama"))["model.layers.0.mlp.up_proj.weight"]


def test_norm_by_hand(target: Target) -> None:
    # First call: columns (3, 4) and (1, 0): sums of squares 25 and 1. Second: 7 and 5: 49 and 25. The mean over the two
    # calls is 37 and 13. Three tokens in all.
    norms = InputNorms()
    norms.add(target, torch.tensor([[[3.0, 1.0], [4.0, 0.0]]]))
    norms.add(target, torch.tensor([[7.0, 5.0]]))
    norm = norms.norm(target)
    assert norm is not None
    torch.testing.assert_close(norm.square(), torch.tensor([37.0, 13.0]))
    assert norms.tokens(target) == 3


def test_calls_without_tokens_count_nothing(target: Target) -> None:
    norms = InputNorms()
    norms.add(target, torch.empty(0, 64))
    assert norms.tokens(target) == 0
    with pytest.raises(UserError, match=r"no calibration token reached model.layers.0.mlp.up_proj.weight"):
        norms.norm(target)


def test_bfloat16_is_summed_in_float32(target: Target) -> None:
    # 1,000 ones sum to 256 in bfloat16: from there on, adding one changes nothing.
    norms = InputNorms()
    norms.add(target, torch.ones(1000, 64, dtype=torch.bfloat16))
    norm = norms.norm(target)
    assert norm is not None
    assert norm.dtype == torch.float32
    torch.testing.assert_close(norm.square(), torch.full((64,), 1000.0))


def test_bfloat16_model_against_float64_sums() -> None:
    model = tiny_model("llama", dtype=torch.bfloat16)
    sums: dict[str, Tensor] = {}

    def collect(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            sums[name] = sums.get(name, torch.zeros(1)) + args[0][0].double().square().sum(dim=0)

        return hook

    # Before the hooks: looking for targets runs the model too.
    found = targets_of(model)
    for name, module in model.model.layers.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(collect(f"model.layers.{name}.weight"))
    targets, norms = watched(model, samples(), found)
    assert set(targets) == set(sums)
    for name, target in targets.items():
        norm = norms.norm(target)
        assert norm is not None
        assert norm.dtype == torch.float32
        # The mean over three samples: a third of the sum.
        torch.testing.assert_close(norm.double(), (sums[name] / 3).sqrt(), rtol=1e-5, atol=0)
        assert norms.tokens(target) == 94


def test_inputs_that_are_not_finite(target: Target) -> None:
    norms = InputNorms()
    norms.add(target, torch.tensor([[float("inf"), 1.0]]))
    with pytest.raises(UserError, match=r"inputs of model.layers.0.mlp.up_proj.weight are not finite.*dtype=float32"):
        norms.norm(target)


def explicit_routing(model: Any, ids: Sequence[Tensor]) -> dict[str, tuple[Tensor, int]]:
    """Sum of squared inputs and count of tokens of every expert, token by token, in float64."""
    entering: dict[int, list[Tensor]] = {}
    handles = [
        block.mlp.register_forward_pre_hook(lambda m, args, i=index: entering.setdefault(i, []).append(args[0][0]))
        for index, block in enumerate(model.model.layers)
    ]
    with torch.no_grad():
        for sample in ids:
            model(input_ids=sample)
    for handle in handles:
        handle.remove()
    found: dict[str, tuple[Tensor, int]] = {}
    for index, block in enumerate(model.model.layers):
        prefix = f"model.layers.{index}.mlp.experts"
        router, experts = block.mlp.gate.weight.double(), block.mlp.experts
        for token in torch.cat(entering[index]).double():
            for expert in (router @ token).topk(model.config.num_experts_per_tok).indices.tolist():
                gate, up = (experts.gate_up_proj[expert].double() @ token).chunk(2)
                inside = gate * torch.sigmoid(gate) * up
                for name, vector in (
                    (f"{prefix}.gate_up_proj[{expert}]", token),
                    (f"{prefix}.down_proj[{expert}]", inside),
                ):
                    square, count = found.get(name, (torch.zeros_like(vector), 0))
                    found[name] = square + vector.square(), count + 1
    return found


@pytest.mark.parametrize("implementation", ["eager", "grouped_mm", "batched_mm"])
def test_experts_against_an_explicit_routing(implementation: str) -> None:
    model = tiny_model("mixtral")
    model.config._experts_implementation = implementation
    # One sample only, so that every expert is called once and its mean over calls is the sum.
    targets, norms = watched(model, samples((40,)))
    wanted = explicit_routing(model, samples((40,)))
    experts = {name: target for name, target in targets.items() if ".experts." in name}
    assert len(experts) == 16
    # Every token goes to two experts of each block.
    assert sum(norms.tokens(target) for name, target in experts.items() if "gate_up" in name) == 2 * 40 * 2
    for name, target in experts.items():
        square, count = wanted.get(name, (torch.zeros(1), 0))
        assert norms.tokens(target) == count, name
        norm = norms.norm(target)
        if count:
            assert norm is not None
            torch.testing.assert_close(norm.double(), square.sqrt(), rtol=1e-5, atol=1e-6)
    assert model.config._experts_implementation == implementation


def test_experts_over_unequal_samples() -> None:
    model = tiny_model("mixtral")
    targets, norms = watched(model, samples())
    for name, (square, count) in explicit_routing(model, samples()).items():
        assert norms.tokens(targets[name]) == count
        norm = norms.norm(targets[name])
        assert norm is not None
        same_up_to_a_factor(norm, square.sqrt())


def lopsided() -> Any:
    """A Mixtral that sends every token to one expert, 0 or 1, and never to 2 or 3.

    Router rows v, -v, 0, 0: one of the first two logits is above zero.
    """
    model = tiny_model("mixtral", num_experts_per_tok=1)
    for block in model.model.layers:
        weight = block.mlp.gate.weight.data
        weight[1], weight[2:] = -weight[0], 0
    return model


def test_expert_that_no_token_reaches() -> None:
    targets, norms = watched(lopsided(), samples())
    for name, target in targets.items():
        if name.endswith(("[2]", "[3]")):
            assert norms.norm(target) is None
            assert norms.tokens(target) == 0
        else:
            assert norms.norm(target) is not None
    reached = [norms.tokens(targets[f"model.layers.0.mlp.experts.gate_up_proj[{expert}]"]) for expert in (0, 1)]
    assert sum(reached) == 94


class BlindExperts(nn.Module):
    """Fused experts all at once, through a product that says nothing of a single one."""

    is_transposed = False

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.up_proj = nn.Parameter(torch.randn(4, 128, 64) / 8)
        self.down_proj = nn.Parameter(torch.randn(4, 64, 128) / 8)

    def forward(self, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        inside = torch.einsum("td,efd->tef", hidden, self.up_proj).relu()
        return torch.einsum("tef,edf->td", inside, self.down_proj)


class AddedExperts(nn.Module):
    """Fused experts with a bias, stored [inputs, outputs], by the product that takes both."""

    is_transposed = True

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.up_proj = nn.Parameter(torch.randn(4, 64, 64) / 8)

    def forward(self, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros_like(hidden)
        for expert in range(4):
            tokens = (index == expert).any(dim=1)
            out[tokens] = torch.addmm(torch.ones(64), hidden[tokens], self.up_proj[expert])
        return out


def test_inputs_stand_before_the_weight_in_a_product() -> None:
    model = tiny_model("mixtral")
    model.model.layers[0].mlp.experts = AddedExperts(model.config)
    entering: list[Tensor] = []
    found = targets_of(model)
    model.model.layers[0].mlp.experts.register_forward_pre_hook(lambda m, args: entering.extend(args[:2]))
    targets, norms = watched(model, samples((40,)), found)
    hidden, index = entering
    for expert in range(4):
        target = targets[f"model.layers.0.mlp.experts.up_proj[{expert}]"]
        tokens = (index == expert).any(dim=1)
        norm = norms.norm(target)
        assert norm is not None
        assert norms.tokens(target) == int(tokens.sum())
        torch.testing.assert_close(norm.double(), hidden[tokens].double().square().sum(dim=0).sqrt(), rtol=1e-5, atol=0)


def test_experts_that_can_not_be_observed() -> None:
    model = tiny_model("mixtral")
    model.model.layers[1].mlp.experts = BlindExperts(model.config)
    with pytest.raises(
        UserError,
        match=r"inputs of model.layers.1.mlp.experts.\w+ can't be observed in BlindExperts.*exclude=\*.experts",
    ):
        watched(model, samples())


def test_nothing_is_left_behind() -> None:
    model = tiny_model("mixtral")
    before = model.config._experts_implementation
    targets = targets_of(model)

    def fail() -> None:
        with InputNorms().watch(list(targets.values())):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    watched(model, samples((5,)))
    assert model.config._experts_implementation == before
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_inputs_that_come_again_changed_in_place_are_taken_anew() -> None:
    one, other = list(targets_of(tiny_model("llama")).values())[:2]
    inputs = torch.ones(3, one.info.cols)
    norms = InputNorms()
    norms.add(one, inputs)
    inputs.mul_(2)
    norms.add(other, inputs)
    first, second = norms.norm(one), norms.norm(other)
    assert first is not None
    assert second is not None
    assert torch.equal(second, 2 * first)
