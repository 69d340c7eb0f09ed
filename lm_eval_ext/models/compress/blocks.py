"""Run calibration text through the model one decoder block at a time.

The model itself does the work (its embedding, masks, rotary tables and per-layer arguments): blocks that are done
are skipped, the next one is given the hidden states kept from before, and the run stops behind it. Nothing of an
architecture is copied, and hidden states wait on the CPU, so that a device holds the model and one sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.calling import Calling
from lm_eval_ext.models.compress.layers import base_model, decoder_blocks

__all__ = ["BlockRunner"]


class _Stop(Exception):  # noqa: N818  (no error: a pass that is over)
    """Ends a forward pass behind the block of interest."""


class BlockRunner:
    """Feeds samples, each a row of token ids, through the blocks in order."""

    def __init__(self, model: nn.Module | Calling, samples: Sequence[Tensor]) -> None:
        """Prepare, without running anything.

        Args:
            model: The transformers model, a PEFT wrapper of it, or how the run calls it.
            samples: Token ids, each [1, length] on any device; lengths may differ, nothing is padded.
        """
        self._call = Calling.of(model)
        self._stack = base_model(self._call.model)
        self.blocks = decoder_blocks(self._call.model)[1]
        self._samples = samples
        self._hidden: list[Tensor] = []
        self._next = 0

    def whole(self, ids: Tensor) -> Tensor:
        """One sample up to the output layer: that layer's input, [1, length and virtual tokens, width]."""
        caught: dict[str, Tensor] = {}

        def stop(module: nn.Module, args: Any) -> None:
            caught["out"] = args[0]
            raise _Stop

        # The whole model, for what stands before its stack (virtual tokens); its output layer is spared.
        handle = self._call.inner.get_output_embeddings().register_forward_pre_hook(stop)
        try:
            self._call(ids, use_cache=False)
        except _Stop:
            return caught["out"]
        finally:
            handle.remove()
        raise UserError(f"{type(self._stack).__name__}: the model does not run its output layer as a module")

    def run_block(self, *, keep: bool) -> None:
        """Run all samples through the next block.

        Args:
            keep: Keep the outputs and move on to the following block; False only runs (for statistics).
        """
        outputs = []
        for position, ids in enumerate(self._samples):
            given = self._hidden[position] if self._next else None
            out = self._through(self._next, ids, given)
            if keep:
                outputs.append(out.to("cpu"))
        if keep:
            self._hidden = outputs
            self._next += 1

    def check(self) -> None:
        """See on one sample, before anything is changed, that block by block equals the model's own pass.

        Raises:
            UserError: If it does not: the architecture passes more than hidden states between its blocks.
        """
        if len({id(block) for block in self.blocks}) < len(self.blocks):
            raise UserError(
                f"{type(self._stack).__name__} uses one module as several blocks, so they have no statistics of their "
                "own; use sequential=False"
            )
        ids = self._samples[0]
        seen: dict[str, Tensor] = {}
        last = self.blocks[-1].register_forward_hook(lambda m, a, out: seen.update(out=_hidden_of(out)))
        try:
            self.whole(ids)
        finally:
            last.remove()
        hidden: Tensor | None = None
        for index in range(len(self.blocks)):
            hidden = self._through(index, ids, hidden)
        assert hidden is not None
        expected = seen["out"].detach().float().cpu()
        scale = float(expected.abs().max())
        if not torch.allclose(hidden.float().cpu(), expected, rtol=1e-3, atol=1e-3 * max(scale, 1e-6)):
            raise UserError(
                f"{type(self._stack).__name__} passes more than hidden states between its blocks, so they can't be run "
                "one by one; use sequential=False"
            )

    def _through(self, index: int, ids: Tensor, given: Tensor | None) -> Tensor:
        """Output of one block for one sample, given the hidden states before it (None: from the embedding)."""
        caught: dict[str, Tensor] = {}

        def replace_input(module: nn.Module, args: Any, kwargs: Any) -> Any:
            if given is None:
                return None
            old = args[0] if args else kwargs["hidden_states"]
            new = given.to(old.device)
            return ((new, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": new})

        def stop(module: nn.Module, args: Any, output: Any) -> None:
            caught["out"] = _hidden_of(output)
            raise _Stop

        block = self.blocks[index]
        with ExitStack() as stack:
            stack.enter_context(_skipped(self.blocks[:index], self._returns_tuple))
            stack.callback(block.register_forward_pre_hook(replace_input, with_kwargs=True).remove)
            stack.callback(block.register_forward_hook(stop).remove)
            try:
                self._call(ids, use_cache=False)
            except _Stop:
                return caught["out"]
        raise UserError(f"block {index} of {type(self._stack).__name__} was not run by the model; use sequential=False")

    @property
    def _returns_tuple(self) -> bool:
        """Whether the blocks answer with a tuple; seen once, on the first block."""
        if not hasattr(self, "_tuple"):
            kind: dict[str, bool] = {}
            handle = self.blocks[0].register_forward_hook(lambda m, a, out: kind.update(tuple=isinstance(out, tuple)))
            try:
                self.whole(self._samples[0][:, :2])
            finally:
                handle.remove()
            self._tuple = kind["tuple"]
        return self._tuple


def _hidden_of(output: Any) -> Tensor:
    hidden = output[0] if isinstance(output, tuple) else output
    assert isinstance(hidden, Tensor)
    return hidden


@contextmanager
def _skipped(blocks: nn.ModuleList, as_tuple: bool) -> Iterator[None]:
    """Let these blocks hand their input on unchanged."""

    def pass_on(*args: Any, **kwargs: Any) -> Any:
        hidden = args[0] if args else kwargs["hidden_states"]
        return (hidden, None) if as_tuple else hidden

    own = [block.__dict__.get("forward") for block in blocks]
    for block in blocks:
        block.forward = pass_on
    try:
        yield
    finally:
        for block, forward in zip(blocks, own, strict=True):
            if forward is None:
                del block.forward
            else:
                block.forward = forward
