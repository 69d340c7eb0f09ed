"""transformers' own quantizers: each a config that is handed to the loader."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends.fields import LibraryQuantizer

__all__ = ["BitsAndBytes", "Fp8", "OnLoadStep", "Quanto", "TorchAo"]


class OnLoadStep(LibraryQuantizer):
    """A step that transformers carries out while it loads the model. `options` go to its config."""

    backend: ClassVar[str] = "transformers"

    @abstractmethod
    def config(self, skip: list[str], device: str) -> Any:
        """Transformers' config of this step.

        Args:
            skip: Names of modules to leave alone.
            device: Where the model is to be.

        Raises:
            UserError: If it can't work on this device; before any load.
        """

    @property
    def measured_group(self) -> int | None:
        """None: the library decides."""
        return None

    def breaches(self, weight: Any) -> tuple[int, int]:
        """(0, 0): the libraries pack, and what they hold is read by the readers of their forms."""
        return 0, 0

    def made(self, build: Any, **arguments: Any) -> Any:
        """The config, or one line if the library does not take these arguments; `options` override."""
        try:
            return build(**(arguments | self.options))
        except Exception as error:
            raise UserError(
                f"{self.method}: transformers takes no such config: {' '.join(str(error).split())}"
            ) from None


class BitsAndBytes(OnLoadStep):
    """LLM.int8 (8 bits) or NF4 and FP4 (4 bits). Options: those of BitsAndBytesConfig."""

    extra: ClassVar[str | None] = "bitsandbytes"
    modules: ClassVar[tuple[str, ...]] = ("bitsandbytes",)
    bits_allowed: ClassVar[tuple[int, ...]] = (4, 8)
    default_group: ClassVar[int] = 64

    method: Literal["bitsandbytes"] = "bitsandbytes"
    values: Literal["nf4", "fp4"] | None = None
    """The 16 values of 4 bits: nf4 (for normal weights, the default) or fp4. Not for 8 bits."""

    def config(self, skip: list[str], device: str) -> Any:
        """A BitsAndBytesConfig."""
        from transformers import BitsAndBytesConfig

        if self.bits == 8 and self.values is not None:
            raise UserError(f"bitsandbytes: got values={self.values} with bits=8, which has none; remove it")
        if "group_size" in self.model_fields_set or not self.symmetric or self.granularity != "group":
            raise UserError("bitsandbytes has blocks of its own: remove group_size, granularity and symmetric")
        if self.bits == 8:
            return self.made(BitsAndBytesConfig, load_in_8bit=True, llm_int8_skip_modules=skip)
        return self.made(
            BitsAndBytesConfig,
            load_in_4bit=True,
            bnb_4bit_quant_type=self.values or "nf4",
            llm_int8_skip_modules=skip,
        )


class TorchAo(OnLoadStep):
    """Whole numbers of torchao, in groups or rows, weights only."""

    extra: ClassVar[str | None] = "torchao"
    modules: ClassVar[tuple[str, ...]] = ("torchao",)

    method: Literal["torchao"] = "torchao"

    @property
    def measured_group(self) -> int | None:
        """Columns that share a scale, -1 for a row."""
        return self.group_size or -1

    def config(self, skip: list[str], device: str) -> Any:
        """A TorchAoConfig of IntxWeightOnlyConfig."""
        import torch
        from torchao.quantization import IntxWeightOnlyConfig
        from torchao.quantization.granularity import PerAxis, PerGroup
        from torchao.quantization.quant_primitives import MappingType
        from transformers import TorchAoConfig

        kind = IntxWeightOnlyConfig(
            weight_dtype=getattr(torch, f"int{self.bits}"),
            granularity=PerAxis(0) if self.granularity == "channel" else PerGroup(self.group_size),
            mapping_type=MappingType.SYMMETRIC if self.symmetric else MappingType.ASYMMETRIC,
        )
        return self.made(TorchAoConfig, quant_type=kind, modules_to_not_convert=skip)


class Quanto(OnLoadStep):
    """optimum-quanto: whole numbers, weights only."""

    extra: ClassVar[str | None] = "quanto"
    modules: ClassVar[tuple[str, ...]] = ("optimum.quanto",)
    bits_allowed: ClassVar[tuple[int, ...]] = (2, 4, 8)

    method: Literal["quanto"] = "quanto"

    def config(self, skip: list[str], device: str) -> Any:
        """A QuantoConfig."""
        from transformers import QuantoConfig

        if "group_size" in self.model_fields_set or not self.symmetric or self.granularity != "group":
            raise UserError("quanto has groups of its own: remove group_size, granularity and symmetric")
        return self.made(QuantoConfig, weights=f"int{self.bits}", modules_to_not_convert=skip)


class Fp8(OnLoadStep):
    """FP8 (e4m3) in blocks of 128 x 128, inputs by token. On GPUs of compute capability 8.9 and later."""

    bits_allowed: ClassVar[tuple[int, ...]] = (8,)

    method: Literal["fp8"] = "fp8"
    bits: int = 8

    def config(self, skip: list[str], device: str) -> Any:
        """A FineGrainedFP8Config."""
        import torch
        from transformers import FineGrainedFP8Config

        if not device.startswith("cuda") or not torch.cuda.is_available():
            raise UserError(
                "fp8: transformers quantizes to FP8 on a GPU alone, and dequantizes elsewhere; on a CPU use "
                "method=llmcompressor with the scheme FP8_DYNAMIC, which is emulated"
            )
        major, minor = torch.cuda.get_device_capability()
        if (major, minor) < (8, 9):
            raise UserError(
                f"fp8 needs a GPU of compute capability 8.9 or later, this one has {major}.{minor}; transformers would "
                "give bfloat16 weights in silence"
            )
        return self.made(FineGrainedFP8Config, modules_to_not_convert=skip)
