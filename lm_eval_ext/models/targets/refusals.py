"""Models and matrices that can't be compressed in place, each refused in one line that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.targets.packed import packed_modules
from lm_eval_ext.models.targets.target import Target
from lm_eval_ext.models.targets.wrappers import innermost, plain_name

__all__ = ["refuse_hidden_ties", "refuse_quantized", "refuse_unusable"]

_ORIGINAL = "the model is quantized already; give the original checkpoint"


def refuse_quantized(inner: nn.Module, list_name: str, blocks: nn.Module) -> None:
    """Refuse a model whose linear maps hold no plain weights, whatever library packed them.

    Raises:
        UserError: Naming the first such module and what it holds.
    """
    for inside, module in blocks.named_modules():
        computed = isinstance(module, (nn.Linear, Conv1D)) and hasattr(module, "parametrizations")
        if computed and module._parameters.get("weight") is None:
            name = f"{list_name}.{inside}"
            raise UserError(f"{name}.weight is computed from other tensors (a parametrization); remove it first")
    for found in packed_modules(inner, blocks, f"{list_name}."):
        raise UserError(f"{found}: {_ORIGINAL}")


def refuse_unusable(target: Target) -> None:
    """Refuse a weight that is not there, not whole, or no plain numbers of at least 16 bits; raises UserError."""
    weight = getattr(target.module, target.parameter)
    name = target.info.name
    if weight.is_meta:
        raise UserError(
            f"{name} is offloaded (on the meta device), so it can't be compressed in place; load the model "
            "where it fits whole: device=cpu, more GPUs with parallelize=True, or a smaller dtype"
        )
    if type(weight.data).__name__ == "DTensor":
        raise UserError(f"{name} is sharded by tensor parallelism; compress without tp_plan")
    if type(weight.data) is not Tensor:
        raise UserError(f"{name} is a {type(weight.data).__name__}: {_ORIGINAL}")
    if not weight.is_floating_point() or weight.dtype.itemsize < 2:
        raise UserError(f"{name} holds {weight.dtype}: {_ORIGINAL}")


def refuse_hidden_ties(inner: Any, targets: Sequence[Target], inactive: set[str]) -> None:
    """A change must not reach through shared storage to a parameter that nobody asked to change.

    Args:
        inner: The model.
        targets: What is going to be changed, with all names of each.
        inactive: Names of modules that the model doesn't use: what becomes of them doesn't matter.

    Raises:
        UserError: Naming a target, what shares its memory, and the way out.
    """
    storages: dict[int, set[str]] = {}
    for name, parameter in inner.named_parameters(remove_duplicate=False):
        if not parameter.is_meta and not any(name.startswith(f"{copy}.") for copy in inactive):
            storages.setdefault(parameter.untyped_storage().data_ptr(), set()).add(name)
    asked = {name.split("[")[0] for target in targets for name in (target.info.name, *target.aliases)}
    ends = _ends(inner)
    for target in targets:
        pointer = getattr(target.module, target.parameter).untyped_storage().data_ptr()
        others = sorted(storages.get(pointer, set()) - asked)
        if not others:
            continue
        start = f"{target.info.name} shares its storage with {', '.join(others)}, which was not asked for; "
        if target.place != "block" and any(other in ends for other in others):
            raise UserError(f"{start}ask for both (lm_head=True,embeddings=True) or for neither")
        if target.place != "block":
            raise UserError(f"{start}ask for neither of lm_head and embeddings")
        raise UserError(f"{start}leave it alone with exclude={plain_name(target.module_name)}")


def _ends(inner: Any) -> set[str]:
    """Names of the weights of the embedding and of the output layer."""
    ends = (inner.get_input_embeddings(), inner.get_output_embeddings())
    modules = [innermost(module) for module in ends if module is not None]
    return {
        f"{name}.weight"
        for name, module in inner.named_modules(remove_duplicate=False)
        if any(module is end for end in modules)
    }
