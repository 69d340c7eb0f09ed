"""Tokenizers that add special tokens at the ends of a text, in every way that there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.tiny import tiny_model, tiny_tokenizer

BOS, EOS = 1, 2


def ended_tokenizer(template: str, **names: str | None) -> Any:
    """The tiny tokenizer with a post-processor: "$A", "<s> $A", "$A </s>", "<s> $A </s>"; `names` change its tokens."""
    from tokenizers import processors

    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=template, pair=f"{template} $B", special_tokens=[("<s>", BOS), ("</s>", EOS), ("<pad>", 0)]
    )
    for name, value in names.items():
        setattr(tokenizer, name, value)
    return tokenizer


def write_ended(template: str, folder: Path, family: str = "llama", **changes: Any) -> Path:
    """A tiny checkpoint whose tokenizer adds what the template says."""
    tiny_model(family, **changes).save_pretrained(folder)
    ended_tokenizer(template).save_pretrained(folder)
    return folder


class Stubborn:
    """A tokenizer of characters that adds its ends whatever it is asked."""

    bos_token_id, eos_token_id, unk_token_id = BOS, EOS, None
    all_special_ids = (BOS, EOS)
    name_or_path = "stubborn"

    def encode(self, text: str, add_special_tokens: bool = True, verbose: bool = True) -> list[int]:
        inside = text.replace("<s>", chr(BOS))
        return [BOS, *(ord(letter) for letter in inside), EOS]
