"""Every matrix that a step could compress, and what is left alone whatever the recipe says, with the reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd
from transformers.pytorch_utils import Conv1D

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.parts.decoder import base_model, decoder_blocks
from lm_eval_ext.models.targets.matrix import MatrixInfo, Skip
from lm_eval_ext.models.targets.refusals import refuse_quantized
from lm_eval_ext.models.targets.routers import observe
from lm_eval_ext.models.targets.scope import Scope
from lm_eval_ext.models.targets.target import Place, Target
from lm_eval_ext.models.targets.wrappers import adapter_names, any_number, inactive_names, innermost, plain_name

__all__ = ["Search"]

COEFFICIENTS = 8
"""A matrix with fewer inputs or outputs than this holds coefficients, not features: AltUp's mixing maps, the gate of a
shared expert. No group of a quantizer and no N:M pattern fits into it, and a zero there switches off a whole stream."""
_LINEAR = (nn.Linear, Conv1D)
_LISTS = (nn.ModuleList, nn.ModuleDict)


class Search:
    """One look through a model: its candidates, and the skips found on the way."""

    def __init__(self, inner: Any, step: Scope) -> None:
        """Find the blocks and run the model on a few tokens, which shows the routers.

        Raises:
            UserError: If there are no decoder blocks, or the model is quantized already.
        """
        self._inner, self._step = inner, step
        self._list_name, self._blocks = decoder_blocks(inner)
        refuse_quantized(inner, self._list_name, self._blocks)
        inside = {
            n: p for n, p in inner.named_parameters(remove_duplicate=False) if n.startswith(f"{self._list_name}.")
        }
        self._flow = observe(base_model(inner), inside, inner.get_input_embeddings())
        self._adapters = adapter_names(inner)
        self.inactive = inactive_names(inner)
        self.skips: list[Skip] = []
        self._unknown: dict[str, str] = {}
        self._unrouted: dict[int, set[int]] = defaultdict(set)

    def candidates(self) -> Iterator[Target]:
        """The matrices in the order of the model; one that has several names comes under each."""
        if self._step.targets_embeddings:
            yield self._end("embedding", -1)
        for index, block in enumerate(self._blocks):
            yield from self._in_block(index, block)
        if self._step.targets_lm_head:
            yield self._end("lm_head", len(self._blocks))
        self._skip_outside()

    def skip_excluded(self, group: list[Target]) -> None:
        """Note a matrix that the recipe excludes; the experts of one tensor together, unless one is named alone."""
        for target in group:
            alone = plain_name(target.info.name) in self._step.exclude
            skip = Skip(target.info.name if alone else target.info.name.split("[")[0], "excluded by the recipe")
            if skip not in self.skips:
                self.skips.append(skip)

    def refuse_unknown(self, target: Target) -> None:
        """Refuse a tensor of unknown layout, and what may be a router where no choice was seen; raises UserError."""
        fault = self._unknown.get(f"{target.module_name}.{target.parameter}")
        if fault is not None:
            raise UserError(fault)
        counts = self._unrouted.get(target.block, set()) if target.place == "block" and not target.routed else set()
        # A router has one output an expert, or a few more: experts that do nothing, two factors of a product.
        if any(count <= target.info.rows <= 2 * count for count in counts):
            failed = self._flow.failed
            seen = f"the model can't be run on a few tokens: {failed}" if failed else "no choice was seen"
            raise UserError(
                f"{target.info.name} [{target.info.rows}, {target.info.cols}] may route to the experts of its block "
                f"({seen}); a router is never compressed: leave it out with exclude={any_number(target.module_name)}"
            )

    def _end(self, place: Place, block: int) -> Target:
        module = self._inner.get_output_embeddings() if place == "lm_head" else self._inner.get_input_embeddings()
        if module is None:
            raise UserError(f"{type(self._inner).__name__} has no {place} to compress")
        end: Any = innermost(module)
        if end._parameters.get("weight") is None:
            raise UserError(f"the {place} ({type(end).__name__}) holds no plain weight to compress; leave it out")
        name = next(name for name, other in self._inner.named_modules() if other is end)
        return _target(name, end, "weight", tuple(end.weight.shape), place=place, block=block)

    def _skip_outside(self) -> None:
        """List the matrices that lie in no block, tables aside; the two ends have options of their own."""
        inside = {id(module) for module in self._blocks.modules()}
        ends = (self._inner.get_input_embeddings(), self._inner.get_output_embeddings())
        inside |= {id(innermost(module)) for module in ends if module is not None}
        for name, module in self._inner.named_modules():
            if id(module) in inside or isinstance(module, nn.Embedding):
                continue
            for parameter, value in module.named_parameters(recurse=False):
                if sum(size > 1 for size in value.shape) >= 2:
                    self.skips.append(Skip(f"{name}.{parameter}", self._foreign(name) or "outside the decoder blocks"))

    def _foreign(self, name: str) -> str:
        """Why a module is no part of the model proper; '' if it is one."""
        parts = name.split(".")
        above = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        if above & self.inactive:
            return "inactive copy (modules_to_save)"
        return "adapter" if above & self._adapters else ""

    def _in_block(self, index: int, block: nn.Module) -> Iterator[Target]:
        start = f"{self._list_name}.{index}"
        sizes = {f"{start}.{n}": p.shape[0] for n, p in block.named_parameters(remove_duplicate=False) if p.ndim >= 2}
        rows = {sizes[name] for name in sizes.keys() & self._flow.routers}
        kept = {name: len(module) for name, module in block.named_modules() if isinstance(module, _LISTS)}
        lists = tuple(f"{start}.{name}." for name, length in kept.items() if length in rows)
        if self._flow.failed:
            self._unrouted[index] |= {length for length in kept.values() if length > 1}
        for name, module in block.named_modules():
            full = f"{start}.{name}" if name else start
            if isinstance(module, _LINEAR):
                yield from self._linear(full, module, index, routed=bool(lists) and full.startswith(lists))
            else:
                yield from self._others(full, module, index, bool(rows))

    def _linear(self, name: str, module: Any, block: int, *, routed: bool) -> Iterator[Target]:
        transposed = isinstance(module, Conv1D)
        shape: tuple[int, ...] = tuple(module.weight.shape)[:: -1 if transposed else 1]
        reason = self._foreign(name)
        if not reason and f"{name}.weight" in self._flow.routers:
            reason = "router"
        if not reason and min(shape) < COEFFICIENTS:
            reason = f"coefficients ({shape[0]} x {shape[1]}: fewer than {COEFFICIENTS} on one side)"
        if reason:
            self.skips.append(Skip(f"{name}.weight", reason))
            return
        yield _target(name, module, "weight", shape, transposed=transposed, block=block, routed=routed)

    def _others(self, name: str, module: nn.Module, block: int, has_router: bool) -> Iterator[Target]:
        """Parameters of a module that is no linear map: experts in one tensor, or something to leave alone."""
        for parameter, value in module.named_parameters(recurse=False):
            full = f"{name}.{parameter}"
            if value.ndim < 2:
                continue
            reason = self._foreign(name) or ("router" if full in self._flow.routers else "")
            layout = None if reason or isinstance(module, _ConvNd) else self._layout(full, module, value, has_router)
            if layout is None:
                self.skips.append(Skip(full, reason or f"not a linear map ({type(module).__name__})"))
                continue
            if not has_router:
                self._unrouted[block].add(layout[0])
            yield from _experts(name, module, parameter, block, *layout)

    def _layout(
        self, full: str, module: nn.Module, value: nn.Parameter, has_router: bool
    ) -> tuple[int, tuple[int, int], bool] | None:
        """How many experts a tensor holds, the shape of one as it is stored, and whether that is [inputs, outputs].

        None for a tensor that holds no experts: one without parts of a matrix' size that the model multiplies with.
        """
        seen = self._flow.matrices.get(full)
        declared = getattr(module, "is_transposed", None)
        if declared is None and not self._flow.failed and full not in self._flow.multiplied:
            return None  # a recurrence's (Zamba's A_log), applied entry by entry
        if value.ndim == 2:
            if not has_router or seen is None or value.numel() % seen.numel or value.numel() == seen.numel:
                return None
            stored = (value.shape[0] * seen.numel // value.numel(), value.shape[1])
        elif value.ndim == 3 and min(value.shape[1:]) >= COEFFICIENTS and (value.shape[0] > 1 or seen is not None):
            stored = (value.shape[1], value.shape[2])
        else:
            return None
        count = value.numel() // (stored[0] * stored[1])
        if declared is not None and value.ndim == 3:
            return count, stored, bool(declared)
        if seen is not None and value.is_contiguous():
            if seen.shape == stored and seen.stride == (stored[1], 1):
                return count, stored, False
            if seen.shape == stored[::-1] and seen.stride == (1, stored[1]):
                return count, stored, True
        if value.ndim == 2:
            return None
        self._unknown[full] = (
            f"{full} {list(value.shape)} looks like fused experts, but {type(module).__name__} does not say how they "
            f"are laid out; leave such modules out with exclude={any_number(full.rpartition('.')[0])}"
        )
        return count, stored, False


def _experts(
    name: str, module: nn.Module, parameter: str, block: int, count: int, stored: tuple[int, int], transposed: bool
) -> Iterator[Target]:
    stacked = count if getattr(module, parameter).ndim == 2 else None
    for expert in range(count):
        shape = stored[::-1] if transposed else stored
        yield _target(
            name,
            module,
            parameter,
            shape,
            transposed=transposed,
            expert=expert,
            block=block,
            stacked=stacked,
            routed=True,
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
    routed: bool = False,
    stacked: int | None = None,
) -> Target:
    full = f"{name}.{parameter}" + ("" if expert is None else f"[{expert}]")
    info = MatrixInfo(name=full, rows=shape[0], cols=shape[1])
    return Target(info, module, name, parameter, expert, transposed, place, block, routed, (), stacked)
