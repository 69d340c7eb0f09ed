"""Every method by its name: the config class is loaded when it is asked for, not before."""

from __future__ import annotations

from typing import Any

from lm_eval_ext.entries import Entry, entries, find
from lm_eval_ext.models.recipe.step import Step

__all__ = ["METHODS", "method_class", "method_entries", "method_names"]

_NATIVE = "lm_eval_ext.models.native.methods"

_BACKENDS = "lm_eval_ext.models.backends"
_LLMC = f"{_BACKENDS}.llmcompressor"

_GPTQMODEL = f"{_BACKENDS}.gptqmodel.steps"
_ONLOAD = f"{_BACKENDS}.onload.steps"

METHODS = {
    "awq": f"{_GPTQMODEL}:Awq",
    "bitsandbytes": f"{_ONLOAD}:BitsAndBytes",
    "fp8": f"{_ONLOAD}:Fp8",
    "gptq": f"{_GPTQMODEL}:Gptq",
    "gptqmodel_rtn": f"{_GPTQMODEL}:GptqModelRtn",
    "hqq": f"{_NATIVE}.hqq:Hqq",
    "llmc_awq": f"{_LLMC}.steps:LlmcAwq",
    "llmc_gptq": f"{_LLMC}.steps:LlmcGptq",
    "llmc_rtn": f"{_LLMC}.steps:LlmcRtn",
    "llmc_wanda": f"{_LLMC}.steps:LlmcWanda",
    "llmcompressor": f"{_LLMC}.any_recipe:LlmCompressor",
    "magnitude": f"{_NATIVE}.magnitude:Magnitude",
    "mlx_affine": f"{_NATIVE}.mlx_affine:MlxAffine",
    "quanto": f"{_ONLOAD}:Quanto",
    "random": f"{_NATIVE}.random:Random",
    "rtn": f"{_NATIVE}.rtn:RoundToNearest",
    "smoothquant": f"{_LLMC}.steps:SmoothQuant",
    "sparsegpt": f"{_LLMC}.steps:LlmcSparseGpt",
    "spinquant": f"{_LLMC}.steps:SpinQuant",
    "torchao": f"{_ONLOAD}:TorchAo",
    "wanda": f"{_NATIVE}.wanda:Wanda",
}
"""Where the config class of each of our methods is, as module:class. Named rather than imported: a list of names costs
nothing, and a recipe needs to know nothing of the code that carries it out."""


def method_entries() -> dict[str, Entry]:
    """All methods by name, ours and those of other packages; none is loaded."""
    return entries("method", METHODS)


def method_names() -> list[str]:
    """Names of all methods, sorted."""
    return list(method_entries())


def method_class(name: object) -> type[Step]:
    """The config class of a method.

    Raises:
        UserError: If there is no method of this name (the message gives the nearest and lists all), or what another
            package offers under it can't be loaded or is no config class of that name.
    """
    entry = find(name, method_entries(), "method")
    found: Any = entry.load()
    if not (isinstance(found, type) and issubclass(found, Step)):
        raise entry.fault("is no config class of a method: it must be a subclass of Method or LibraryStep")
    field = found.model_fields["method"]
    if field.default != entry.name:
        raise entry.fault(f'says method {field.default!r}; write `method: Literal["{entry.name}"] = "{entry.name}"`')
    missing = [name for name in ("kind", "backend") if not hasattr(found, name)]
    if missing:
        raise entry.fault(f"lacks {' and '.join(missing)}, which every method must say")
    return found
