"""What PEFT puts around a model's own modules: told by structure, so that nothing here needs peft."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

__all__ = ["adapter_names", "any_number", "inactive_names", "innermost", "plain_name"]

_WRAPPING = re.compile(r"\.(base_layer|original_module|token_adapter|modules_to_save\.[^.]+)(?=\.|$)")


def plain_name(name: str) -> str:
    """A module's or parameter's name as it is without a wrapper around the layer; patterns go by it."""
    return _WRAPPING.sub("", name)


def any_number(name: str) -> str:
    """A pattern for a module and its like in the other blocks: `model.layers.*.mlp.experts`."""
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "*", plain_name(name))


def innermost(module: nn.Module) -> nn.Module:
    """The module that is in use below wrappers: the active copy of `modules_to_save`, the layer under an adapter."""
    while True:
        inside = module._modules
        copies = inside.get("modules_to_save")
        if isinstance(copies, nn.ModuleDict) and (active := _active_copy(module, copies)) is not None:
            module = copies[active]
            continue
        below = [inside.get(key) for key in ("original_module", "token_adapter", "base_layer")]
        found = next((child for child in below if child is not None), None)
        if found is None:
            return module
        module = found


def inactive_names(model: nn.Module) -> set[str]:
    """Names of what a `modules_to_save` wrapper keeps and doesn't use: the model is the same without them."""
    names = set()
    for name, module in model.named_modules():
        copies = module._modules.get("modules_to_save")
        if not isinstance(copies, nn.ModuleDict) or "original_module" not in module._modules:
            continue
        active = _active_copy(module, copies)
        names |= {f"{name}.modules_to_save.{key}" for key in copies if key != active}
        if active is not None:
            names.add(f"{name}.original_module")
    return names


def adapter_names(model: nn.Module) -> set[str]:
    """Names of modules that hold an adapter's own weights: beside a `base_layer`, or of a class of PEFT's."""
    names = set()
    for name, module in model.named_modules():
        base = module._modules.get("base_layer")
        if isinstance(base, nn.Module):
            names |= {f"{name}.{key}" for key, child in module.named_children() if child is not base}
        if type(module).__module__.startswith("peft.") and not {"base_layer", "original_module"} & {*module._modules}:
            names.add(name)
    return names


def _active_copy(wrapper: Any, copies: nn.ModuleDict) -> str | None:
    """The key of the copy that the wrapper runs; None if it runs the original."""
    active = list(wrapper.active_adapters)
    if wrapper.disable_adapters or not active or any(name not in copies for name in active):
        return None
    return str(active[0])
