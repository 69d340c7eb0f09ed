"""The methods of llm-compressor that have names of their own here; every other goes by `llmcompressor`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from lm_eval_ext.models.backends.fields import LibraryPruner, LibraryQuantizer
from lm_eval_ext.models.backends.llmcompressor.base import LlmCompressorStep
from lm_eval_ext.models.backends.llmcompressor.modifiers import AWQ, Modifier

__all__ = ["LlmcAwq", "LlmcGptq", "LlmcRtn", "LlmcSparseGpt", "LlmcWanda", "SmoothQuant", "SpinQuant"]


class _Quantizer(LlmCompressorStep, LibraryQuantizer):
    """Weights in whole numbers, and inputs too where `activation_bits` says so."""

    activation_bits: Literal[4, 8] | None = None
    """Quantize the inputs of each matrix too, by token at each pass; None leaves them as they are."""

    def _groups(self) -> dict[str, Any]:
        """The scheme in the words of compressed-tensors."""
        weights: dict[str, Any] = {"num_bits": self.bits, "type": "int", "symmetric": self.symmetric}
        weights |= (
            {"strategy": "channel"}
            if self.granularity == "channel"
            else {"strategy": "group", "group_size": self.group_size}
        )
        group: dict[str, Any] = {"targets": ["Linear"], "weights": weights}
        if self.activation_bits is not None:
            group["input_activations"] = {
                "num_bits": self.activation_bits,
                "type": "int",
                "symmetric": True,
                "strategy": "token",
                "dynamic": True,
            }
        return {"config_groups": {"group_0": group}}


class LlmcRtn(_Quantizer):
    """Round to nearest by llm-compressor: W8A8, W8A16, W4A16, W3A16 and the like; no data."""

    method: Literal["llmc_rtn"] = "llmc_rtn"

    def modifier_list(self) -> tuple[Modifier, ...]:
        """One QuantizationModifier."""
        return (("QuantizationModifier", self._groups() | self.own()),)


class LlmcGptq(_Quantizer):
    """GPTQ by llm-compressor. Options: block_size, dampening_frac, actorder."""

    needs_calibration: ClassVar[bool] = True

    method: Literal["llmc_gptq"] = "llmc_gptq"

    def modifier_list(self) -> tuple[Modifier, ...]:
        """One GPTQModifier."""
        return (("GPTQModifier", self._groups() | self.own()),)


class LlmcAwq(_Quantizer):
    """AWQ by llm-compressor. Options: duo_scaling, n_grid, mappings."""

    needs_calibration: ClassVar[bool] = True

    method: Literal["llmc_awq"] = "llmc_awq"
    symmetric: bool = False
    """No zero point; AWQ as published has one."""

    def modifier_list(self) -> tuple[Modifier, ...]:
        """An AWQModifier, which scales, and a QuantizationModifier, which rounds."""
        return (AWQ, self.own()), ("QuantizationModifier", self._groups())


class _Transform(LlmCompressorStep):
    """Changes weights so that the model stays the same and quantizes better."""

    kind: ClassVar[Literal["prune", "quantize"]] = "quantize"
    transforms: ClassVar[bool] = True
    needs_calibration: ClassVar[bool] = True


class SmoothQuant(_Transform):
    """Move the range of a matrix' inputs into its weights. Options: mappings, ignore."""

    method: Literal["smoothquant"] = "smoothquant"
    strength: float = Field(default=0.5, ge=0, le=1)
    """0 leaves the weights as they are, 1 moves all of the inputs' range into them."""

    @property
    def level(self) -> str:
        """Its strength: '-0.8'."""
        return f"-{self.strength:g}"

    @property
    def level_keys(self) -> set[str]:
        """The keys that `level` tells of."""
        return {"strength"}

    def modifier_list(self) -> tuple[Modifier, ...]:
        """One SmoothQuantModifier."""
        return (("SmoothQuantModifier", {"smoothing_strength": self.strength} | self.own()),)


class SpinQuant(_Transform):
    """Rotate the model by Hadamard matrices that are merged into its weights (R1 and R2). Options: transform_type."""

    needs_calibration: ClassVar[bool] = False

    method: Literal["spinquant"] = "spinquant"

    def modifier_list(self) -> tuple[Modifier, ...]:
        """One SpinQuantModifier."""
        return (("SpinQuantModifier", {"rotations": ["R1", "R2"]} | self.own()),)


class _Pruner(LlmCompressorStep, LibraryPruner):
    """Zero weights by calibration text. Options: sparsity_profile, owl_m, owl_lmbda."""

    needs_calibration: ClassVar[bool] = True

    def _amount(self) -> dict[str, Any]:
        """How much, in the words of llm-compressor, whose N:M counts what is pruned."""
        if self.groups is None:
            return {"sparsity": self.sparsity}
        kept, size = self.groups
        return {"sparsity": self.asked_sparsity, "mask_structure": f"{size - kept}:{size}"}


class LlmcSparseGpt(_Pruner):
    """SparseGPT by llm-compressor. Options: block_size, dampening_frac, preserve_sparsity_mask, and OWL's."""

    method: Literal["sparsegpt"] = "sparsegpt"

    def modifier_list(self) -> tuple[Modifier, ...]:
        """One SparseGPTModifier."""
        return (("SparseGPTModifier", self._amount() | self.own()),)


class LlmcWanda(_Pruner):
    """Wanda by llm-compressor, with OWL's profile of sparsities on request."""

    method: Literal["llmc_wanda"] = "llmc_wanda"

    def modifier_list(self) -> tuple[Modifier, ...]:
        """One WandaPruningModifier."""
        return (("WandaPruningModifier", self._amount() | self.own()),)
