"""Which matrices of a model are compressed: found by structure, never by a list of names.

A target is a linear map inside a decoder block: nn.Linear, GPT-2's Conv1D (stored transposed), one expert of a
fused 3-D expert tensor. Routers, adapters, norms and convolutions are left alone, and said so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compress.registry import MatrixInfo, Method, Skip

__all__ = ["Target", "base_model", "decoder_blocks", "find_targets", "unwrap"]

Place = Literal["block", "lm_head", "embedding"]


@dataclass(frozen=True)
class Target:
    """One weight matrix that is going to be compressed."""

    info: MatrixInfo
    module: nn.Module = field(repr=False)
    module_name: str
    parameter: str
    """Attribute of the module that holds the weight."""
    expert: int | None
    """Index in a fused expert tensor."""
    transposed: bool
    """Whether the parameter is stored [inputs, outputs]."""
    place: Place
    block: int
    """Index of the decoder block; -1 for the embedding, the count of blocks for the output layer."""
    routed: bool = False
    """Whether only the tokens that a router sends reach it: an expert."""
    aliases: tuple[str, ...] = ()
    """Other names of the same storage."""

    def view(self) -> Tensor:
        """The matrix as [rows = outputs, cols = inputs]: a view, so that writing to it changes the model."""
        weight: Tensor = getattr(self.module, self.parameter).data
        if self.expert is not None:
            weight = weight[self.expert]
        return weight.t() if self.transposed else weight


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
    """Find the list of decoder blocks.

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
    found = [
        (name, module)
        for name, module in inner.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == layers
    ]
    if not found:
        raise UserError(
            f"{type(inner).__name__}: no list of {layers} decoder blocks was found (config.num_hidden_layers); "
            "this architecture can't be compressed here"
        )
    return min(found, key=lambda entry: entry[0].count("."))


def find_targets(model: nn.Module, step: Method) -> tuple[list[Target], list[Skip]]:
    """List what a step compresses and what it leaves alone.

    Returns:
        Targets in the order of the model, and the skipped matrices with their reasons.

    Raises:
        UserError: If nothing matches, an exclude pattern fits no module, a weight is on the meta device, offloaded,
            sharded or already quantized, the layout of an expert tensor is unknown, or a matrix shares storage with
            one that is not asked for.
    """
    inner = unwrap(model)
    _refuse_unmatched(inner, step)
    found: list[Target] = []
    skips: list[Skip] = []
    seen: dict[tuple[int, int], int] = {}
    for candidate in _candidates(inner, step, skips):
        if _excluded(step, candidate.module_name, candidate.parameter):
            skips.append(Skip(candidate.info.name, "excluded by the recipe"))
            continue
        _refuse_unusable(candidate)
        view = candidate.view()
        key = (view.data_ptr(), view.numel())
        if key in seen:
            first = found[seen[key]]
            found[seen[key]] = replace(first, aliases=(*first.aliases, candidate.info.name))
            continue
        seen[key] = len(found)
        found.append(candidate)
    if not found:
        raise UserError(f"method {step.method} matched no weight matrix of {type(inner).__name__}; nothing to compress")
    _refuse_hidden_ties(inner, found)
    return found, skips


def _plain(name: str) -> str:
    """A name as it is without a PEFT wrapper around the layer."""
    return name.replace(".base_layer", "")


def _excluded(step: Method, module_name: str, parameter: str) -> bool:
    """Whether a pattern fits the module, or the parameter of a module that holds several."""
    names = (_plain(module_name), f"{_plain(module_name)}.{parameter}")
    return any(fnmatchcase(name, pattern) for name in names for pattern in step.exclude)


def _refuse_unmatched(inner: nn.Module, step: Method) -> None:
    """A misspelt pattern would compress what its author wanted left alone."""
    names = {_plain(name) for name, _ in (*inner.named_modules(), *inner.named_parameters(remove_duplicate=False))}
    for pattern in step.exclude:
        if not any(fnmatchcase(name, pattern) for name in names):
            list_name, blocks = decoder_blocks(inner)
            linear = [name for name, module in blocks[0].named_modules() if isinstance(module, (nn.Linear, Conv1D))]
            shown = ", ".join(f"{list_name}.0.{_plain(name)}" for name in linear) or "none"
            raise UserError(
                f"exclude={pattern!r} matches no module of {type(inner).__name__}; linear maps of its first block: "
                f"{shown}"
            )


def _candidates(inner: nn.Module, step: Method, skips: list[Skip]) -> Iterator[Target]:
    list_name, blocks = decoder_blocks(inner)
    experts = _expert_count(inner)
    if step.targets_embeddings:
        yield from _outside(inner, "embedding", -1)
    for index, block in enumerate(blocks):
        routed = tuple(f"{name}." for name, module in block.named_modules() if _is_expert_list(module, experts))
        for name, module in block.named_modules():
            full = f"{list_name}.{index}.{name}" if name else f"{list_name}.{index}"
            if name and _is_router(name, module, experts):
                skips.append(Skip(f"{full}.weight", "router"))
                continue
            for target in _in_module(full, module, index, step, skips):
                yield replace(target, routed=target.expert is not None or (bool(routed) and name.startswith(routed)))
    if step.targets_lm_head:
        yield from _outside(inner, "lm_head", len(blocks))


def _outside(inner: Any, place: Place, block: int) -> Iterator[Target]:
    module = inner.get_output_embeddings() if place == "lm_head" else inner.get_input_embeddings()
    if module is None:
        raise UserError(f"{type(inner).__name__} has no {place} to compress")
    module = getattr(module, "base_layer", module)
    name = next(name for name, other in inner.named_modules() if other is module)
    yield _target(name, module, "weight", tuple(module.weight.shape), place=place, block=block)


def _expert_count(inner: Any) -> int | None:
    """Experts a block, or None for a dense model."""
    config = inner.config.get_text_config() if hasattr(inner.config, "get_text_config") else inner.config
    names = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
    counts = [getattr(config, name, None) for name in names]
    return next((count for count in counts if isinstance(count, int) and count > 0), None)


def _is_expert_list(module: nn.Module, experts: int | None) -> bool:
    return experts is not None and isinstance(module, (nn.ModuleList, nn.ModuleDict)) and len(module) == experts


def _is_router(name: str, module: nn.Module, experts: int | None) -> bool:
    """A router has one output an expert (or one for a shared expert's gate); a dense model has none."""
    if experts is None or not isinstance(module, nn.Linear):
        return False
    named = any(word in part for part in name.split(".") for word in ("gate", "router"))
    return named and module.out_features in {1, experts}


def _in_module(name: str, module: nn.Module, block: int, step: Method, skips: list[Skip]) -> Iterator[Target]:
    leaf = name.rsplit(".", 1)[-1]
    if isinstance(module, (nn.Linear, Conv1D)):
        full = f"{name}.weight"
        if "lora_" in name:
            skips.append(Skip(full, "adapter"))
        else:
            transposed = isinstance(module, Conv1D)
            shape = tuple(module.weight.shape)
            yield _target(
                name,
                module,
                "weight",
                shape[::-1] if transposed else shape,
                transposed=transposed,
                block=block,
            )
        return
    for parameter, value in module.named_parameters(recurse=False):
        full = f"{name}.{parameter}"
        if value.ndim == 3 and not isinstance(module, nn.Conv1d):
            if _excluded(step, name, parameter):
                skips.append(Skip(full, "excluded by the recipe"))
            else:
                yield from _experts(name, module, parameter, value, block)
        elif value.ndim >= 2:
            router = leaf in {"gate", "router"} or "router" in type(module).__name__.lower()
            skips.append(Skip(full, "router" if router else f"not a linear map ({type(module).__name__})"))


def _experts(name: str, module: nn.Module, parameter: str, value: Tensor, block: int) -> Iterator[Target]:
    transposed = getattr(module, "is_transposed", None)
    if transposed is None:
        raise UserError(
            f"{name}.{parameter} {list(value.shape)} looks like fused experts, but {type(module).__name__} does not "
            f"say how they are laid out; leave such modules out with exclude=*.{name.rsplit('.', 1)[-1]}"
        )
    shape = tuple(value.shape[1:])
    for expert in range(value.shape[0]):
        yield _target(
            name,
            module,
            parameter,
            shape[::-1] if transposed else shape,
            transposed=bool(transposed),
            expert=expert,
            block=block,
        )


def _target(
    name: str,
    module: nn.Module,
    parameter: str,
    shape: tuple[int, ...],
    *,
    block: int,
    transposed: bool = False,
    expert: int | None = None,
    place: Place = "block",
) -> Target:
    full = f"{name}.{parameter}" + ("" if expert is None else f"[{expert}]")
    info = MatrixInfo(name=full, rows=shape[0], cols=shape[1])
    return Target(info, module, name, parameter, expert, transposed, place, block)


def _refuse_unusable(target: Target) -> None:
    weight = getattr(target.module, target.parameter)
    if weight.is_meta:
        raise UserError(
            f"{target.info.name} is offloaded (on the meta device), so it can't be compressed in place; load the model "
            "where it fits whole: device=cpu, more GPUs with parallelize=True, or a smaller dtype"
        )
    if type(weight.data).__name__ == "DTensor":
        raise UserError(f"{target.info.name} is sharded by tensor parallelism; compress without tp_plan")
    if type(weight.data) is not Tensor:
        kind = type(weight.data).__name__
        raise UserError(f"{target.info.name} is a {kind}: the model is quantized already; give the original checkpoint")
    if not weight.is_floating_point() or weight.dtype.itemsize < 2:
        raise UserError(
            f"{target.info.name} holds {weight.dtype}: the model is quantized already; give the original checkpoint"
        )


def _storages(inner: nn.Module) -> dict[int, set[str]]:
    names: dict[int, set[str]] = {}
    for name, parameter in inner.named_parameters(remove_duplicate=False):
        names.setdefault(parameter.untyped_storage().data_ptr(), set()).add(name)
    return names


def _refuse_hidden_ties(inner: nn.Module, targets: list[Target]) -> None:
    """A change must not reach through shared storage to a parameter that nobody asked to change."""
    storages = _storages(inner)
    asked = {name.split("[")[0] for target in targets for name in (target.info.name, *target.aliases)}
    for target in targets:
        pointer = getattr(target.module, target.parameter).untyped_storage().data_ptr()
        others = sorted(storages.get(pointer, set()) - asked)
        if others:
            raise UserError(
                f"{target.info.name} shares its storage with {', '.join(others)}, which was not asked for; "
                "ask for both (lm_head=True,embeddings=True) or for neither"
            )
