"""Models whose blocks share something: keys and values, or the weights themselves; against plain passes with hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.native.workbench import Workbench
from lm_eval_ext.models.recipe.build import make_step
from lm_eval_ext.models.recipe.resolve import resolve
from lm_eval_ext.models.targets.find import find_targets
from tests.helpers.compress import changed, snapshot
from tests.helpers.tiny import tiny_model

SIZES = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256, "sliding_window": 8,
    "tie_word_embeddings": True,
}  # fmt: skip
LAYERS = {"num_kv_shared_layers": 2, "layer_types": ["sliding_attention", "full_attention"] * 2}
FAMILIES: dict[str, dict[str, Any]] = {
    # The last two of four blocks use the keys and values of the first two.
    "gemma3n_text": SIZES | LAYERS | {
        "intermediate_size": [128] * 4, "activation_sparsity_pattern": [0.0] * 4, "laurel_rank": 8,
        "hidden_size_per_layer_input": 16, "vocab_size_per_layer_input": 300,
    },
    "gemma4_text": SIZES | LAYERS | {
        "global_head_dim": 16, "hidden_size_per_layer_input": 16, "vocab_size_per_layer_input": 300,
    },
    # Blocks 1, 3 and 5 hold one transformer block, each with small matrices of its own beside it.
    "zamba2": SIZES | {
        "num_hidden_layers": 6, "layers_block_type": ["mamba", "hybrid"] * 3, "num_mem_blocks": 1, "mamba_headdim": 16,
        "n_mamba_heads": 8, "mamba_ngroups": 1, "attention_hidden_size": 128, "attention_head_dim": 32,
        "mamba_d_state": 16, "chunk_size": 8, "use_shared_mlp_adapter": True, "adapter_rank": 8,
        "num_key_value_heads": 4,
    },
    # Blocks that answer with a list.
    "openai-gpt": {"vocab_size": 300, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256},
}  # fmt: skip


def build(family: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **FAMILIES[family]))
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.data.normal_(std=0.1)
    return model.eval()


def samples(lengths: Sequence[int] = (40, 23)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(4)
    return [torch.randint(3, 300, (1, length), generator=generator) for length in lengths]


def ours(model: Any, **keys: Any) -> Workbench:
    step = make_step({"method": "wanda", "sparsity": 0.5} | keys)
    targets, skips = find_targets(model, step)
    bench = Workbench(model, step, targets, skips, samples(), quiet=True)
    bench.rehearse()
    step.run(bench)
    bench.finish()
    return bench


def squares(model: Any, modules: Sequence[nn.Module]) -> dict[int, Tensor]:
    """Squared inputs summed over all tokens and all uses of a weight, by its address: [inputs], float64."""
    sums: dict[int, Tensor] = {}

    def collect(module: Any, args: tuple[Tensor, ...]) -> None:
        inputs = args[0].double()
        key = module.weight.data_ptr()
        sums[key] = sums.get(key, torch.zeros(1)) + inputs.reshape(-1, inputs.shape[-1]).square().sum(dim=0)

    handles = [module.register_forward_pre_hook(collect) for module in modules]
    with torch.no_grad():
        for ids in samples():
            model(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    return sums


def reference(model: Any, names: Sequence[str], blocks: Sequence[nn.Module]) -> None:
    """Wanda with nothing but whole passes: before each block's turn, every weight's inputs are summed anew.

    `blocks` are those that have a turn, one after the other; a shared weight has its turn with the first that holds it.
    """
    wanted = {model.get_parameter(name).data_ptr() for name in names}
    everything = [m for m in model.modules() if hasattr(m, "weight") and m.weight.data_ptr() in wanted]
    transposed = {id(m) for m in everything if type(m).__name__ == "Conv1D"}
    done: set[int] = set()
    for block in blocks:
        sums = squares(model, everything)
        for module in block.modules():
            if module not in everything or module.weight.data_ptr() in done:
                continue
            done.add(module.weight.data_ptr())
            weight = module.weight.data.t() if id(module) in transposed else module.weight.data
            order = (weight.double().abs() * sums[module.weight.data_ptr()].sqrt()).argsort(dim=1, stable=True)
            weight.scatter_(1, order[:, : weight.shape[1] // 2], 0.0)
    assert done == wanted


def same(one: Any, other: Any, names: Sequence[str]) -> None:
    for name in names:
        assert torch.equal(one.get_parameter(name), other.get_parameter(name)), name


@pytest.mark.parametrize("sequential", [True, False], ids=["sequential", "dense"])
@pytest.mark.parametrize("family", FAMILIES)
def test_against_whole_passes(family: str, sequential: bool, caplog: pytest.LogCaptureFixture) -> None:
    model, other = build(family), build(family)
    bench = ours(model, sequential=sequential)
    names = [target.info.name for target in bench.targets]
    inner = other.base_model
    blocks = list(inner.h if family == "openai-gpt" else inner.layers)
    reference(other, names, blocks if sequential else [other])
    same(model, other, names)
    # Only where keys and values are shared does every pass start at the embedding.
    assert ("share more than hidden states" in caplog.text) == (sequential and family.startswith("gemma"))


def test_a_shared_matrix_hears_all_its_uses() -> None:
    model = build("zamba2")
    bench = ours(model)
    records = {record["name"]: record for record in bench.records}
    shared = records["model.layers.1.shared_transformer.self_attn.q_proj.weight"]
    assert [alias.split(".")[2] for alias in shared["aliases"]] == ["3", "5"]
    # 63 tokens pass each of the three blocks.
    assert shared["tokens"] == 3 * 63
    # The small matrix that block 3 alone uses lies in block 1's module, and in block 5's.
    adapter = records["model.layers.1.shared_transformer.feed_forward.gate_up_proj_adapter_list.1.0.weight"]
    assert adapter["tokens"] == 63
    assert records["model.layers.1.linear.weight"]["tokens"] == 63


@pytest.mark.parametrize("sequential", [True, False])
def test_what_goes_into_the_output_layer(sequential: bool) -> None:
    # A decoder of the BERT kind has a dense layer and a norm between its blocks and its output layer.
    from transformers import BertConfig, BertLMHeadModel

    def bert() -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            config = BertConfig(
                vocab_size=300, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                is_decoder=True, tie_word_embeddings=False,
            )  # fmt: skip
            return BertLMHeadModel(config).eval()

    model, other = bert(), bert()
    bench = ours(model, lm_head=True, sequential=sequential)
    names = [target.info.name for target in bench.targets]
    assert "cls.predictions.decoder.weight" in names
    stack = other.bert.encoder.layer
    reference(other, names, [*stack, other.cls.predictions.decoder] if sequential else [other])
    same(model, other, names)


def bart() -> Any:
    from transformers import BartConfig, BartForCausalLM

    config = BartConfig(
        vocab_size=300, d_model=64, encoder_layers=2, decoder_layers=2, decoder_ffn_dim=128, decoder_attention_heads=4,
        max_position_embeddings=256,
    )  # fmt: skip
    return BartForCausalLM(config).eval()


def test_matrices_that_no_token_reaches_are_told_before_anything() -> None:
    # A decoder that comes from an encoder-decoder model never runs its cross attention on plain text.
    model = bart()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError) as error:
        ours(model)
    message = str(error.value)
    assert "encoder_attn.k_proj.weight and 7 more matrices" in message
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    # The way out works, and leaves the self attention in.
    exclude = message.split("exclude=")[1]
    names = [target.info.name for target in ours(model, exclude=exclude).targets]
    assert len(names) == 2 * 6
    assert not any("encoder_attn" in name for name in names)


def test_the_way_out_leaves_adapters_alone() -> None:
    # Under an adapter the layer itself is called base_layer, a name that no pattern fits.
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(bart(), LoraConfig(r=4, target_modules=["k_proj"], init_lora_weights=False)).eval()
    with pytest.raises(UserError) as error:
        ours(model)
    exclude = str(error.value).split("exclude=")[1]
    assert "base_layer" not in exclude
    bench = ours(model, exclude=exclude)
    names = [target.info.name for target in bench.targets]
    assert len(names) == 2 * 6
    assert "model.decoder.layers.0.self_attn.k_proj.base_layer.weight" in names
    adapters = {skip.name for skip in bench.skips if skip.reason == "adapter" and "self_attn" in skip.name}
    assert len(adapters) == 2 * 2


def test_the_way_out_fits_nothing_else() -> None:
    # What one block takes without its module, and the other block runs, is named in full.
    model = tiny_model("llama")
    mlp = model.model.layers[1].mlp

    def forward(hidden: Tensor) -> Tensor:
        inside = nn.functional.silu(mlp.gate_proj(hidden)) * mlp.up_proj(hidden)
        return nn.functional.linear(inside, mlp.down_proj.weight)

    mlp.forward = forward
    with pytest.raises(
        UserError, match=r"reached model.layers.1.mlp.down_proj.weight: the model does not run it"
    ) as one:
        ours(model)
    assert str(one.value).endswith("leave out with exclude=model.layers.1.mlp.down_proj")
    assert len(ours(model, exclude="model.layers.1.mlp.down_proj").targets) == 13


@pytest.mark.parametrize("sequential", [True, False])
def test_overflow_on_calibration_text_is_told_before_anything(sequential: bool, tokenizer: Any, text_file: Any) -> None:
    model = tiny_model("llama", dtype=torch.float16)

    def overflow(module: nn.Module, args: Any, output: Any) -> Any:
        # Only at the length of the samples: the canary prompt passes.
        hidden = output[0] if isinstance(output, tuple) else output
        return hidden * torch.inf if hidden.shape[1] == 24 else output

    model.model.layers[0].register_forward_hook(overflow)
    before = snapshot(model)
    recipe = resolve(
        method="random+wanda", sparsity=0.5, calibration=str(text_file), samples=2, seqlen=24, sequential=sequential
    )
    with pytest.raises(UserError, match=r"inputs of model.layers.1.* are not finite.*dtype=float32") as error:
        compress_(model, tokenizer, recipe)
    assert "\n" not in str(error.value)
    assert not changed(before, model)


def test_blocks_that_can_not_be_run_one_by_one_are_told_before_anything(tokenizer: Any, text_file: Any) -> None:
    model = tiny_model("llama", num_hidden_layers=3)
    before = snapshot(model)
    # The first block's module has another turn behind the second.
    model.model.layers[2] = model.model.layers[0]
    recipe = resolve(method="random+wanda", sparsity=0.5, calibration=str(text_file), samples=2, seqlen=24)
    with pytest.raises(UserError, match=r"uses one module as several blocks.*sequential=False"):
        compress_(model, tokenizer, recipe)
    model.model.layers[2] = tiny_model("llama", num_hidden_layers=3).model.layers[2]
    assert not changed(before, model)
