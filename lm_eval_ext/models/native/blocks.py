"""Run calibration text through the model one decoder block at a time.

The model itself does the work (its embedding, masks, rotary tables and per-layer arguments): blocks that are done
are skipped, the next one is given the hidden states kept from before, and the run stops behind it. Nothing of an
architecture is copied, and hidden states wait on the CPU, so that a device holds the model and one sample. Where blocks
need what earlier blocks did besides (shared keys and values), none is skipped, and every pass starts at the embedding.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.native.hooks import Stop, calls_of, skipped
from lm_eval_ext.models.parts.calling import Calling
from lm_eval_ext.models.parts.decoder import base_model, decoder_blocks

__all__ = ["BlockRunner"]

log = logging.getLogger(__name__)


class BlockRunner:
    """Feeds samples, each a row of token ids, through the blocks in order."""

    def __init__(self, model: nn.Module | Calling, samples: Sequence[Tensor]) -> None:
        """Prepare, without running anything.

        Args:
            model: The transformers model, a PEFT wrapper of it, or how the run calls it.
            samples: Token ids, each [1, length] on any device; lengths may differ, nothing is padded.
        """
        self._call = Calling.of(model)
        self._stack: Any = base_model(self._call.model)
        self.blocks = decoder_blocks(self._call.model)[1]
        self._samples = samples
        self._hidden: list[Tensor] = []
        self._next = 0
        self._from_start = False
        self._order: Sequence[int] = range(len(self.blocks))

    def whole(self, ids: Tensor) -> Tensor | None:
        """One sample through the whole model, virtual tokens before its stack included, its output layer left out.

        Returns:
            What goes into the output layer, [1, length and virtual tokens, width]; None for a model that runs none as a
            module.
        """
        caught: list[Tensor] = []

        def stop(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            caught.append(args[0] if args else next(iter(kwargs.values())))
            raise Stop  # before the logits, the largest tensor of all

        head = self._call.inner.get_output_embeddings()
        handle = None if head is None else head.register_forward_pre_hook(stop, with_kwargs=True)
        try:
            self._call(ids, use_cache=False)
        except Stop:
            return caught[0]
        finally:
            if handle is not None:
                handle.remove()
        return None

    def run_block(self, *, keep: bool, watched: Sequence[nn.Module] = ()) -> None:
        """Run all samples through the next block.

        Args:
            keep: Keep the outputs and move on to the following block; False only runs (for statistics).
            watched: Modules whose inputs are all that is wanted, without keep. Where the first sample runs each of them
                once, every other sample ends in front of the last one.
        """
        if self._next not in self._order or (keep and self._from_start):
            self._next += keep
            return
        outputs = []
        once = False
        for position, ids in enumerate(self._samples):
            given = self._hidden[position] if self._hidden else None
            with calls_of(watched, stop=once) as calls:
                out = self._through(self._next, ids, given)
            if position == 0:
                once = bool(watched) and sorted(calls) == sorted(map(id, watched))
            if keep:
                assert out is not None
                outputs.append(out.to("cpu"))
        if keep:
            self._hidden = outputs
            self._next += 1

    def check(self) -> None:
        """See on one sample, before anything is changed, how the blocks can be run one by one.

        Where block by block is not the model's own pass (blocks that share keys and values, or hand on more than hidden
        states), no block is skipped from here on: each one is reached from the embedding.

        Raises:
            UserError: If the model runs a block twice or its blocks in another order, or its hidden states are not
                finite.
        """
        name = type(self._stack).__name__
        if len({id(block) for block in self.blocks}) < len(self.blocks):
            raise UserError(
                f"{name} uses one module as several blocks, so they have no statistics of their own; "
                "use sequential=False"
            )
        order, expected = self._observed(self._samples[0])
        if order != sorted(set(order)) or not order:
            raise UserError(
                f"{name} does not run its {len(self.blocks)} blocks in order and once each at most; "
                "use sequential=False"
            )
        # A block that plain text does not reach (cross attention to an image) has nothing to hand on.
        self._order = order
        if not bool(torch.isfinite(expected).all()):
            kind = str(expected.dtype).removeprefix("torch.")
            wider = "dtype=bfloat16 or dtype=float32" if kind == "float16" else "dtype=float32"
            raise UserError(
                f"the hidden states of {name} are not finite on calibration text in {kind}; load the model with {wider}"
            )
        self._from_start = not self._equals(expected)
        if self._from_start:
            log.warning(
                "the blocks of %s share more than hidden states: each one's statistics take a pass from the embedding, "
                "some %d times the work; sequential=False takes all in one pass",
                name,
                (len(self.blocks) + 1) // 2,
            )

    def _observed(self, ids: Tensor) -> tuple[list[int], Tensor]:
        """Which blocks the model's own pass runs, in order, and what the last of them gives."""
        order: list[int] = []
        outputs: list[Tensor] = []

        def seen(index: int) -> Any:
            def note(module: nn.Module, args: Any, output: Any) -> None:
                order.append(index)
                outputs[:] = [_hidden_of(output).detach()]

            return note

        with ExitStack() as stack:
            for index, block in enumerate(self.blocks):
                stack.callback(block.register_forward_hook(seen(index)).remove)
            self.whole(ids)
        return order, outputs[0] if outputs else torch.empty(0)

    def _equals(self, expected: Tensor) -> bool:
        """Whether block by block, each given what the one before it gave, is the model's own pass."""
        hidden: Tensor | None = None
        try:
            for index in self._order:
                hidden = self._through(index, self._samples[0], hidden)
        except Exception:
            # Whatever a model raises when its earlier blocks have not run: it can't be skipped.
            return False
        assert hidden is not None
        wanted, found = expected.float().cpu(), hidden.float().cpu()
        scale = float(wanted.abs().max())
        return wanted.shape == found.shape and torch.allclose(found, wanted, rtol=1e-3, atol=1e-3 * max(scale, 1e-6))

    def _through(self, index: int, ids: Tensor, given: Tensor | None) -> Tensor | None:
        """Output of one block for one sample, given the hidden states before it (None: from the embedding).

        None if a hook ended the pass before the block had one.
        """
        caught: dict[str, Tensor] = {}

        def replace_input(module: nn.Module, args: Any, kwargs: Any) -> Any:
            if given is None:
                return None
            old = args[0] if args else kwargs["hidden_states"]
            new = given.to(old.device)
            return ((new, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": new})

        def stop(module: nn.Module, args: Any, output: Any) -> None:
            caught["out"] = _hidden_of(output)
            raise Stop

        block = self.blocks[index]
        with ExitStack() as stack:
            if not self._from_start:
                stack.enter_context(skipped(self.blocks[:index], self._returns_tuple))
            stack.callback(block.register_forward_pre_hook(replace_input, with_kwargs=True).remove)
            stack.callback(block.register_forward_hook(stop).remove)
            try:
                self._call(ids, use_cache=False)
            except Stop:
                return caught.get("out")
        raise UserError(f"block {index} of {type(self._stack).__name__} was not run by the model; use sequential=False")

    @property
    def _returns_tuple(self) -> bool:
        """Whether the blocks answer with a tuple or a list; seen once, on the first block."""
        if not hasattr(self, "_tuple"):
            kind: dict[str, bool] = {}
            handle = self.blocks[0].register_forward_hook(
                lambda m, a, out: kind.update(tuple=isinstance(out, (tuple, list)))
            )
            try:
                self.whole(self._samples[0][:, :2])
            finally:
                handle.remove()
            self._tuple = kind["tuple"]
        return self._tuple


def _hidden_of(output: Any) -> Tensor:
    hidden = output[0] if isinstance(output, (tuple, list)) else output
    if not isinstance(hidden, Tensor):
        raise UserError(f"a block answers with {type(output).__name__}, not with hidden states; use sequential=False")
    return hidden
