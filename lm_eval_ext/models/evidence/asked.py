"""Packed matrices held against what was asked: read in their format, one by one, before the first forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from lm_eval_ext.models.evidence.claim import Claim
from lm_eval_ext.models.formats.form import Came, Form
from lm_eval_ext.models.formats.matrix import PackedMatrix
from lm_eval_ext.models.parts.decoder import decoder_blocks
from lm_eval_ext.models.recipe.recipe import Recipe
from lm_eval_ext.models.recipe.step import Step
from lm_eval_ext.models.targets.excludes import named_by

__all__ = ["Held", "hold"]

# A matrix with fewer inputs or outputs than this holds coefficients, not features.
_COEFFICIENTS = 8
# A share found may stray from the one asked by this: shares of rows are rounded.
_EXTRA_ZEROS = 0.005


@dataclass(kw_only=True)
class Held:
    """What the packed matrices of a model show of a recipe."""

    records: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Where they contradict what was asked."""
    doubts: list[str] = field(default_factory=list)
    """What could not be told."""
    sparsity: float | None = None
    bits: float | None = None


def hold(inner: Any, recipe: Recipe, claim: Claim, came: Came, matrices: Sequence[PackedMatrix], backend: str) -> Held:
    """Hold every packed matrix, and every one that stayed, against the steps of a recipe.

    Args:
        inner: The model, before its first forward pass.
        recipe: What was asked.
        claim: What the backend says that it left alone.
        came: What reading the packed matrices told.
        matrices: These, for what only their values tell (N:M).
        backend: Its name, for reasons.
    """
    held = Held(doubts=list(came.doubts))
    start = f"{decoder_blocks(inner)[0]}."
    forms = {form.name: form for form in came.forms}
    stayed = _stayed(inner, start, forms)
    experts = _experts(inner, start)
    for place, step in enumerate(recipe.steps):
        later = recipe.steps[place + 1 :]
        if later and getattr(step, "transforms", False):
            continue
        lenient = any(getattr(other, "allow_regrowth", False) for other in later)
        meant = {n: f for n, f in forms.items() if n.startswith(start) or step.targets_lm_head}
        _stray(held, step, set(forms) - set(meant), stayed, claim, backend)
        if step.asked_bits is not None:
            held.faults += _wrong(step, list(meant.values()), came)
        if step.asked_sparsity is not None:
            _pruned(held, step, list(meant.values()), matrices, lenient=lenient)
        if step.asked_bits is None and step.asked_sparsity is None:
            held.doubts.append(f"{step.method} says neither a share of zeros nor bits, so there is nothing to measure")
        held.records += [_record(step, form) for form in meant.values()]
        _counted(held, step, experts)
    asked = [step.asked_bits for step in recipe.steps if step.asked_bits is not None]
    held.bits = min(asked, default=None)
    return held


def _stayed(inner: Any, start: str, forms: dict[str, Form]) -> dict[str, tuple[int, ...]]:
    """Linear maps of the blocks that hold plain numbers still, with their shapes."""
    return {
        f"{name}.weight": tuple(module.weight.shape)
        for name, module in inner.named_modules()
        if name.startswith(start)
        and isinstance(module, (nn.Linear, Conv1D))
        and module._parameters.get("weight") is not None
        and f"{name}.weight" not in forms
    }


def _experts(inner: Any, start: str) -> dict[str, Tensor]:
    """Experts that lie in one tensor, each as [outputs, inputs]: loaders unpack them."""
    found: dict[str, Tensor] = {}
    for name, module in inner.named_modules():
        for key, value in module.named_parameters(recurse=False):
            if name.startswith(start) and value.ndim == 3:
                turned = value.data.transpose(1, 2) if getattr(module, "is_transposed", False) else value.data
                found |= {f"{name}.{key}[{index}]": matrix for index, matrix in enumerate(turned)}
    return found


def _counted(held: Held, step: Step, experts: dict[str, Tensor]) -> None:
    """Count the values of experts, which are plain numbers when they are loaded."""
    if not experts:
        return
    if getattr(step, "activation_bits", None) is not None:
        held.doubts.append(f"{len(experts)} experts were unpacked on load, and their inputs are not rounded")
        return
    broken, uncounted = [], []
    for name, weight in experts.items():
        groups, of = step.breaches(weight)
        zeros = int((weight == 0).sum())
        broken += [name] if groups else []
        uncounted += [] if of or step.asked_bits is None else [name]
        record = {
            "name": name,
            "shape": list(weight.shape),
            "method": step.method,
            "finite": bool(weight.isfinite().all()),
            "zeros": zeros,
            "achieved_sparsity": zeros / weight.numel(),
            "bytes": weight.numel() * weight.element_size(),
            "groups": of,
            "broken_groups": groups,
        }
        asked = {"asked_sparsity": step.asked_sparsity, "asked_bits": step.asked_bits}
        held.records.append(record | {key: value for key, value in asked.items() if value is not None})
    if uncounted:
        held.doubts.append(f"{len(uncounted)} experts were unpacked on load and can't be counted ({_named(uncounted)})")
    if broken:
        form = f"{step.method}{step.level}"
        held.faults.append(f"{len(broken)} experts don't have the form of {form} ({_named(broken)})")


def _stray(
    held: Held,
    step: Step,
    outside: set[str],
    stayed: dict[str, tuple[int, ...]],
    claim: Claim,
    backend: str,
) -> None:
    """What is packed and should not be, and what stayed and should not have."""
    if outside:
        held.faults.append(f"{_named(sorted(outside))} is packed, which {step.method} was not asked for")
    left = []
    for name, shape in stayed.items():
        if named_by(name.removesuffix(".weight"), step.exclude):
            reason = "excluded by the recipe"
        elif name in claim.skipped:
            reason = f"{backend}: {claim.skipped[name]}"
        elif min(shape) < _COEFFICIENTS:
            reason = f"coefficients ({shape[0]} x {shape[1]})"
        else:
            left.append(name)
            continue
        held.skipped.append({"name": name, "reason": reason, "method": step.method})
    if left and step.asked_bits is not None:
        held.faults.append(f"{len(left)} matrices stayed as they were ({_named(left)})")


def _wrong(step: Step, forms: Sequence[Form], came: Came) -> list[str]:
    """Where packed matrices have other bits, groups or inputs than were asked, or hold what is no number."""
    faults = [f"{form.name} has numbers that are not finite" for form in forms if not form.finite]
    if not forms:
        return [f"no matrix is packed, {step.method}{step.level} was asked"]
    bits = [form for form in forms if form.bits != step.asked_bits]
    if bits:
        names = _named([form.name for form in bits])
        faults.append(f"{len(bits)} matrices have {bits[0].bits:g} bits, asked {step.asked_bits:g} ({names})")
    if (size := getattr(step, "measured_group", None)) is not None:
        other = [f for f in forms if (f.group_size or f.shape[1]) != (f.shape[1] if size < 0 else size)]
        if other:
            names = _named([form.name for form in other])
            said = "a row" if size < 0 else str(size)
            faults.append(f"{len(other)} matrices have groups of {other[0].group_size}, asked {said} ({names})")
    asked, found = getattr(step, "activation_bits", None), came.facts.get("activation_bits")
    if asked is not None and found != asked:
        faults.append(f"inputs are rounded to {'none' if found is None else f'{found:g}'} bits, asked {asked:g}")
    return faults


def _pruned(held: Held, step: Step, forms: Sequence[Form], matrices: Sequence[PackedMatrix], *, lenient: bool) -> None:
    """The share of zeros that is left, against the one asked."""
    asked = step.asked_sparsity
    assert asked is not None
    numel, rows = sum(f.shape[0] * f.shape[1] for f in forms), sum(f.shape[0] for f in forms)
    found = sum(form.zeros for form in forms)
    share = found / numel if numel else 0.0
    held.sparsity = asked if abs(share - asked) < _EXTRA_ZEROS else share
    if lenient:
        return
    if found < asked * numel - rows:
        held.faults.append(
            f"{share:.4%} of the weights are zeros still, asked {asked:.4%}; allow_regrowth=True accepts it"
        )
    names = {form.name for form in forms}
    broken = [m.name for m in matrices if m.name in names and step.breaches(m.read().values)[0]]
    if broken:
        form = f"{step.method}{step.level}"
        held.faults.append(f"{len(broken)} matrices don't have the form of {form} ({_named(broken)})")


def _record(step: Step, form: Form) -> dict[str, Any]:
    asked = {"asked_sparsity": step.asked_sparsity, "asked_bits": step.asked_bits}
    return form.as_dict() | {"method": step.method, "format": form.method} | {k: v for k, v in asked.items() if v}


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
