"""Hooks for a part of a forward pass: skip what is done, note what is called, and stop behind what is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

__all__ = ["Stop", "calls_of", "skipped"]


class Stop(Exception):  # noqa: N818  (no error: a pass that is over)
    """Ends a forward pass behind the block of interest."""


@contextmanager
def calls_of(modules: Sequence[nn.Module], *, stop: bool) -> Iterator[list[int]]:
    """The ids of these modules, call by call; with `stop` the pass ends in front of the one that completes them.

    Hooks that were there before have seen its inputs by then.
    """
    calls: list[int] = []

    def note(module: nn.Module, args: Any) -> None:
        calls.append(id(module))
        if stop and len(set(calls)) == len(modules):
            raise Stop

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_pre_hook(note).remove)
        yield calls


@contextmanager
def skipped(blocks: nn.ModuleList, as_tuple: bool) -> Iterator[None]:
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
