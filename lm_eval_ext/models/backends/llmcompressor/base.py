"""What every step of llm-compressor can be asked: its modifiers, and where it runs."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import model_validator

from lm_eval_ext.models.backends.interpreter import OWN_OPTIONS, InterpreterStep
from lm_eval_ext.models.backends.llmcompressor.modifiers import Modifier

__all__ = ["LlmCompressorStep"]


class LlmCompressorStep(InterpreterStep):
    """A step that llm-compressor carries out. `options` go to its modifier, as the library names them."""

    backend: ClassVar[str] = "llmcompressor"
    extra: ClassVar[str | None] = "llmcompressor"
    modules: ClassVar[tuple[str, ...]] = ("llmcompressor", "compressed_tensors")
    loading: ClassVar[tuple[str, ...]] = ("compressed_tensors",)

    @model_validator(mode="after")
    def _check_embeddings(self) -> LlmCompressorStep:
        if self.embeddings:
            raise ValueError(f"{self.method} compresses no embedding; remove embeddings=True")
        return self

    @abstractmethod
    def modifier_list(self) -> tuple[Modifier, ...]:
        """The modifiers of this step, in the order in which they are applied."""

    def own(self) -> dict[str, Any]:
        """The options that belong to the modifier."""
        return {key: value for key, value in self.options.items() if key not in OWN_OPTIONS}
