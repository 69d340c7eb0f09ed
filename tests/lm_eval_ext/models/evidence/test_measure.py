"""Evidence of a model that came compressed: numbers by hand, and what can't be seen is said."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.canary import canary_logits
from lm_eval_ext.models.evidence.claim import Claim
from lm_eval_ext.models.evidence.hashes import weights_hash
from lm_eval_ext.models.evidence.measure import measure
from lm_eval_ext.models.evidence.record import Evidence
from lm_eval_ext.models.parts.loaded import Loaded
from lm_eval_ext.models.recipe.recipe import Recipe
from lm_eval_ext.models.recipe.step import LibraryStep
from tests.helpers.tiny import tiny_model

DOWN = "model.layers.0.mlp.down_proj.weight"


class Prune(LibraryStep):
    kind: ClassVar[Literal["prune", "quantize"]] = "prune"
    backend: ClassVar[str] = "there"
    method: str = "prune"
    sparsity: float

    @property
    def asked_sparsity(self) -> float:
        return self.sparsity


class Two(LibraryStep):
    """Two values a row."""

    kind: ClassVar[Literal["prune", "quantize"]] = "quantize"
    backend: ClassVar[str] = "there"
    method: str = "two"

    @property
    def asked_bits(self) -> float:
        return 1.0

    def breaches(self, weight: torch.Tensor) -> tuple[int, int]:
        return sum(len(row.unique()) > 2 for row in weight), len(weight)


class Blur(LibraryStep):
    kind: ClassVar[Literal["prune", "quantize"]] = "quantize"
    backend: ClassVar[str] = "there"
    method: str = "blur"


def blocks(model: Any) -> dict[str, Any]:
    return {n: p for n, p in model.named_parameters() if ".layers." in n and p.ndim == 2}


def look(model: Any, tokenizer: Any, *steps: LibraryStep, claim: Claim | None = None) -> Evidence:
    loaded = Loaded(model=model, tokenizer=tokenizer, base={"pretrained": "x"})
    recipe = Recipe(name="mine", steps=steps)
    return measure(loaded, recipe, claim or Claim(), backend="there", pretrained="/cache/x")


def first_zeros(model: Any, share: float) -> Any:
    """The first of each row zero, the rest as it was."""
    for parameter in blocks(model).values():
        parameter.data[:, : int(parameter.shape[1] * share)] = 0
    return model


def test_zeros_by_hand(tokenizer: Any) -> None:
    model = first_zeros(tiny_model("llama"), 0.25)
    found = look(model, tokenizer, Prune(sparsity=0.25))
    # 2 blocks of q, k, v, o (64 x 64, 32 x 64 twice, 64 x 64) and gate, up, down (128 x 64 twice, 64 x 128).
    weights = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64)
    assert found.totals["parameters"] == weights
    assert sum(record["zeros"] for record in found.matrices) == weights // 4
    assert (found.label, found.status, found.sparsity, found.bits) == ("mine", "proved", 0.25, None)
    assert (found.weights_hash_before, found.weights_hash_after) == (None, weights_hash(model))
    assert found.canary["argmax"] == int(canary_logits(model, tokenizer).argmax())
    assert (found.base, found.loaded, found.backend) == ({"pretrained": "x"}, "/cache/x", "there")


@pytest.mark.parametrize(("asked", "there"), [(0.25, 0.2), (0.25, 0.3)])
def test_less_and_more_than_asked(asked: float, there: float, tokenizer: Any) -> None:
    model = first_zeros(tiny_model("llama"), there)
    with pytest.raises(UserError, match=rf"mine by there is not what was asked: .* zeros, asked {asked:.4%}$"):
        look(model, tokenizer, Prune(sparsity=asked))


def test_rows_rounded_down_are_no_fault(tokenizer: Any) -> None:
    # 0.33 of 64 is 21.12, of 128 42.24: 21 and 42 are there.
    found = look(first_zeros(tiny_model("llama"), 0.33), tokenizer, Prune(sparsity=0.33))
    assert found.sparsity == 0.33


def test_values_are_counted(tokenizer: Any) -> None:
    model = tiny_model("llama")
    for parameter in blocks(model).values():
        parameter.data = parameter.sign() * parameter.abs().mean(dim=1, keepdim=True)
    found = look(model, tokenizer, Two(), claim=Claim(bits=1.0))
    assert (found.status, found.bits, found.sparsity) == ("proved", 1.0, None)
    blocks(model)[DOWN].data[5, 7] = 0.123
    with pytest.raises(UserError, match=rf"1 of 64 groups of weights don't have the form of two-1 \({DOWN}\)$"):
        look(model, tokenizer, Two())


def test_weights_that_are_not_finite(tokenizer: Any) -> None:
    model = first_zeros(tiny_model("llama"), 0.25)
    blocks(model)[DOWN].data[0, 60] = float("nan")
    with pytest.raises(UserError, match=rf"{DOWN} has non-finite weights"):
        look(model, tokenizer, Prune(sparsity=0.25))


def test_a_backend_that_left_everything_alone(tokenizer: Any) -> None:
    model = tiny_model("llama")
    claim = Claim(skipped=dict.fromkeys(blocks(model), "no kernel"))
    with pytest.raises(UserError, match=r"prune left every matrix as it was \(there: no kernel\)"):
        look(model, tokenizer, Prune(sparsity=0.5), claim=claim)


def test_a_method_that_says_neither_zeros_nor_bits_is_unverified(tokenizer: Any) -> None:
    found = look(tiny_model("llama"), tokenizer, Blur(), claim=Claim(bits=None))
    assert (found.label, found.status) == ("mine(unverified)", "unverified")
    assert found.doubts == ["blur says neither a share of zeros nor bits, so there is nothing to measure"]


def test_packed_weights_are_unverified_whatever_is_claimed(tokenizer: Any) -> None:
    model = tiny_model("llama")
    linear = model.model.layers[1].mlp.up_proj
    plain = linear.weight.detach()
    linear.weight = nn.Parameter(torch.zeros(8, dtype=torch.int32), requires_grad=False)
    linear.forward = lambda hidden: nn.functional.linear(hidden, plain)
    found = look(model, tokenizer, Two(), claim=Claim(bits=1.0))
    assert (found.label, found.status, found.bits) == ("mine(unverified)", "unverified", None)
    assert found.doubts == ["model.layers.1.mlp.up_proj.weight holds torch.int32"]
    assert found.claim == {"sparsity": None, "bits": 1.0, "skipped": {}, "facts": {}}
