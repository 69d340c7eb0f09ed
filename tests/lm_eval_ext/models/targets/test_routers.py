"""Which matrices route: names read by hand from every mixture of experts, against what the look-through finds."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.recipe.recipe import Calibration, Recipe
from lm_eval_ext.models.targets.find import find_targets
from lm_eval_ext.models.targets.routers import Matrix, observe
from tests.helpers.moe import EQUAL, FAMILIES, moe_model
from tests.helpers.tiny import tiny_model

# An older transformers has fewer.
KNOWN = [family for family in FAMILIES if family in CONFIG_MAPPING_NAMES]
STEP = make_step({"method": "magnitude", "sparsity": 0.5})


def look(model: nn.Module) -> tuple[set[str], dict[str, set[str]]]:
    """Names of the targets and of the skips by reason, below a block."""
    targets, skips = find_targets(model, STEP)
    by_reason: dict[str, set[str]] = {}
    for skip in skips:
        by_reason.setdefault(skip.reason, set()).add(_below(skip.name))
    return {_below(target.info.name) for target in targets}, by_reason


def _below(name: str) -> str:
    return re.sub(r"\[\d+\]$", "", re.sub(r"^\w+\.\w+\.\d+\.", "", name))


@pytest.mark.parametrize("family", KNOWN)
def test_routers_of_every_family(family: str) -> None:
    targets, skips = look(moe_model(family))
    assert skips["router"] == set(FAMILIES[family][1])
    # Experts are compressed, and whatever else has a width of its own.
    assert any("expert" in name or name.startswith("mlp.input_linear") for name in targets)
    assert any("attn" in name or "attention" in name or "mamba" in name or "mixer" in name for name in targets)


@pytest.mark.parametrize("family", KNOWN)
def test_widths_say_nothing(family: str) -> None:
    # As many experts as channels: an output projection, an expert's and a shared expert's matrices have one output an
    # expert. The same names route, and the same are compressed, as where no two widths are equal.
    changes: dict[str, Any] = dict(EQUAL)
    if family == "dbrx":
        changes["ffn_config"] = {"ffn_hidden_size": 64, "moe_num_experts": 64}
    equal, plain = moe_model(family, **changes), moe_model(family)
    found, skipped = look(equal)
    assert skipped["router"] == set(FAMILIES[family][1])
    assert found == look(plain)[0]
    # Zaya's router has inner layers, and a few have an output more for a shared or an idle expert.
    rows = {p.shape[0] for name, p in equal.named_parameters() if _below(name) in skipped["router"]}
    assert rows & set(range(64, 67))


class Stack(nn.Module):
    """A decoder's beginning: an embedding, and what a test does with four matrices of 16 outputs."""

    def __init__(self, use: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(50, 16)
        self.layers = nn.ModuleDict({name: nn.Linear(16, 16) for name in "abcd"})
        self.use = use

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(self, input_ids: Tensor, use_cache: bool) -> tuple[Tensor]:
        hidden = self.embedding(input_ids)
        return (hidden + self.use(hidden, *self.layers.values()),)


def routes(use: Any) -> set[str]:
    stack = Stack(use)
    flow = observe(stack, dict(stack.named_parameters()), stack.get_input_embeddings())
    assert flow.failed == ""
    return {name.split(".")[1] for name in flow.routers}


def _top_one(h: Tensor, a: Any, b: Any, c: Any, d: Any) -> Tensor:
    weight, index = torch.topk(a(h).softmax(-1), 1)
    return b(h) * weight * (index == 3) + d(c(h))


def _several_layers(h: Tensor, a: Any, b: Any, c: Any, d: Any) -> Tensor:
    scores = c(b(a(h).relu()).tanh())
    return d(h) * (scores.argmax(-1, keepdim=True) == 1)


def _shared_beginning(h: Tensor, a: Any, b: Any, c: Any, d: Any) -> Tensor:
    start = a(h)
    return d(start) * (b(start).argmax(-1, keepdim=True) == 1) + c(h)


def _grouped_choice(h: Tensor, a: Any, b: Any, c: Any, d: Any) -> Tensor:
    scores = a(h).sigmoid()
    groups = scores.view(*scores.shape[:-1], 4, 4).topk(2, dim=-1).values.sum(dim=-1)
    mask = torch.zeros_like(groups).scatter(-1, groups.topk(2).indices, 1.0).repeat_interleave(4, dim=-1)
    chosen = scores.masked_fill(mask == 0, 0.0).topk(2).indices
    return d(h) * scores.gather(-1, chosen).sum(-1, keepdim=True) + b(h) + c(h)


def _maximum_alone(h: Tensor, a: Any, b: Any, c: Any, d: Any) -> Tensor:
    scores = a(h)
    return (scores - scores.max(dim=-1, keepdim=True).values).exp() * b(h) + d(c(h))


def _sparse_neurons(h: Tensor, a: Any, b: Any, c: Any, d: Any) -> Tensor:
    inner = a(h)
    return d(inner * (inner >= inner.topk(4).values[..., -1:]) * b(h)) + c(h)


def _index_of_tokens(h: Tensor, a: Any, b: Any, c: Any, d: Any) -> Tensor:
    # Sparse attention: heads' scores, weighed and summed, choose tokens.
    scores = ((a(h) @ b(h).transpose(-1, -2)).unsqueeze(-1) * c(h).unsqueeze(-2)).sum(-1)
    seen = torch.zeros_like(scores).scatter(-1, scores.topk(2).indices, 1.0)
    return seen @ d(h)


def _looked_up(h: Tensor, a: Any, b: Any, c: Any, d: Any) -> Tensor:
    index = torch.arange(h.shape[1]).view(1, -1, 1) % 16
    return b(h) * a(h).sigmoid().gather(-1, index) + d(c(h))


def _tokens_looked_up(h: Tensor, a: Any, b: Any, c: Any, d: Any) -> Tensor:
    order = torch.arange(h.shape[1]).flip(0).view(1, -1, 1).expand_as(h)
    return a(h).gather(1, order) + d(c(b(h)))


def _gate(h: Tensor, a: Any, b: Any, c: Any, d: Any) -> Tensor:
    return a(h).sigmoid() * b(h) + d(c(h))


def _cast(h: Tensor, a: Any, b: Any, c: Any, d: Any) -> Tensor:
    scores = h.double() @ a.weight.double().T
    return b(h) * (scores.sort(descending=True).indices[..., :1] == 2) + d(c(h))


@pytest.mark.parametrize(
    ("use", "routers"),
    [
        (_top_one, "a"),
        (_several_layers, "abc"),
        (_shared_beginning, "b"),
        (_grouped_choice, "a"),
        (_maximum_alone, ""),
        (_sparse_neurons, ""),
        (_index_of_tokens, ""),
        (_looked_up, "a"),
        (_tokens_looked_up, ""),
        (_gate, ""),
        (_cast, "a"),
    ],
)
def test_what_is_chosen_by_an_output_makes_a_router(use: Any, routers: str) -> None:
    assert routes(use) == set(routers)


def test_how_a_matrix_is_multiplied() -> None:
    def use(h: Tensor, a: Any, b: Any, c: Any, d: Any) -> Tensor:
        return a(h) + h @ b.weight + c(h) * (h @ c.weight) + nn.functional.linear(h[..., :8], d.weight[:8, :8]).sum()

    stack = Stack(use)
    seen = observe(stack, dict(stack.named_parameters()), stack.get_input_embeddings()).matrices
    # As [outputs, inputs]: the second is stored the other way round, the third is used both ways, of the last a part.
    assert seen["layers.a.weight"] == Matrix((16, 16), (16, 1), 256)
    assert seen["layers.b.weight"] == Matrix((16, 16), (1, 16), 256)
    assert seen["layers.c.weight"] is None
    assert seen["layers.d.weight"] == Matrix((8, 8), (16, 1), 64)


def test_a_model_that_can_not_be_run_says_why() -> None:
    def use(*args: Any) -> Tensor:
        raise RuntimeError("no kernel for this\nand more")

    stack = Stack(use)
    assert (
        observe(stack, dict(stack.named_parameters()), stack.get_input_embeddings()).failed
        == "RuntimeError: no kernel for this"
    )


def test_what_may_be_a_router_is_refused_where_the_model_can_not_be_run() -> None:
    model = tiny_model("llama")
    for block in model.model.layers:
        block.mlp = nn.ModuleDict(
            {
                "wg": nn.Linear(64, 4),
                "up": nn.Linear(64, 96),
                "experts": nn.ModuleList(nn.Linear(64, 64) for _ in range(4)),
            }
        )
    # Four outputs are coefficients whatever they are for; eight may be a choice among four, or features.
    assert not [t for t in find_targets(model, STEP)[0] if "wg" in t.info.name]
    for block in model.model.layers:
        block.mlp["wg"] = nn.Linear(64, 8)
    message = r"layers.0.mlp.wg.weight \[8, 64\] may route to .*can't be run.*exclude=model.layers.\*.mlp.wg$"
    with pytest.raises(UserError, match=message) as caught:
        find_targets(model, STEP)
    assert "\n" not in str(caught.value)
    # The way out that it names is one: attention, up and the experts stay.
    way_out = make_step({"method": "magnitude", "sparsity": 0.5, "exclude": ["model.layers.*.mlp.wg"]})
    assert len(find_targets(model, way_out)[0]) == 2 * (4 + 1 + 4)


def test_lists_of_other_modules_are_no_experts() -> None:
    # LongCat's blocks have two attention layers and two MLPs in lists, and 8 experts in a tensor (two more do nothing).
    targets, _ = find_targets(moe_model("longcat_flash"), STEP)
    routed = {_below(target.info.name) for target in targets if target.routed}
    assert routed == {"mlp.experts.gate_up_proj", "mlp.experts.down_proj"}
    assert {_below(t.info.name).split(".")[0] for t in targets if not t.routed} == {"self_attn", "mlps"}


class Halves(nn.Module):
    """A dense block's matrix that is used in two parts: no experts, since nothing chooses."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Parameter(torch.randn(128, 64) / 8)

    def forward(self, hidden: Tensor) -> Tensor:
        first, second = (nn.functional.linear(hidden, part) for part in self.both.view(2, 64, 64))
        return first * second.sigmoid()


def test_parts_of_a_matrix_are_no_experts_without_a_choice() -> None:
    model = tiny_model("llama")
    model.model.layers[0].mlp = Halves()
    targets, skips = find_targets(model, STEP)
    assert len(targets) == 14 - 3
    assert [(skip.name, skip.reason) for skip in skips] == [
        ("model.layers.0.mlp.both", "not a linear map (Halves)"),
    ]


def test_stacked_experts_are_compressed_one_by_one(tokenizer: Any) -> None:
    # DBRX keeps the experts of a block below each other: w1 and v1 as [outputs, inputs], w2 as [inputs, outputs].
    # Half of each expert's smallest entries go, none of the router's.
    model = moe_model("dbrx")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recipe = Recipe(name="half", steps=(STEP,))
    evidence = compress_(model, tokenizer, recipe)
    assert len(evidence.matrices) == 2 * (2 + 3 * 8)
    for name, value in model.state_dict().items():
        if "experts.mlp" in name:
            for expert in range(8):
                old, new = before[name][48 * expert :][:48], value[48 * expert :][:48]
                assert int((new == 0).sum()) == 48 * 64 // 2
                assert float(old[new == 0].abs().max()) <= float(old[new != 0].abs().min())
        elif "Wqkv" not in name and "out_proj" not in name:
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_wanda_sees_the_inputs_of_stacked_experts(tokenizer: Any, text_file: Any) -> None:
    # w2 is stored [inputs, outputs]: of each output's 48 entries 24 go, those with the smallest product of weight and
    # input norm; inputs computed here by hand from the dense model.
    model = moe_model("dbrx")
    first = model.transformer.blocks[0].ffn
    weights = {name: getattr(first.experts.mlp, name).detach().clone() for name in ("w1", "v1", "w2")}
    calibration = Calibration(source=str(text_file), samples=3, seqlen=24)
    recipe = Recipe(
        name="wanda",
        steps=(make_step({"method": "wanda", "sparsity": 0.5, "sequential": False}),),
        calibration=calibration,
    )
    entering: list[Tensor] = []
    keep = first.register_forward_pre_hook(lambda module, args: entering.append(args[0].detach().clone()))
    evidence = compress_(model, tokenizer, recipe)
    keep.remove()
    assert {record["achieved_sparsity"] for record in evidence.matrices} == {0.5}
    # The first sample runs once more beforehand, to see that every matrix is reached.
    hidden = torch.cat([inputs[0] for inputs in entering if inputs.shape[1] == 24][-3:])
    assert hidden.shape == (72, 64)
    chosen = first.router.layer(hidden).softmax(-1).topk(2).indices
    for expert in range(8):
        rows = hidden[(chosen == expert).any(-1)]
        w1, v1, w2 = (weights[name][48 * expert :][:48] for name in ("w1", "v1", "w2"))
        inner = torch.nn.functional.silu(rows @ w1.T) * (rows @ v1.T)
        for name, stored, inputs in (("w1", w1, rows), ("w2", w2.T, inner)):
            scores = stored.abs() * inputs.norm(dim=0)
            now = getattr(first.experts.mlp, name)[48 * expert :][:48]
            now = now.T if name == "w2" else now
            kept = scores.topk(stored.shape[1] // 2, dim=1).indices.sort(dim=1).values
            assert torch.equal(kept, (now != 0).nonzero()[:, 1].reshape(stored.shape[0], -1)), (name, expert)


def test_a_stack_that_does_not_know_its_embedding() -> None:
    # BART's decoder wrapper raises where it is asked for it; the model itself knows.
    from tools.families.build import tiny

    model = tiny("bart")
    with pytest.raises(NotImplementedError):
        model.model.get_input_embeddings()
    targets, _ = find_targets(model, make_step({"method": "magnitude", "sparsity": 0.5}))
    # In each of two blocks four maps of attention, four of cross attention, two of the MLP.
    assert len(targets) == 20
