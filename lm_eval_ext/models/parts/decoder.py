"""The parts of a transformers model that compression goes by: the model without its wrapper, its stack, its blocks."""

from __future__ import annotations

from typing import Any

from torch import nn

from lm_eval_ext.errors import UserError

__all__ = ["base_model", "decoder_blocks", "unwrap"]


def unwrap(model: nn.Module) -> nn.Module:
    """The transformers model inside a PEFT wrapper, or the model itself."""
    inside: Any = getattr(model, "get_base_model", None)
    inner = model if inside is None else inside()
    assert isinstance(inner, nn.Module)
    return inner


def base_model(model: nn.Module) -> nn.Module:
    """The decoder stack without its output layer."""
    inner = unwrap(model)
    stack = getattr(inner, "base_model", inner)
    assert isinstance(stack, nn.Module)
    return stack


def decoder_blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Find the list of decoder blocks: the text decoder's own, where a model has towers with as many blocks beside it.

    Returns:
        Its module name and the list.

    Raises:
        UserError: For an encoder-decoder model, or if no list has as many modules as the config has layers.
    """
    inner = unwrap(model)
    config: Any = inner.config
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(f"{type(inner).__name__} is an encoder-decoder model; only decoder-only models are compressed")
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    layers = getattr(text, "num_hidden_layers", None)
    lists = [(name, module) for name, module in inner.named_modules() if isinstance(module, nn.ModuleList)]
    # LongCat counts two attention layers a block as hidden layers, and the blocks as num_layers.
    for count in (layers, getattr(text, "num_layers", None)):
        found = [(name, module) for name, module in lists if len(module) == count]
        if found:
            break
    else:
        raise UserError(
            f"{type(inner).__name__}: no list of {layers} decoder blocks was found (config.num_hidden_layers); "
            "this architecture can't be compressed here"
        )
    inside = _below_decoder(inner)
    return min(found, key=lambda entry: (not any(entry[1] is other for other in inside), entry[0].count(".")))


def _below_decoder(inner: Any) -> list[nn.Module]:
    """Every module of the text decoder, or of the whole model where it names none."""
    decoder = inner.get_decoder() if hasattr(inner, "get_decoder") else inner
    return list((decoder if isinstance(decoder, nn.Module) else inner).modules())
