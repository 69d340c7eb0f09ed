"""The methods of GPTQModel: GPTQ, AWQ, and round to nearest in GPTQ's format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from lm_eval_ext.models.backends.fields import LibraryQuantizer
from lm_eval_ext.models.backends.interpreter import OWN_OPTIONS, InterpreterStep

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Awq", "Gptq", "GptqModelRtn", "GptqModelStep"]


class GptqModelStep(InterpreterStep, LibraryQuantizer):
    """A step that GPTQModel carries out. `options` go to its config, as the library names them."""

    backend: ClassVar[str] = "gptqmodel"
    extra: ClassVar[str | None] = "gptqmodel"
    modules: ClassVar[tuple[str, ...]] = ("gptqmodel",)
    bits_allowed: ClassVar[tuple[int, ...]] = (2, 3, 4, 8)

    checkpoint: Literal["packed", "dequantized"] = "packed"
    """What is loaded and scored: the packed checkpoint, through transformers and GPTQModel's kernels; or plain weights
    with the same values, which every device and dtype takes."""

    def own(self) -> dict[str, Any]:
        """The options that belong to the library's config."""
        return {key: value for key, value in self.options.items() if key not in OWN_OPTIONS}

    def check_installed(self) -> None:
        """As the base does; a packed checkpoint is loaded here, whichever interpreter made it."""
        super().check_installed()
        if self.checkpoint == "packed":
            from lm_eval_ext.errors import require_extra

            what = f"method {self.method} with checkpoint=packed (checkpoint=dequantized needs no library here)"
            require_extra(("gptqmodel", "optimum"), "gptqmodel", what)

    def breaches(self, weight: Tensor) -> tuple[int, int]:
        """As of all quantizers; (0, 0) for desc_act, whose groups are no neighbours."""
        return (0, 0) if self.options.get("desc_act") and self.group_size else super().breaches(weight)


class Gptq(GptqModelStep):
    """GPTQ. Options: desc_act, damp_percent, mse, act_group_aware, true_sequential and the library's others."""

    needs_calibration: ClassVar[bool] = True

    method: Literal["gptq"] = "gptq"


class Awq(GptqModelStep):
    """AWQ in four bits."""

    needs_calibration: ClassVar[bool] = True
    bits_allowed: ClassVar[tuple[int, ...]] = (4,)

    method: Literal["awq"] = "awq"
    symmetric: bool = False
    """No zero point; AWQ as published has one."""


class GptqModelRtn(GptqModelStep):
    """Round to nearest, saved in GPTQ's format; no data."""

    method: Literal["gptqmodel_rtn"] = "gptqmodel_rtn"
