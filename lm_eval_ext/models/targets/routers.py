"""Which matrices route: told by what their output selects, observed on a few tokens.

A router is a matrix whose product reaches a choice (the indices of a top-k, an argmax, a sort, a maximum) through
element-wise operations and reshapes alone. Names, config fields and widths say nothing: DBRX nests its experts' count,
DeepSeek-V4 and Granite name their routers as they like, and an ordinary matrix may have as many outputs as there are
experts. So the model runs once on a few tokens, and every operation hands on the matrices that its operands come from:

- a product with a weight starts anew: its result comes from that weight;
- an element-wise operation, a reshape or a concatenation hands on what all its operands come from;
- a sum, a mean and a product of two activations (attention) hand on nothing: what is chosen behind them is no output
  of one matrix (an index of sparse attention chooses tokens by a sum over heads);
- the indices of a choice, once something uses them, make routers of the matrices that the chosen values come from; a
  mere maximum whose indices nobody reads (a stabilised sum) does not;
- scores that are looked up by given indices (`gather` along the outputs: hash routing) make a router too;
- a matrix that feeds nothing but routers is part of the router (a router of several layers).

The same pass shows how an expert tensor is multiplied, where its class does not say how it is laid out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

__all__ = ["Flow", "Matrix", "observe"]

_TOKENS = 7
_PRODUCTS = frozenset(
    {"linear", "matmul", "__matmul__", "__rmatmul__", "mm", "mv", "addmm", "bmm", "baddbmm", "einsum", "bilinear"}
)
_PRODUCT_WORDS = ("grouped_mm", "conv", "attention", "embedding", "tensordot")
_CHOICES = frozenset({"topk", "sort", "max", "kthvalue", "mode"})
_INDICES = frozenset({"argmax", "argsort", "argmin"})
_SUMS = frozenset({"sum", "mean", "var", "std", "norm", "vector_norm", "amax", "amin", "prod", "logsumexp", "median"})
_OUTSIDE = "outside"


@dataclass(frozen=True)
class Matrix:
    """How a parameter, or a part of it, was multiplied: [outputs, inputs], as a view of the parameter's memory."""

    shape: tuple[int, int]
    stride: tuple[int, int]
    numel: int


@dataclass
class Flow:
    """What one pass showed; parameters by their names in the unwrapped model."""

    routers: frozenset[str] = frozenset()
    matrices: dict[str, Matrix | None] = field(default_factory=dict)
    """By parameter: the matrix that was multiplied; None if it was used in different ways."""
    multiplied: frozenset[str] = frozenset()
    """Parameters that took part in some product of matrices, a convolution or an attention."""
    failed: str = ""
    """Why the model could not be run, if so; nothing is known then."""


def observe(stack: nn.Module, parameters: dict[str, nn.Parameter], embedding: Any) -> Flow:
    """Run the decoder stack once on a few tokens and see what its matrices do.

    Args:
        stack: The decoder without its output layer, in evaluation mode; takes `input_ids`.
        parameters: Those to follow, by name. Vectors among them are ignored.
        embedding: The model's input embedding; not every stack can name its own (BART's decoder).

    Returns:
        The flow; one that says why, if the model can't be run (weights that are not there, a missing kernel).
    """
    follower = _Follower({name: parameter for name, parameter in parameters.items() if parameter.ndim >= 2})
    weight = embedding.weight
    ids = (torch.arange(_TOKENS, device=weight.device) + 3) % weight.shape[0]
    try:
        with torch.no_grad(), follower:
            output = stack(input_ids=ids[None], use_cache=False)
        follower.end(output[0])
    except Exception as error:  # whatever a model raises: the caller decides if it matters
        lines = str(error).splitlines()
        return Flow(failed=f"{type(error).__name__}: {lines[0] if lines else ''}".strip(": "))
    return Flow(follower.routers(), follower.matrices, frozenset(follower.multiplied))


class _Follower(TorchFunctionMode):
    """Carries names of parameters along the operations of a forward pass."""

    def __init__(self, parameters: dict[str, nn.Parameter]) -> None:
        super().__init__()
        self._weights = _Labels()
        self._sources = _Labels()
        self._chosen = _Labels()
        self._rows = {name: parameter.shape[0] for name, parameter in parameters.items()}
        self._choosers: set[str] = set()
        self._feeds: dict[str, set[str]] = defaultdict(set)
        self.matrices: dict[str, Matrix | None] = {}
        self.multiplied: set[str] = set()
        for name, parameter in parameters.items():
            self._weights.add(parameter, {name})

    def end(self, output: Any) -> None:
        """What reaches the last hidden state is used outside."""
        for source in self._sources.of(output):
            self._feeds[source].add(_OUTSIDE)

    def routers(self) -> frozenset[str]:
        """The choosers, and whatever feeds nothing but them."""
        found = set(self._choosers)
        while more := {name for name, fed in self._feeds.items() if fed and fed <= found} - found:
            found |= more
        return frozenset(found)

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = str(getattr(func, "__name__", func))
        operands = list(_tensors((*args, *kwargs.values())))
        result = func(*args, **kwargs)
        for operand in operands:
            self._choosers |= self._chosen.of(operand)
        if name in _PRODUCTS or any(word in name for word in _PRODUCT_WORDS):
            self._product(name, operands, result)
        elif name == "gather":
            self._look_up(args, kwargs)
            self._hand_on(operands, result)
        elif name in _INDICES or (name in _CHOICES and isinstance(result, tuple)):
            sources = self._sources.union(operands)
            indices = result[1] if isinstance(result, tuple) else result
            self._chosen.add(indices, sources)
            if isinstance(result, tuple):
                self._sources.add(result[0], sources)
        elif name not in _SUMS:
            in_place = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
            self._hand_on(operands, operands[:1] if in_place and operands else result)
        return result

    def _hand_on(self, operands: list[Tensor], result: Any) -> None:
        sources, weights = self._sources.union(operands), self._weights.union(operands)
        for tensor in _tensors((result,)):
            if tensor.is_floating_point():
                self._sources.add(tensor, sources)
                if not sources:
                    self._weights.add(tensor, weights)
            elif sources:
                # A comparison of scores (a mask) is not yet a choice; the choice is made of it by what it masks.
                self._sources.add(tensor, sources)

    def _product(self, name: str, operands: list[Tensor], result: Any) -> None:
        held = [self._weights.of(operand) for operand in operands]
        weights = frozenset().union(*held)
        self.multiplied |= weights
        for operand in operands:
            for source in self._sources.of(operand):
                self._feeds[source] |= weights or {_OUTSIDE}
        for tensor in _tensors((result,)):
            self._sources.add(tensor, weights)
        for position, (operand, names) in enumerate(zip(operands, held, strict=True)):
            if len(names) == 1 and operand.ndim >= 2:
                self._see(next(iter(names)), operand, name, last=position == len(operands) - 1)

    def _see(self, parameter: str, operand: Tensor, product: str, *, last: bool) -> None:
        """Note the matrix that was multiplied: `linear` takes [outputs, inputs], x @ W takes [inputs, outputs]."""
        if product not in {"linear", "matmul", "__matmul__", "mm", "bmm", "addmm", "baddbmm"}:
            return
        view = operand if product == "linear" or not last else operand.transpose(-1, -2)
        rows, cols = view.shape[-2:]
        seen = Matrix((rows, cols), (view.stride(-2), view.stride(-1)), rows * cols)
        self.matrices[parameter] = seen if self.matrices.get(parameter, seen) == seen else None

    def _look_up(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        scores = args[0]
        dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        for source in self._sources.of(scores):
            if scores.shape[dim] == self._rows[source]:
                self._choosers.add(source)


class _Labels:
    """Names by tensor, for as long as the tensor lives."""

    def __init__(self) -> None:
        self._names: Any = WeakIdKeyDictionary()

    def of(self, tensor: Tensor) -> frozenset[str]:
        names: frozenset[str] = self._names.get(tensor, frozenset())
        return names

    def add(self, tensor: Tensor, names: Iterable[str]) -> None:
        if names := self.of(tensor) | frozenset(names):
            self._names[tensor] = names

    def union(self, tensors: Iterable[Tensor]) -> frozenset[str]:
        return frozenset().union(*(self.of(tensor) for tensor in tensors))


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
