"""Which matrices of a model are compressed: found by structure, never by a list of names.

A target is a linear map inside a decoder block: nn.Linear, GPT-2's Conv1D (stored transposed), one expert of a
fused expert tensor. Left alone, and said so: routers (`routers`), adapters and inactive copies (`wrappers`),
coefficients and convolutions (`candidates`), what the recipe excludes (`excludes`), every linear map outside the
blocks. Refused: what can't be compressed in place (`refusals`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.parts.decoder import unwrap
from lm_eval_ext.models.targets.candidates import Search
from lm_eval_ext.models.targets.excludes import refuse_idle, split_excluded
from lm_eval_ext.models.targets.matrix import Skip
from lm_eval_ext.models.targets.refusals import refuse_hidden_ties, refuse_unusable
from lm_eval_ext.models.targets.scope import Scope
from lm_eval_ext.models.targets.target import Target

__all__ = ["decoder_matrices", "find_targets"]


@dataclass(frozen=True)
class _Blocks:
    """The scope of all that lies in the decoder blocks."""

    method: str = "none"
    exclude: tuple[str, ...] = ()
    targets_embeddings: bool = False
    targets_lm_head: bool = False


def find_targets(model: nn.Module, step: Scope) -> tuple[list[Target], list[Skip]]:
    """List what a step compresses and what it leaves alone.

    Runs the model once on a few tokens, to see which matrices route.

    Returns:
        Targets in the order of the model, and the skipped matrices with their reasons.

    Raises:
        UserError: If nothing matches, an exclude pattern removes no target, a weight is on the meta device, offloaded,
            sharded or already quantized, the layout of an expert tensor is unknown, routers can't be told from other
            matrices, or a matrix shares storage with one that is not asked for.
    """
    inner = unwrap(model)
    search = Search(inner, step)
    groups = _grouped(search.candidates())
    out, used = split_excluded(groups, step.exclude)
    refuse_idle(inner, step.exclude, used, [group[0] for group in groups], search.skips)
    found = []
    for group, excluded in zip(groups, out, strict=True):
        if excluded:
            search.skip_excluded(group)
            continue
        refuse_unusable(group[0])
        search.refuse_unknown(group[0])
        found.append(replace(group[0], aliases=tuple(other.info.name for other in group[1:])))
    if not found:
        raise UserError(f"method {step.method} matched no weight matrix of {type(inner).__name__}; nothing to compress")
    refuse_hidden_ties(inner, found, search.inactive)
    return found, search.skips


def decoder_matrices(model: nn.Module) -> list[Target]:
    """Every matrix of the decoder blocks that a method could compress, whatever a recipe leaves alone; each once.

    Raises:
        UserError: If there are no decoder blocks, or the model is quantized already.
    """
    return [group[0] for group in _grouped(Search(unwrap(model), _Blocks()).candidates())]


def _grouped(candidates: Iterable[Target]) -> list[list[Target]]:
    """Candidates that are one matrix together: the same memory, or the same parameter where there is no memory."""
    groups: dict[tuple[object, ...], list[Target]] = {}
    for candidate in candidates:
        weight = getattr(candidate.module, candidate.parameter)
        key: tuple[object, ...] = (id(weight), candidate.expert)
        if not weight.is_meta and type(weight.data) is Tensor:
            view = candidate.view()
            key = (view.data_ptr(), view.numel())
        groups.setdefault(key, []).append(candidate)
    return list(groups.values())
