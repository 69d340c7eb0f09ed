"""What the forms of many matrices come to: a label, bits, a share of zeros, sums over the decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.formats.form import Came, Form
from lm_eval_ext.models.parts.decoder import decoder_blocks

__all__ = ["bits_of", "label_of", "sparsity_of", "whole"]

# Rounding alone makes zeros: at most these shares of weights that no one pruned, by the width of a code.
_ROUNDED = {3: 0.6, 4: 0.35, 5: 0.25, 6: 0.15, 8: 0.08}


def label_of(came: Came, inner: nn.Module) -> str:
    """A short name: `gptq-4(group_size=128)`, `mlx-4.6(mixed=3+6)`, `sparse-50`.

    Widths and settings are those of the decoder's matrices; a setting is named where it is the same in all of them.
    """
    forms = _decoder(came.forms, inner)
    share = sparsity_of(came, inner)
    if came.method == "sparse":
        pattern = came.facts.get("pattern")
        return f"sparse-{100 * (share or 0):.0f}" + (f"(pattern={pattern})" if pattern else "")
    widths = sorted({form.bits for form in forms})
    own = []
    if len(widths) > 1:
        own.append("mixed=" + "+".join(f"{width:g}" for width in widths))
    sizes = {form.group_size for form in forms if form.group_size is not None}
    # A row that is no longer than a group is one.
    if len(sizes) == 1 and all(form.group_size or form.shape[1] <= max(sizes) for form in forms):
        own.append(f"group_size={sizes.pop()}")
    kinds = {form.kind for form in forms} - {"int"}
    if len(kinds) == 1 and came.method != "few_levels":
        own.append(f"kind={kinds.pop()}")
    if came.method in ("gptq", "compressed_tensors") and {form.symmetric for form in forms} == {False}:
        own.append("symmetric=False")
    if (activations := came.facts.get("activation_bits")) is not None:
        own.append(f"activation_bits={activations:g}")
    if share is not None:
        own.append(f"sparsity={share:.2f}")
    return f"{came.method}-{bits_of(came, inner):.3g}" + (f"({','.join(own)})" if own else "")


def bits_of(came: Came, inner: nn.Module) -> float:
    """Mean width of a code over the quantized matrices of the decoder, each weighed by its size."""
    forms = _decoder(came.forms, inner)
    return float(sum(form.bits * _numel(form) for form in forms) / sum(map(_numel, forms)))


def sparsity_of(came: Came, inner: nn.Module) -> float | None:
    """Share of zeros in the decoder's matrices where more were made than rounding makes; None otherwise.

    Rounding a bell-shaped group to b bits makes up to 45 % zeros at 3 bits, 20 % at 4, 2 % at 8. Beyond 60, 35, 25, 15
    and 8 % at 3, 4, 5, 6 and 8 bits somebody pruned. At 2 bits that can't be told, nor for floats of 4 bits.
    """
    forms = _decoder(came.forms, inner)
    share = sum(form.zeros for form in forms) / sum(map(_numel, forms))
    if came.method == "sparse":
        return share
    limits = [_ROUNDED.get(int(form.bits)) if form.kind != "fp4" else None for form in forms]
    told = [limit for limit in limits if limit is not None]
    return share if len(told) == len(limits) and told and share > max(told) else None


def whole(inner: nn.Module, came: Came) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Sums over all matrices of the decoder, and every matrix of the model that stayed as it was.

    Returns:
        decoder_matrices, decoder_parameters, decoder_sparsity and decoder_bits_per_weight (None for `sparse`), as
        `evidence.whole.decoder_totals` has them, a matrix that stayed with the bits of its dtype; and one record for
        each that stayed: name, reason ("stays bfloat16"), method.
    """
    start = _start(inner)
    known = {form.name for form in came.forms}
    left: list[dict[str, str]] = []
    forms = _decoder(came.forms, inner)
    count, parameters = len(forms), sum(map(_numel, forms))
    seen: set[int] = {id(p) for name, p in inner.named_parameters(remove_duplicate=False) if name in known}
    zeros, bits = sum(form.zeros for form in forms), sum(form.bits_per_weight * _numel(form) for form in forms)
    for name, module in inner.named_modules(remove_duplicate=False):
        weight = module._parameters.get("weight") if isinstance(module, (nn.Linear, Conv1D, nn.Embedding)) else None
        full = f"{name}.weight"
        if weight is None or id(weight) in seen or not weight.is_floating_point() or weight.dtype.itemsize < 2:
            continue
        seen.add(id(weight))
        left.append({"name": full, "reason": f"stays {_short(weight.dtype)}", "method": came.method})
        if full.startswith(start) and not isinstance(module, nn.Embedding):
            count, parameters = count + 1, parameters + weight.numel()
            zeros += int((weight == 0).sum())
            bits += 8 * weight.element_size() * weight.numel()
    sums = {
        "decoder_matrices": count,
        "decoder_parameters": parameters,
        "decoder_sparsity": zeros / parameters,
        "decoder_bits_per_weight": None if came.method == "sparse" else bits / parameters,
    }
    return sums, left


def _decoder(forms: Sequence[Form], inner: nn.Module) -> Sequence[Form]:
    """The forms that lie in decoder blocks; all of them where none does."""
    start = _start(inner)
    return [form for form in forms if form.name.startswith(start)] or forms


def _start(inner: nn.Module) -> str:
    try:
        return f"{decoder_blocks(inner)[0]}."
    except UserError:
        return ""


def _numel(form: Form) -> int:
    return form.shape[0] * form.shape[1]


def _short(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")
