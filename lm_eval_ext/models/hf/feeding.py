"""What an encoder-decoder model needs beside a prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["fed"]


@contextmanager
def fed(model: torch.nn.Module) -> Iterator[None]:
    """Give an encoder-decoder model's decoder the encoder's tokens: the canary prompt of the evidence has no others."""

    def feed(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return args, kwargs | {"decoder_input_ids": args[0] if args else kwargs["input_ids"]}

    handle = model.register_forward_pre_hook(feed, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
