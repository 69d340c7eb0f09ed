"""Input norms of the targets while calibration text runs through the model: streamed, float32, no padding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.parts.decoder import unwrap
from lm_eval_ext.models.targets.target import Target
from lm_eval_ext.models.targets.wrappers import plain_name

__all__ = ["InputNorms"]


class InputNorms:
    """Accumulates, for each target, the sum over tokens of its squared inputs.

    Memory: one float32 vector of the target's columns each; the activations themselves are not kept.
    """

    def __init__(self, model: nn.Module | None = None) -> None:
        """Start from nothing.

        Args:
            model: Where the other names of a shared matrix lead to modules; without it only a target's own module is
                watched.
        """
        self._model = None if model is None else unwrap(model)
        self._watched: list[Target] = []
        self._squares: dict[tuple[int, str, int | None], Tensor] = {}
        self._tokens: dict[tuple[int, str, int | None], int] = defaultdict(int)
        self._calls: dict[tuple[int, str, int | None], int] = defaultdict(int)
        # The last inputs, their version and what they gave: queries, keys and values have the same ones.
        self._last: tuple[Tensor, int, Tensor] | None = None

    @staticmethod
    def _key(target: Target) -> tuple[int, str, int | None]:
        return id(target.module), target.parameter, target.expert

    def add(self, target: Target, inputs: Tensor) -> None:
        """Take in one call's inputs: [..., cols], any floating dtype."""
        key = self._key(target)
        rows = inputs.detach().reshape(-1, inputs.shape[-1])
        if rows.shape[0] == 0:
            return
        # The running mean over samples, as in the published code: it ranks as the sum does, and equals it bit for bit.
        square = self._square(inputs, rows)
        seen = self._calls[key]
        if key in self._squares:
            self._squares[key] = self._squares[key] * (seen / (seen + 1)) + square / (seen + 1)
        else:
            self._squares[key] = square
        self._calls[key] = seen + 1
        self._tokens[key] += rows.shape[0]

    def _square(self, inputs: Tensor, rows: Tensor) -> Tensor:
        """Sum of squares of each column of [tokens, cols], float32; once for inputs that come again as they were."""
        version = None if inputs.is_inference() else inputs._version
        if self._last is not None and self._last[0] is inputs and self._last[1] == version:
            return self._last[2]
        square: Tensor = torch.linalg.vector_norm(rows.t().float(), dim=1).square()
        self._last = None if version is None else (inputs, version, square)
        return square

    def tokens(self, target: Target) -> int:
        """How many token vectors reached the target."""
        return self._tokens[self._key(target)]

    def norm(self, target: Target) -> Tensor | None:
        """The norm of each input column up to a common factor, [cols] float32; None if no token came.

        Raises:
            UserError: If it is not finite, or if a matrix that every token should reach saw nothing.
        """
        key = self._key(target)
        if key not in self._squares:
            if not target.routed:
                self.refuse_unreached([target])
            return None
        norm = self._squares[key].sqrt()
        if not bool(torch.isfinite(norm).all()):
            raise UserError(
                f"the inputs of {target.info.name} are not finite; load the model in a wider dtype (dtype=float32)"
            )
        return norm

    def refuse_unreached(self, targets: Sequence[Target]) -> None:
        """Raise UserError, with what to exclude, if some of these saw nothing though every token should reach them."""
        out = [t for t in targets if not t.routed and self._key(t) not in self._squares]
        if out:
            reached = [target for target in self._watched if self._key(target) in self._squares]
            more = f" and {len(out) - 1} more matrices" if len(out) > 1 else ""
            raise UserError(
                f"no calibration token reached {out[0].info.name}{more}: the model does not run "
                f"{'them as modules' if more else 'it as a module'}; leave out with exclude={_patterns(out, reached)}"
            )

    @contextmanager
    def watch(self, targets: Sequence[Target]) -> Iterator[None]:
        """Collect from these targets while the body runs the model.

        Raises:
            UserError: If the body ran and not one expert of a fused tensor saw a token.
        """
        self._watched += targets
        handles = []
        experts: dict[int, list[Target]] = defaultdict(list)
        for target in targets:
            if target.expert is not None:
                experts[id(target.module)].append(target)
            elif target.place == "block":
                for module in self._uses(target):
                    handles.append(module.register_forward_pre_hook(self._hook(target), with_kwargs=True))
        fused = [target for group in experts.values() for target in group]
        try:
            with ExitStack() as stack:
                if fused:
                    stack.enter_context(_eager_experts(fused))
                    stack.enter_context(_ExpertInputs(self, fused))
                yield
        finally:
            self._last = None
            for handle in handles:
                handle.remove()
        self._refuse_blind(fused)

    def _refuse_blind(self, fused: Sequence[Target]) -> None:
        """Some expert of every tensor is always used; if none was seen, its products go unseen, not its tokens."""
        names = {(id(target.module), target.parameter): target for target in fused}
        seen = {(id(target.module), target.parameter) for target in fused if self.tokens(target)}
        for target in (target for key, target in names.items() if key not in seen):
            raise UserError(
                f"the inputs of {target.module_name}.{target.parameter} can't be observed in "
                f"{type(target.module).__name__}; leave such modules out with "
                f"exclude={_patterns([target], ())}"
            )

    def _uses(self, target: Target) -> list[nn.Module]:
        """Every module that multiplies with this matrix, each once."""
        names = [] if self._model is None else [alias.rpartition(".")[0] for alias in target.aliases]
        modules = [target.module, *(self._model.get_submodule(name) for name in names if self._model is not None)]
        return list({id(module): module for module in modules}.values())

    def _hook(self, target: Target) -> Any:
        def collect(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.add(target, args[0] if args else next(iter(kwargs.values())))

        return collect


def _patterns(out: Sequence[Target], keep: Sequence[Target]) -> str:
    """Exclude patterns, joined by '+', that fit these targets and no others: '*.name' where that is enough."""
    found: dict[str, None] = {}
    kept = [_plain(target) for target in keep]
    for target in out:
        parts = _plain(target).split(".")
        suffixes = ("*." + ".".join(parts[-length:]) for length in range(1, len(parts)))
        # A number is a block's or an expert's: the name as it is says no less.
        short = (s for s in suffixes if not any(part.isdigit() for part in s.split(".")))
        found[next((s for s in short if not any(fnmatchcase(name, s) for name in kept)), ".".join(parts))] = None
    return "+".join(found)


def _plain(target: Target) -> str:
    """The module's name as patterns see it: without a PEFT wrapper around the layer."""
    return plain_name(target.module_name)


class _ExpertInputs(TorchFunctionMode):
    """Sees every matrix product whose weight lies inside a watched expert tensor.

    Fused experts are no modules, so there is nothing to hook; their products are told by the address of the weight.
    Where all experts are multiplied at once (Llama-4), tokens that an expert does not get are rows of zeros.
    """

    _PRODUCTS = frozenset({"linear", "matmul", "__matmul__", "__rmatmul__", "mm", "addmm", "bmm", "baddbmm"})

    def __init__(self, norms: InputNorms, targets: Sequence[Target]) -> None:
        super().__init__()
        self._norms = norms
        self._by_address = {target.view().data_ptr(): target for target in targets}
        self._whole: dict[tuple[int, int], list[Target]] = defaultdict(list)
        for target in targets:
            weight = getattr(target.module, target.parameter)
            if weight.ndim == 3:
                self._whole[weight.data_ptr(), weight.numel()].append(target)

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if self._by_address and getattr(func, "__name__", "") in self._PRODUCTS:
            tensors = [arg for arg in args if isinstance(arg, Tensor)]
            for inputs, weight in pairwise(tensors):
                target = self._by_address.get(weight.data_ptr()) if weight.ndim == 2 else None
                if target is not None:
                    self._norms.add(target, inputs)
                elif weight.ndim == inputs.ndim == 3 and len(weight) == len(inputs):
                    self._add_all(inputs, self._whole.get((weight.data_ptr(), weight.numel()), ()))
        return func(*args, **(kwargs or {}))

    def _add_all(self, inputs: Tensor, experts: Sequence[Target]) -> None:
        for target in experts:
            assert target.expert is not None
            rows = inputs[target.expert]
            self._norms.add(target, rows[(rows != 0).any(-1)])


@contextmanager
def _eager_experts(targets: Sequence[Target]) -> Iterator[None]:
    """Run experts one by one meanwhile: the grouped kernels give no sight of an expert's own inputs."""
    configs = {id(c): c for t in targets if (c := getattr(t.module, "config", None)) is not None}
    before = {key: getattr(config, "_experts_implementation", None) for key, config in configs.items()}
    for config in configs.values():
        config._experts_implementation = "eager"
    try:
        yield
    finally:
        for key, config in configs.items():
            config._experts_implementation = before[key]
