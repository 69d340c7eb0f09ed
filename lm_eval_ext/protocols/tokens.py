"""Counting tokens as lm_eval's models do, for measures that are divided by a number of tokens.

lm_eval gives a task's scoring function log-likelihoods but no token counts, so the tokenizer is loaded a
second time here, from the same arguments as the model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lm_eval_ext.errors import UserError, require_extra
from lm_eval_ext.tokens.encoding import Encoding, Joined

__all__ = ["TokenCounter", "TokenSpan"]

_PASSED_ON = ("revision", "trust_remote_code", "subfolder", "add_bos_token")


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """How a continuation is cut into tokens after its prompt."""

    tokens: int
    """Tokens of the continuation itself."""
    whitespace: bool
    """Whether the prompt's trailing white space is scored with it, as tokens of its own, not counted here."""


class TokenCounter:
    """A tokenizer, used as `compressed_hf` uses its own."""

    def __init__(self, tokenizer: Any, add_bos_token: bool | None = None, *, encoder_decoder: bool = False) -> None:
        """`encoder_decoder`: continuations are encoded by themselves, as lm_eval does for such models."""
        self.encoder_decoder = encoder_decoder
        self._encoding = Encoding(tokenizer, add_bos_token)
        self._joined = Joined(self._encoding, apart=encoder_decoder)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], purpose: str) -> TokenCounter:
        """Load the tokenizer that the run's model arguments name.

        Args:
            metadata: What lm_eval hands to tasks: the model arguments and --metadata. `tokenizer` (a name or
                a tokenizer object) wins over `pretrained`; `gguf_file`, `revision`, `trust_remote_code`,
                `subfolder`, `use_fast_tokenizer`, `add_bos_token` mean what they mean to the model.
            purpose: What needs it, to start the message with.

        Returns:
            The counter.

        Raises:
            UserError: If no tokenizer is named, it cannot be loaded, or transformers is not installed.
        """
        named = metadata.get("tokenizer") or metadata.get("pretrained")
        if not named:
            raise UserError(
                f"{purpose} counts tokens, but the run names no tokenizer: neither the model arguments nor "
                "the metadata hold 'tokenizer' or 'pretrained'. With a ready-made model object or a "
                'TaskManager of your own, pass metadata={"tokenizer": NAME}.'
            )
        tokenizer = named if hasattr(named, "encode") and not isinstance(named, str) else None
        if tokenizer is None:
            if not isinstance(named, str):
                named = getattr(named, "name_or_path", named)  # a model object: its tokenizer lies beside it
            tokenizer = _load(str(named), metadata, purpose)
        return cls(tokenizer, metadata.get("add_bos_token"), encoder_decoder=_encoder_decoder(metadata))

    def encode(self, text: str) -> list[int]:
        """Tokens of a text as lm_eval's `hf` model scores a whole document: with all that the tokenizer adds."""
        return self._encoding.prompt(text, closed=True)

    def span(self, context: str, continuation: str) -> TokenSpan:
        """Count a continuation's tokens as lm_eval scores them: those of both texts less those of the first.

        lm_eval moves white space at the end of the prompt into the continuation, so that a chat template's
        last line break is scored with every answer. Where it stays a token of its own it can be told apart.

        Args:
            context: The prompt, as sent.
            continuation: The text scored after it, as sent.

        Returns:
            The count, and whether white space of the prompt is scored beside the counted tokens.
        """
        scored = self._joined.continuation(context, continuation)
        space = self._joined.continuation(context, "") if context[-1:].isspace() else []
        if space and scored[: len(space)] == space:
            return TokenSpan(tokens=len(scored) - len(space), whitespace=True)
        return TokenSpan(tokens=len(scored), whitespace=False)


def _encoder_decoder(metadata: Mapping[str, Any]) -> bool:
    """Whether the run's model is an encoder-decoder; a config that can't be had is for the model to complain of."""
    if metadata.get("backend") in ("causal", "seq2seq"):
        return bool(metadata["backend"] == "seq2seq")
    model = metadata.get("pretrained")
    config = getattr(model, "config", None)
    if isinstance(model, str) and model and not metadata.get("gguf_file"):
        from transformers import AutoConfig

        options = {key: metadata[key] for key in _PASSED_ON[:3] if metadata.get(key) not in (None, "")}
        try:
            config = AutoConfig.from_pretrained(model, **options)
        except Exception:  # API models have a name and no config; transformers fails in many ways
            return False
    return bool(getattr(config, "is_encoder_decoder", False))


def _load(name: str, metadata: Mapping[str, Any], purpose: str) -> Any:
    require_extra(("transformers",), "hf", purpose)
    from transformers import AutoTokenizer

    options = {key: metadata[key] for key in _PASSED_ON if metadata.get(key) not in (None, "")}
    if metadata.get("gguf_file") and not metadata.get("tokenizer"):
        options["gguf_file"] = metadata["gguf_file"]
    else:
        options["use_fast"] = metadata.get("use_fast_tokenizer", True)
    try:
        return AutoTokenizer.from_pretrained(name, **options)
    except Exception as fault:  # transformers fails in many ways; to the user they are one
        reason = f"{type(fault).__name__}: {str(fault).splitlines()[0] if str(fault) else 'no reason given'}"
        raise UserError(
            f"{purpose} counts tokens, but the tokenizer {name!r} cannot be loaded ({reason}). "
            """Name one that can be: --metadata '{"tokenizer": "NAME"}'."""
        ) from None
