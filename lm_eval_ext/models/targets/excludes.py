"""Which matrices a recipe's exclude patterns take out: each pattern must take out at least one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from lm_eval_ext.errors import UserError, seen
from lm_eval_ext.models.targets.matrix import Skip, list_matrices
from lm_eval_ext.models.targets.target import Target
from lm_eval_ext.models.targets.wrappers import plain_name

__all__ = ["named_by", "refuse_idle", "split_excluded"]


def split_excluded(groups: Sequence[Sequence[Target]], patterns: Sequence[str]) -> tuple[list[bool], list[bool]]:
    """Hold the patterns against matrices that are given under all of their names.

    Args:
        groups: For each matrix, the targets that are this matrix: one, or several that share storage.
        patterns: Shell patterns of names. A pattern takes out what it fits itself and all that is below a module that
            it fits: `*.self_attn`, `model.layers.0`. It sees the model's own names, without those of a PEFT wrapper;
            one expert of a fused tensor goes by its full name, `....down_proj[3]`.

    Returns:
        For each matrix whether it is taken out, and for each pattern whether it took out anything.
    """
    used = [False] * len(patterns)
    out = []
    for group in groups:
        fits = [any(_fits(target, pattern) for target in group) for pattern in patterns]
        used = [old or new for old, new in zip(used, fits, strict=True)]
        out.append(any(fits))
    return out, used


def _fits(target: Target, pattern: str) -> bool:
    module = plain_name(target.module_name)
    full = plain_name(target.info.name)
    if pattern == full:
        return True
    return named_by(module, (pattern,), target.parameter)


def named_by(module: str, patterns: Sequence[str], parameter: str = "weight") -> bool:
    """Whether one of some shell patterns fits a module's name, the name of what holds it, or that of its weight."""
    parts = module.split(".")
    above = [".".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any(fnmatchcase(name, pattern) for name in (*above, f"{module}.{parameter}") for pattern in patterns)


def refuse_idle(
    inner: nn.Module, patterns: Sequence[str], used: Sequence[bool], targets: Iterable[Target], skips: Iterable[Skip]
) -> None:
    """Refuse a pattern that takes nothing out: its author believes that something is left alone.

    Args:
        inner: The model.
        patterns: The patterns.
        used: Whether each took out a matrix.
        targets: Everything that would be compressed without patterns, for the hint.
        skips: What is left alone whatever the patterns say.

    Raises:
        UserError: Naming the first such pattern, and what it fits: nothing, or what is left alone anyway.
    """
    for pattern in (pattern for pattern, hit in zip(patterns, used, strict=True) if not hit):
        names = {plain_name(name): name for name, _ in (*inner.named_modules(), *inner.named_parameters())}
        fitting = [full for plain, full in names.items() if plain and fnmatchcase(plain, pattern)]
        kind = type(inner).__name__
        if not fitting:
            blocks = [target for target in targets if target.place == "block"]
            first = [target.info for target in blocks if target.block == blocks[0].block]
            # Patterns of other tools: regular expressions, names without what stands before them.
            meant = "*." + pattern.removeprefix("re:").lstrip("^.*").rstrip("$")
            hint = f" Did you mean {seen(meant)}?" if any(fnmatchcase(name, meant) for name in names) else ""
            raise UserError(
                f"exclude={seen(pattern)} matches no module of {kind}.{hint} Matrices of its first block: "
                f"{list_matrices(first)}"
            )
        known = [skip.reason for full in fitting for skip in skips if f"{skip.name}.".startswith(f"{full}.")]
        why = f" ({known[0]})" if known else ""
        raise UserError(
            f"exclude={seen(pattern)} removes no target of {kind}: it matches {fitting[0]}, which is left alone "
            f"anyway{why}; take the pattern out"
        )
