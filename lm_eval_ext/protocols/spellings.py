"""In which spellings a letter can follow a prompt as one token: with a space before it, and without.

Which of them a model prefers depends on how the prompt ends and on how its tokenizer cuts words, so both are scored.
lm_eval takes continuations as text and cuts prompt and continuation together: what would run into the prompt's last
token, or is the same token as another spelling, is left out here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from lm_eval_ext.errors import UserError
from lm_eval_ext.protocols.asking import tokenizer_of
from lm_eval_ext.protocols.tokens import TokenCounter

__all__ = ["Spellings", "Tokens"]

_PREFIXES = (" ", "")
_NAMES = ("tokenizer", "pretrained", "model")
_OPTIONS = ("backend", "gguf_file", "revision", "subfolder", "trust_remote_code", "use_fast_tokenizer", "add_bos_token")
_KEY = 16
"""Characters at the end of a prompt by which it is remembered: what stands before cannot change the cut behind them."""


class Tokens:
    """What lm_eval's models make of a prompt and its continuation."""

    def __init__(self, encode: Callable[[str], list[int]], *, apart: bool = False) -> None:
        """Take a tokenizer.

        Args:
            encode: Text to tokens. What it puts behind every text (an end token) is taken off again here.
            apart: Whether the continuation is cut alone, as for encoder-decoder models.
        """
        self._encode, self._apart = encode, apart
        first, second = encode("A"), encode("B")
        same = [a == b for a, b in zip(reversed(first), reversed(second), strict=False)]
        self._added = same.index(False) if False in same else 0

    @classmethod
    def of_model(cls, model: Any) -> Tokens | None:
        """Those of one of lm_eval's models; None if it does not say."""
        if not callable(getattr(model, "tok_encode", None)) or tokenizer_of(model) is None:
            return None
        if getattr(model, "backend", "causal") == "seq2seq":
            return cls(lambda text: list(model.tok_encode(text, add_special_tokens=False)), apart=True)
        return cls(lambda text: list(model.tok_encode(text)))

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, Any]) -> Tokens | None:
        """Those of the model that a run's arguments name; None if they name none that can be loaded."""
        if metadata.get("tokenizer_backend") in ("tiktoken", "remote", "None", "none"):
            return None
        key = next((key for key in _NAMES if metadata.get(key)), None)
        if key is None:
            return None
        wanted = {name: metadata[name] for name in _OPTIONS if isinstance(metadata.get(name), str | bool)}
        wanted |= {"pretrained": metadata.get("pretrained")}
        if key != "pretrained":
            wanted["tokenizer"] = metadata[key]
        plain = all(isinstance(value, str | bool | None) for value in wanted.values())
        # What is loaded by name is kept; an object would be kept alive with it.
        return (_load if plain else _load.__wrapped__)(tuple(wanted.items()))

    def behind(self, context: str, continuation: str) -> tuple[int, ...]:
        """The tokens that lm_eval scores; () where the continuation runs into the prompt's last token."""
        if self._apart:
            moved = context[len(context.rstrip()) :]
            return tuple(self._cut(moved + continuation))
        start, whole = self._cut(context.rstrip()), self._cut(context + continuation)
        return tuple(whole[len(start) :]) if whole[: len(start)] == start else ()

    def _cut(self, text: str) -> list[int]:
        ids = self._encode(text)
        return ids[: len(ids) - self._added]


class Spellings:
    """Finds the spellings to score, once for each end of a prompt."""

    def __init__(self, tokens: Tokens | None, letters: Sequence[str]) -> None:
        """Prepare.

        Args:
            tokens: The model's tokenizer; None if it is not known, so that nothing but lm_eval's own spelling is safe.
            letters: The letters.
        """
        self._tokens, self._letters = tokens, tuple(letters)
        self._known: dict[tuple[str, str], list[str]] = {}

    def before(self, context: str, own: str) -> list[str]:
        """What may stand before a letter.

        Args:
            context: The prompt.
            own: What lm_eval puts there.

        Returns:
            lm_eval's own, where it can be scored, and " " or "" where every letter with it is one token more than the
            prompt and other tokens than those before. White space at the prompt's end is scored with each.

        Raises:
            UserError: If no spelling can be scored.
        """
        if self._tokens is None:
            return [own]
        key = (context[-_KEY:], own)
        if key not in self._known:
            self._known[key] = self._found(self._tokens, context, own)
        return self._known[key]

    def _found(self, tokens: Tokens, context: str, own: str) -> list[str]:
        space = tokens.behind(context, "") if context != context.rstrip() else ()
        found: dict[str, list[tuple[int, ...]]] = {}
        for prefix in dict.fromkeys((own, *_PREFIXES)):
            ids = [tokens.behind(context, prefix + letter) for letter in self._letters]
            # One token, or two where the prompt's own white space is the first of them.
            single = all(len(i) == 1 or (len(i) == len(space) + 1 and i[: len(space)] == space) for i in ids)
            if all(ids) and (single or prefix == own) and ids not in found.values():
                found[prefix] = ids
        if not found:
            raise UserError(
                f"the letters can't be scored behind a prompt that ends in {context[-_KEY:]!r}: this model's tokenizer "
                "joins them with its last character; use the text protocol"
            )
        return list(found)


@cache
def _load(options: tuple[tuple[str, Any], ...]) -> Tokens | None:
    try:
        counter = TokenCounter.from_metadata(dict(options), "the letters protocol")
    except UserError:
        return None
    return Tokens(counter.encode, apart=counter.encoder_decoder)
