"""Block by block equals the model's own pass, in every family, and leaves no trace in the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.native.blocks import BlockRunner
from tests.helpers.compress import STRUCTURE
from tests.helpers.tiny import FAMILIES, tiny_model

# Beyond the sliding windows of Gemma-2 (8) and Mistral (16), and of unequal lengths.
LENGTHS = (40, 23, 2)


def samples() -> list[Tensor]:
    generator = torch.Generator().manual_seed(4)
    return [torch.randint(3, 300, (1, length), generator=generator) for length in LENGTHS]


def hidden(output: Any) -> Tensor:
    return (output[0] if isinstance(output, tuple) else output).detach()


@contextmanager
def outputs_of(block: nn.Module) -> Iterator[list[Tensor]]:
    """What a block gives while the body runs."""
    seen: list[Tensor] = []
    handle = block.register_forward_hook(lambda module, args, output: seen.append(hidden(output)))
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_block_by_block_is_the_whole_pass(family: str) -> None:
    model = tiny_model(family)
    ids = samples()
    logits = [model(input_ids=sample).logits for sample in ids]
    runner = BlockRunner(model, ids)
    runner.check()
    assert len(runner.blocks) == STRUCTURE[family][1]
    for block in runner.blocks:
        with outputs_of(block) as wanted:
            for sample in ids:
                model(input_ids=sample, use_cache=False)
        for keep in (False, True):
            with outputs_of(block) as seen:
                runner.run_block(keep=keep)
            assert len(seen) == len(wanted) == len(ids)
            for one, other in zip(seen, wanted, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert all(torch.equal(model(input_ids=sample).logits, before) for sample, before in zip(ids, logits, strict=True))
    assert not any("forward" in vars(block) for block in runner.blocks)
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in runner.blocks)


@pytest.mark.parametrize("family", ["gemma2", "mistral"])
@torch.no_grad()
def test_sliding_windows_matter_at_this_length(family: str) -> None:
    # Otherwise the test above would not see a block that was given the wrong mask.
    wide = tiny_model(family)
    narrow = tiny_model(family, sliding_window=4)
    ids = samples()[0]
    assert not torch.allclose(wide(input_ids=ids).logits, narrow(input_ids=ids).logits, atol=1e-3)


@torch.no_grad()
def test_a_change_of_an_earlier_block_reaches_the_next() -> None:
    model = tiny_model("llama")
    ids = samples()
    runner = BlockRunner(model, ids)
    runner.run_block(keep=False)
    model.model.layers[0].mlp.down_proj.weight.zero_()
    runner.run_block(keep=True)
    with outputs_of(runner.blocks[1]) as seen:
        runner.run_block(keep=True)
    with outputs_of(runner.blocks[1]) as wanted:
        for sample in ids:
            model(input_ids=sample)
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(seen, wanted, strict=True))


@torch.no_grad()
def test_blocks_that_are_done_do_not_run_again() -> None:
    model = tiny_model("gemma2")
    ids = samples()
    runner = BlockRunner(model, ids)
    runs: list[int] = []
    for index, block in enumerate(runner.blocks):
        block.mlp.register_forward_hook(lambda module, args, output, i=index: runs.append(i))
    for _ in runner.blocks:
        runner.run_block(keep=True)
    # Block after block, three samples each; the first sample's first two tokens once more, to see what a block answers.
    assert [runs.count(index) for index in range(4)] == [4, 4, 4, 4]


@torch.no_grad()
def test_adapters_take_part() -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    dense = tiny_model("llama")
    plain = dense(input_ids=samples()[0]).logits
    model = get_peft_model(dense, LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)).eval()
    assert not torch.allclose(model(input_ids=samples()[0]).logits, plain, atol=1e-3)
    BlockRunner(model, samples()).check()


def entangled() -> Any:
    """A Llama whose second block needs what the first one left behind."""
    model = tiny_model("llama")
    kept: dict[str, Tensor] = {}
    first, second = model.model.layers
    first.register_forward_hook(lambda module, args, output: kept.update(out=hidden(output)))
    second.register_forward_pre_hook(lambda module, args: (args[0] + kept["out"], *args[1:]))
    return model


@torch.no_grad()
def test_model_that_passes_more_than_hidden_states(caplog: pytest.LogCaptureFixture) -> None:
    model, ids = entangled(), samples()
    runner = BlockRunner(model, ids)
    runner.check()
    assert "the blocks of LlamaModel share more than hidden states" in caplog.text
    assert "sequential=False" in caplog.text
    runner.run_block(keep=True)
    # What is done to the first block reaches the second in both ways.
    model.model.layers[0].mlp.down_proj.weight.zero_()
    with outputs_of(runner.blocks[1]) as wanted:
        for sample in ids:
            model(input_ids=sample)
    with outputs_of(runner.blocks[1]) as seen:
        runner.run_block(keep=False)
    assert len(seen) == len(ids)
    assert all(torch.equal(one, other) for one, other in zip(seen, wanted, strict=True))


def test_plain_models_are_not_run_from_the_start(caplog: pytest.LogCaptureFixture) -> None:
    for family in FAMILIES:
        BlockRunner(tiny_model(family), samples()).check()
    assert not caplog.text


def test_blocks_in_another_order() -> None:
    model = tiny_model("gemma2")
    runner = BlockRunner(model, samples())
    first, *rest = model.model.layers
    model.model.layers = nn.ModuleList([*rest, first])
    with pytest.raises(UserError, match=r"Gemma2Model does not run its 4 blocks in order.*sequential=False"):
        runner.check()


@pytest.mark.parametrize(("dtype", "wider"), [(torch.float16, "dtype=bfloat16 or"), (torch.float32, "dtype=float32")])
def test_hidden_states_that_overflow(dtype: torch.dtype, wider: str) -> None:
    model = tiny_model("llama", dtype=dtype)
    # Two blocks that add 6e4 each: one more than float16 holds, and nothing beside it that overflows.
    for block in model.model.layers:
        scale = 6e4 if dtype == torch.float16 else 3e38
        block.register_forward_hook(lambda module, args, output, scale=scale: hidden(output) + scale)
    with pytest.raises(UserError, match=rf"hidden states of LlamaModel are not finite on calibration text.*{wider}"):
        BlockRunner(model, samples()).check()


@torch.no_grad()
def test_a_block_that_text_does_not_reach_is_passed_over() -> None:
    model, ids = tiny_model("gemma2"), samples()
    runner = BlockRunner(model, ids)
    blocks = list(model.model.layers)
    model.model.layers = nn.ModuleList([blocks[0], blocks[2], blocks[3]])
    runner.check()
    runner.run_block(keep=True)
    with outputs_of(blocks[1]) as none:
        for keep in (False, True):
            runner.run_block(keep=keep)
    assert not none
    for block in blocks[2:]:
        with outputs_of(block) as wanted:
            for sample in ids:
                model(input_ids=sample, use_cache=False)
        with outputs_of(block) as seen:
            runner.run_block(keep=True)
        for one, other in zip(seen, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_one_module_as_two_blocks() -> None:
    model = tiny_model("llama")
    model.model.layers[1] = model.model.layers[0]
    with pytest.raises(UserError, match=r"LlamaModel uses one module as several blocks.*sequential=False"):
        BlockRunner(model, samples()).check()


def test_model_that_leaves_a_block_out() -> None:
    model = tiny_model("llama")
    runner = BlockRunner(model, samples())
    model.model.layers = model.model.layers[:1]
    runner.run_block(keep=True)
    with pytest.raises(UserError, match=r"block 1 of LlamaModel was not run by the model; use sequential=False"):
        runner.run_block(keep=True)


def test_a_failure_on_the_way_leaves_the_model_whole() -> None:
    model = tiny_model("llama")
    ids = samples()
    before = model(input_ids=ids[0]).logits
    runner = BlockRunner(model, ids)
    runner.run_block(keep=True)

    def fail(module: nn.Module, args: Any) -> None:
        raise RuntimeError("out of memory")

    handle = runner.blocks[1].mlp.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        runner.run_block(keep=True)
    handle.remove()
    assert torch.equal(model(input_ids=ids[0]).logits, before)


@torch.no_grad()
def test_statistics_end_in_front_of_the_last_matrix() -> None:
    model, ids = tiny_model("llama"), samples()
    mlp = model.model.layers[1].mlp
    wanted: list[Tensor] = []
    handle = mlp.down_proj.register_forward_pre_hook(lambda module, args: wanted.append(args[0].clone()))
    for sample in ids:
        model(input_ids=sample, use_cache=False)
    handle.remove()
    seen: list[Tensor] = []
    # As the norms' hooks: registered before, so that they have the inputs that the pass ends in front of.
    handle = mlp.down_proj.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    runner = BlockRunner(model, ids)
    runner.run_block(keep=True)
    with outputs_of(mlp.down_proj) as ended:
        runner.run_block(keep=False, watched=[mlp.down_proj, mlp.gate_proj])
    handle.remove()
    assert len(ended) == 1  # the first sample alone shows what is called
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(seen[-len(ids) :], wanted, strict=True))
    assert not mlp.down_proj._forward_pre_hooks


@torch.no_grad()
def test_a_module_that_a_block_runs_twice_sees_all_its_inputs() -> None:
    model, ids = tiny_model("llama"), samples()
    mlp = model.model.layers[0].mlp
    model.model.layers[0].mlp.up_proj.register_forward_hook(lambda module, args, out: out + mlp.gate_proj(args[0]))
    runner = BlockRunner(model, ids)
    runner.check()
    with outputs_of(mlp.gate_proj) as seen:
        runner.run_block(keep=False, watched=[mlp.gate_proj, mlp.up_proj])
    assert len(seen) == 2 * len(ids)
