"""`method=llmcompressor`: any of llm-compressor's recipes or modifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import model_validator

from lm_eval_ext.models.backends.interpreter import OWN_OPTIONS
from lm_eval_ext.models.backends.llmcompressor.base import LlmCompressorStep
from lm_eval_ext.models.backends.llmcompressor.modifiers import (
    Modifier,
    flat_modifiers,
    pruned_share,
    quantized_weights,
    read_modifiers,
)
from lm_eval_ext.models.native.methods._groups import overfull
from lm_eval_ext.models.native.methods._masks import pattern_breaches

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LlmCompressor"]

_ONESHOT = frozenset({"recipe", "pipeline", "sequential_targets", "tracing_ignore", "moe_calibrate_all_experts"})


class LlmCompressor(LlmCompressorStep):
    """Any recipe of llm-compressor.

    Options: `recipe` (path of its YAML file, or what stands in one), and of its `oneshot`: pipeline,
    sequential_targets, tracing_ignore, moe_calibrate_all_experts. What the modifiers ask for, a share of zeros or bits,
    is held against what was loaded; where they say none the run is unverified.
    """

    kind: ClassVar[Literal["prune", "quantize"]] = "quantize"
    needs_calibration: ClassVar[bool] = True

    method: Literal["llmcompressor"] = "llmcompressor"
    modifiers: tuple[dict[str, Any], ...] = ()
    """Modifiers in order, each {class name: arguments}; instead of options.recipe, or what was read from there."""
    allow_regrowth: bool = False
    """Accept that pruned weights come back; the share that survives is then stated instead of the run being ended."""

    @model_validator(mode="after")
    def _read(self) -> LlmCompressor:
        unknown = sorted(self.options.keys() - _ONESHOT - OWN_OPTIONS)
        if unknown:
            raise ValueError(f"options: {', '.join(unknown)}: expected recipe, python or {', '.join(sorted(_ONESHOT))}")
        recipe = self.options.get("recipe")
        if self.modifiers:
            flat_modifiers(self.modifiers)
        elif recipe is None:
            raise ValueError("needs options.recipe (a path or a mapping) or modifiers (a list)")
        else:
            # Past the frozen check: the log holds what was read, and a copy of it needs the file no more.
            read = tuple({kind: arguments} for kind, arguments in read_modifiers(recipe))
            object.__setattr__(self, "modifiers", read)
        return self

    def modifier_list(self) -> tuple[Modifier, ...]:
        """What was given or read."""
        return flat_modifiers(self.modifiers)

    def oneshot(self) -> dict[str, Any]:
        """Arguments of llm-compressor's `oneshot`."""
        return {k: v for k, v in self.options.items() if k in _ONESHOT - {"recipe"}}

    @property
    def asked_sparsity(self) -> float | None:
        """Share of zeros that the modifiers ask for."""
        return pruned_share(self.modifier_list())[0]

    @property
    def asked_bits(self) -> float | None:
        """Bits that the modifiers ask for."""
        found = quantized_weights(self.modifier_list())
        return None if found is None or found["bits"] is None else float(found["bits"])

    @property
    def measured_group(self) -> int | None:
        """Columns that share a scale in what was packed, -1 for a row; None where the modifiers say no one number."""
        found = quantized_weights(self.modifier_list())
        return None if found is None or found["bits"] is None else found["group_size"] or -1

    def breaches(self, weight: Tensor) -> tuple[int, int]:
        """Groups that have not the form that the modifiers make, and groups looked at."""
        modifiers = self.modifier_list()
        found = quantized_weights(modifiers)
        if found is not None and found["bits"] is not None:
            return overfull(weight, int(found["bits"]), found["group_size"] or weight.shape[1])
        pattern = pruned_share(modifiers)[1]
        return (0, 0) if pattern is None else pattern_breaches(weight, *pattern)
