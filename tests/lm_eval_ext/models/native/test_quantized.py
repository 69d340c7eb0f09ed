"""Models that are quantized already: measured as they are, never compressed again, refused in one line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.hashes import weights_hash
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.recipe.resolve import DENSE
from lm_eval_ext.models.targets.find import find_targets
from tests.helpers.tiny import tiny_model, tiny_tokenizer, write_tiny

STEP = make_step({"method": "magnitude", "sparsity": 0.5})
ORIGINAL = "the model is quantized already; give the original checkpoint"


class Packed(nn.Linear):
    """A linear map that keeps its weight packed, as compressed-tensors and bitsandbytes do."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__(plain.in_features, plain.out_features, bias=False)
        self.dense = [plain.weight.detach()]
        del self.weight
        self.weight_packed = nn.Parameter(torch.zeros(8, 8, dtype=torch.int32), requires_grad=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(hidden, self.dense[0])


class Words(nn.Module):
    """No nn.Linear at all, as GPTQ's and AWQ's are: packed words in buffers."""

    def __init__(self, plain: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.dense = [plain.weight.detach()]
        self.register_buffer("qweight", torch.zeros(8, 8).to(dtype))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(hidden, self.dense[0])


def refusal(model: nn.Module) -> str:
    with pytest.raises(UserError) as caught:
        find_targets(model, STEP)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_linear_map_without_a_weight() -> None:
    model = tiny_model("llama")
    model.model.layers[1].mlp.up_proj = Packed(model.model.layers[1].mlp.up_proj)
    assert refusal(model) == (
        f"model.layers.1.mlp.up_proj (Packed) holds weight_packed and no plain weight: {ORIGINAL}"
    )
    # As it is it can be measured: the hash and the canary need no weight of that name.
    evidence = compress_(model, tiny_tokenizer(), DENSE)
    assert evidence.weights_hash_before is None
    assert evidence.canary["finite"]
    # Nobody measured what was done to it: it is no dense baseline.
    assert (evidence.label, evidence.method, evidence.status) == ("unverified", "unverified", "unverified")
    assert evidence.doubts == ["model.layers.1.mlp.up_proj (Packed) holds weight_packed and no plain weight"]


def test_a_plain_model_is_dense() -> None:
    evidence = compress_(tiny_model("llama"), tiny_tokenizer(), DENSE)
    assert (evidence.label, evidence.method, evidence.status) == ("dense", "none", "dense")


@pytest.mark.parametrize("dtype", [torch.int32, torch.int8, torch.uint8, torch.int16, torch.float8_e4m3fn])
@pytest.mark.parametrize("config", [{"quant_method": "gptq"}, SimpleNamespace(quant_method="gptq"), SimpleNamespace()])
def test_words_in_buffers_of_a_marked_model(dtype: torch.dtype, config: Any) -> None:
    model = tiny_model("llama")
    model.model.layers[0].self_attn.q_proj = Words(model.model.layers[0].self_attn.q_proj, dtype)
    model.config.quantization_config = config
    kind = "quantized" if config == SimpleNamespace() else "gptq"
    assert refusal(model) == f"model.layers.0.self_attn.q_proj.qweight holds {dtype} ({kind}): {ORIGINAL}"


def test_a_mark_alone_is_no_fault() -> None:
    # A model read from GGUF, or dequantized on load, keeps the mark and has plain weights.
    model = tiny_model("llama")
    model.config.quantization_config = {"quant_method": "gguf"}
    model.model.layers[0].register_buffer("order", torch.arange(64, dtype=torch.int32))
    assert len(find_targets(model, STEP)[0]) == 14


def test_weights_that_are_quantized_at_each_use() -> None:
    model = tiny_model("llama")
    model.model.layers[0].mlp.down_proj.quantization_scheme = object()
    assert refusal(model).startswith(
        "model.layers.0.mlp.down_proj quantizes its weight at each use (quantization_scheme)"
    )


def test_weights_that_are_computed() -> None:
    model = tiny_model("llama")
    nn.utils.parametrizations.weight_norm(model.model.layers[0].mlp.down_proj)
    assert refusal(model) == (
        "model.layers.0.mlp.down_proj.weight is computed from other tensors (a parametrization); remove it first"
    )


def test_an_output_layer_without_a_weight() -> None:
    model = tiny_model("llama")
    model.lm_head = Packed(model.lm_head)
    with pytest.raises(UserError, match=r"the lm_head \(Packed\) holds no plain weight to compress; leave it out"):
        find_targets(model, make_step({"method": "magnitude", "sparsity": 0.5, "lm_head": True}))
    assert len(find_targets(model, STEP)[0]) == 14


def test_the_hash_of_a_tensor_that_is_made_of_others() -> None:
    # torchao's weights are such: their own values can't be viewed as bytes, those of their parts can.
    from torch.testing._internal.two_tensor import TwoTensor

    def hashed(change: float) -> str:
        model = nn.Linear(4, 4, bias=False)
        parts = torch.arange(16.0).view(4, 4), torch.ones(4, 4)
        parts[1][2, 3] += change
        model.weight = nn.Parameter(TwoTensor(*parts), requires_grad=False)
        return weights_hash(model)

    assert hashed(0.0) == hashed(0.0)
    assert hashed(0.0) != hashed(1e-6)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A W4A16 checkpoint as llm-compressor writes it: weights of 4 bits, packed, in groups of 128."""
    pytest.importorskip("llmcompressor", reason="llm-compressor is an extra")
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("packed")
    source = write_tiny("llama", folder / "source", hidden_size=128, intermediate_size=256)
    model = AutoModelForCausalLM.from_pretrained(source)
    model = oneshot(model=model, recipe=QuantizationModifier(targets="Linear", scheme="W4A16", ignore=["lm_head"]))
    model.save_pretrained(folder / "w4a16", save_compressed=True)
    tiny_tokenizer().save_pretrained(folder / "w4a16")
    return folder / "w4a16"


def test_a_packed_checkpoint(packed: Path) -> None:
    from transformers import AutoModelForCausalLM

    from lm_eval_ext.models.compressed_hf import CompressedHFLM

    with pytest.raises(UserError, match=rf"q_proj .* \(compressed-tensors\): {ORIGINAL}$") as caught:
        CompressedHFLM(pretrained=str(packed), device="cpu", recipe="magnitude-50")
    assert "\n" not in str(caught.value)
    dense = CompressedHFLM(pretrained=str(packed), device="cpu", recipe="dense")
    assert (dense._evidence.label, dense._evidence.status) == ("compressed_tensors-4(group_size=128)", "measured")
    tokens = dense.tok_encode(" ferry")
    scored = dense._loglikelihood_tokens([(("", ""), [5, 6, 7], tokens)])[0][0]
    model = AutoModelForCausalLM.from_pretrained(packed).eval()
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[5, 6, 7, *tokens]])).logits[0].float().log_softmax(-1)
    by_hand = sum(float(logits[2 + place, token]) for place, token in enumerate(tokens))
    assert scored == pytest.approx(by_hand, abs=1e-5)
