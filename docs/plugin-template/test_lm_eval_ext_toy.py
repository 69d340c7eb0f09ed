"""What a method's test shows, whatever the method: copy it, and change the numbers that were found by hand."""

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.recipe.resolve import resolve
from lm_eval_ext.models.targets.matrix import MatrixInfo

TOKENIZER = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"?": 0}, "?")), unk_token="?")


def tiny():
    """A random model of two blocks, 14 matrices."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=16, **sizes)).eval()


def test_values_by_hand():
    """Row means are 2 and 1."""
    weight = torch.tensor([[1.0, -2.0, 3.0], [0.5, 0.5, -2.0]])
    after = make_step({"method": "sign"}).apply(weight, MatrixInfo("w", 2, 3))
    assert after.tolist() == [[2.0, -2.0, 2.0], [1.0, 1.0, -1.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_same_kind_of_tensor_and_the_given_one_as_it_was(dtype):
    """A method gives back the same shape, dtype and device, and changes nothing itself."""
    weight = torch.randn(8, 16).to(dtype)
    before = weight.clone()
    after = make_step({"method": "sign"}).apply(weight, MatrixInfo("w", 8, 16))
    assert (after.shape, after.dtype, after.device) == (weight.shape, dtype, weight.device)
    assert torch.equal(weight, before)


def test_a_whole_model_with_evidence():
    """Every matrix of the blocks is compressed, nothing else, and the evidence says so."""
    model, dense = tiny(), dict(tiny().named_parameters())
    evidence = compress_(model, TOKENIZER, resolve(method="sign", exclude="*.o_proj"))
    assert (evidence.label, evidence.status, evidence.bits) == ("sign-1(exclude=*.o_proj)", "proved", 1.0)
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, dense[name])}
    assert changed == {record["name"] for record in evidence.matrices}
    assert len(changed) == 12
    assert all(len(row.unique()) <= 2 for row in model.model.layers[1].mlp.up_proj.weight)


def test_what_it_refuses():
    """A key that it has not, and a place behind pruning, whose zeros it would not keep."""
    with pytest.raises(UserError, match="unknown key of method sign 'bits'"):
        make_step({"method": "sign", "bits": 2})
    with pytest.raises(UserError, match="sign after random brings pruned weights back"):
        compress_(tiny(), TOKENIZER, resolve(method="random+sign", sparsity=0.5))
