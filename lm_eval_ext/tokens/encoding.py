"""Text to token ids: what a tokenizer adds at the ends of a text, and which of it a model should see.

A tokenizer may put special tokens before a text (BOS, [CLS]), behind it (EOS, [SEP]), or both. What comes before is
what the model was trained to begin with. What comes behind an unfinished text ends it: a letter scored there is the
first of another document. An encoder is another matter: T5 was trained with EOS at the end of its input.

This module needs neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval_ext.errors import UserError

__all__ = ["Encoding", "Ends", "Joined", "added_ends"]

# Plain words of several lengths, of which every vocabulary knows some; a text of one token must be among them.
_PROBES = ("a", "the key", "Who kept it? 12")


@dataclass(frozen=True)
class Ends:
    """Special tokens that a tokenizer adds to every text."""

    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()
    stubborn_first: int = 0
    """How many of `first`, from the text outward, come even with add_special_tokens=False."""
    stubborn_last: int = 0
    """How many of `last`, from the text outward, come even then."""


def added_ends(tokenizer: Any) -> Ends:
    """Find what a tokenizer adds, by encoding a few words with and without special tokens.

    Raises:
        UserError: If the two differ in more than their ends, or from one text to another.
    """
    found = {_ends_of(tokenizer, probe) for probe in _PROBES}
    if len(found) > 1:
        raise UserError(f"{_name(tokenizer)} adds other special tokens to one text than to another; use another one")
    return found.pop()


def _ends_of(tokenizer: Any, probe: str) -> Ends:
    bare = _ids(tokenizer, probe, add_special_tokens=False)
    full = _ids(tokenizer, probe)
    start = next((at for at in range(len(full) - len(bare) + 1) if full[at : at + len(bare)] == bare), None)
    if start is None:
        raise UserError(
            f"{_name(tokenizer)} encodes {probe!r} as {full} with special tokens and as {bare} without: what it adds "
            "at the ends can't be told; use another one"
        )
    first, last = full[:start], full[start + len(bare) :]
    special = _special(tokenizer)
    # Some tokenizers add theirs whatever they are asked. A probe holds no special token of its own.
    before = _leading(bare, special)
    after = _leading(bare[::-1], special) if before < len(bare) else 0
    return Ends(
        (*first, *bare[:before]), (*bare[len(bare) - after :], *last), stubborn_first=before, stubborn_last=after
    )


def _leading(ids: Sequence[int], special: Iterable[int]) -> int:
    wanted = set(special)
    return next((at for at, token in enumerate(ids) if token not in wanted), len(ids))


def _special(tokenizer: Any) -> set[int]:
    """Special tokens, without the one for unknown text, which stands for a text's own."""
    ids = set(getattr(tokenizer, "all_special_ids", ()))
    added = getattr(tokenizer, "added_tokens_decoder", None) or {}
    ids |= {number for number, token in added.items() if getattr(token, "special", False)}
    return ids - {getattr(tokenizer, "unk_token_id", None)}


def _ids(tokenizer: Any, text: str, **options: Any) -> list[int]:
    # verbose: it would warn of texts beyond the model's length, which are cut or refused where that matters.
    return list(tokenizer.encode(text, verbose=False, **options))


def _name(tokenizer: Any) -> str:
    return f"tokenizer {getattr(tokenizer, 'name_or_path', '') or type(tokenizer).__name__}"


class Encoding:
    """A tokenizer's ids for a text, with what belongs at each end and nothing twice."""

    def __init__(self, tokenizer: Any, add_bos_token: bool | None = None) -> None:
        """Find out what the tokenizer adds.

        Args:
            tokenizer: A transformers tokenizer.
            add_bos_token: Whether a text begins with special tokens. None does what the tokenizer does; True adds BOS
                where the tokenizer adds nothing; False adds nothing. It says nothing of a text's end.

        Raises:
            UserError: If what the tokenizer adds can't be told, or BOS is asked of one that has none.
        """
        self._tokenizer = tokenizer
        self.ends = added_ends(tokenizer)
        self.first = self.ends.first
        if add_bos_token is False:
            self.first = ()
        elif add_bos_token and not self.first:
            bos = getattr(tokenizer, "bos_token_id", None)
            if bos is None:
                raise UserError(f"add_bos_token=True, but {_name(tokenizer)} has no BOS token; leave it out")
            self.first = (int(bos),)

    def text(self, text: str) -> list[int]:
        """The text's own tokens alone; special tokens that are written in it count as its own."""
        ids = _ids(self._tokenizer, text, add_special_tokens=False)
        return ids[self.ends.stubborn_first : len(ids) - self.ends.stubborn_last]

    def prompt(self, text: str, *, closed: bool = False) -> list[int]:
        """The tokens of a text that a model reads from its beginning.

        Args:
            text: The text. Where it begins with what the tokenizer would add, as chat templates write it, that is not
                added again.
            closed: Whether the text ends here (an encoder's input): then with the tokens that the tokenizer adds
                behind it, again not twice.

        Returns:
            Token ids; none for an empty text of a tokenizer that adds nothing.
        """
        ids = self.text(text)
        if tuple(ids[: len(self.first)]) != self.first:
            ids = [*self.first, *ids]
        last = self.ends.last if closed else ()
        if last and tuple(ids[-len(last) :]) != last:
            ids = [*ids, *last]
        return ids


class Joined:
    """Pairs of a context and a continuation as lm_eval's models cut them, without a model."""

    def __init__(self, encoding: Encoding, *, apart: bool = False) -> None:
        """`apart`: the continuation is encoded by itself, as for an encoder-decoder model."""
        self._encoding = encoding
        self._apart = apart

    def continuation(self, context: str, continuation: str) -> list[int]:
        """The tokens that are scored; white space at the end of the context goes with them."""
        stripped = context.rstrip()
        moved = context[len(stripped) :] + continuation
        if self._apart:
            return self._encoding.text(moved)
        whole = self._encoding.prompt(stripped + moved)
        return whole[len(self._encoding.prompt(stripped)) :]
