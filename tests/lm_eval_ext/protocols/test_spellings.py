"""Which spellings of the letters are scored, by tokenizers of the kinds that models have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lm_eval_ext.errors import UserError
from lm_eval_ext.protocols.spellings import Spellings, Tokens
from tests.helpers.tiny import TEXT, tiny_tokenizer

PROMPT = "Context: two people.\n\nA) B) C)\n\nAnswer:"
Encode = Callable[[str], list[int]]


def byte_pairs(pattern: str | None = None, extra: list[str] | None = None) -> Encode:
    """A byte-level BPE, cut by GPT-2's rule or by another, with all of `extra` learned as tokens."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    steps = [] if pattern is None else [pre_tokenizers.Split(Regex(pattern), "isolated")]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, byte_level])
    trainer = trainers.BpeTrainer(
        vocab_size=1000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([TEXT] + [f"{word} " * 50 for word in extra or []], trainer)
    return lambda text: tokenizer.encode(text).ids


# As in cl100k, Llama-3 and Qwen: a letter takes one character of punctuation before it along.
JOINING = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def bytes_alone(text: str) -> list[int]:
    """As ByT5's and other models of bytes: a space is a token of its own."""
    return list(text.encode())


def sentence_pieces(text: str) -> list[int]:
    """As T5's: spaces are marks on the word behind them, there is one before the first word, and an end."""
    words = text.split()
    return [*(1000 + sum(map(ord, word)) for word in words), 1]


@pytest.mark.parametrize(
    ("prompt", "own", "expected"),
    [
        (PROMPT, " ", [" ", ""]),
        (PROMPT + "<|assistant|>\n", "", ["", " "]),
        (PROMPT + " ", "", ["", " "]),
    ],
)
def test_both_spellings_are_one_token_after_a_byte_level_tokenizer(prompt: str, own: str, expected: list[str]) -> None:
    for tokens in (Tokens(byte_pairs()), Tokens(tiny_tokenizer().encode)):
        assert Spellings(tokens, "ABC").before(prompt, own) == expected


def test_a_letter_that_runs_into_the_prompts_last_character_is_left_out() -> None:
    encode = byte_pairs(JOINING, [f"r:{letter}" for letter in "ABC"])
    assert len(encode(PROMPT)) == len(encode(f"{PROMPT}A"))  # ":A" is one token, so that nothing is left to score
    assert Tokens(encode).behind(PROMPT, "A") == ()
    assert Spellings(Tokens(encode), "ABC").before(PROMPT, " ") == [" "]
    # A template that ends so, without white space: lm_eval's own spelling cannot be scored, the other can.
    assert Spellings(Tokens(encode), "ABC").before(PROMPT, "") == [" "]
    assert Spellings(Tokens(encode), "ABC").before(PROMPT + "\n", "") == ["", " "]


def test_a_letter_that_joins_only_sometimes_is_left_out_for_all() -> None:
    encode = byte_pairs(JOINING, ["r:B"])
    assert [len(Tokens(encode).behind(PROMPT, letter)) for letter in "ABC"] == [1, 0, 1]
    assert Spellings(Tokens(encode), "ABC").before(PROMPT, " ") == [" "]


def test_a_letter_that_changes_how_the_prompt_is_cut_is_left_out() -> None:
    def encode(text: str) -> list[int]:
        # "r:" is one token at the end, but "r" and ":A" before a letter: the prompt that is scored is another one.
        cut = list(text.encode())
        if text.endswith("Answer:"):
            return [*cut[:-2], 300]
        if text[:-1].endswith("Answer:"):
            return [*cut[:-3], cut[-3], 301 + cut[-1]]
        return cut if not text.endswith(tuple(f" {letter}" for letter in "ABC")) else [*cut[:-4], 300, 400 + cut[-1]]

    assert Tokens(encode).behind(PROMPT, " A") == (465,)
    assert Tokens(encode).behind(PROMPT, "A") == ()
    assert Spellings(Tokens(encode), "ABC").before(PROMPT, " ") == [" "]


def test_a_space_that_joins_the_prompts_line_break_is_left_out() -> None:
    def encode(text: str) -> list[int]:
        return [ord(mark) for mark in text.replace("\n ", "\u0100")]  # a line break and a space are one token

    # "\n", "A" is the prompt and a letter; "\n ", "A" is another prompt and a letter.
    assert Tokens(encode).behind(PROMPT + "\n", " A") == (256, 65)
    assert Spellings(Tokens(encode), "ABC").before(PROMPT + "\n", "") == [""]


def test_where_nothing_can_be_scored_is_one_line() -> None:
    def joined(text: str) -> list[int]:
        return [len(text)]

    with pytest.raises(UserError, match=r"can't be scored behind a prompt that ends in '.*Answer:': .*text protocol"):
        Spellings(Tokens(joined), "ABC").before(PROMPT, " ")


def test_own_spelling_stays_where_it_is_several_tokens() -> None:
    assert Tokens(bytes_alone).behind(PROMPT, " A") == (32, 65)
    assert Spellings(Tokens(bytes_alone), "ABC").before(PROMPT, " ") == [" ", ""]
    assert Spellings(Tokens(bytes_alone), "ABC").before(PROMPT, "") == [""]  # " A" is two tokens, and not its own


def test_a_tokenizer_that_reads_both_alike_gets_one() -> None:
    apart = Tokens(sentence_pieces, apart=True)
    assert apart.behind(PROMPT, " A") == apart.behind(PROMPT, "A") == (1000 + ord("A"),)
    assert Spellings(apart, "ABC").before(PROMPT, " ") == [" "]


def test_what_a_tokenizer_puts_behind_every_text_is_no_part_of_a_letter() -> None:
    plain = byte_pairs()

    def closed(text: str) -> list[int]:
        return [0, *plain(text), 1, 2]

    assert Tokens(closed).behind(PROMPT, " A") == Tokens(plain).behind(PROMPT, " A")
    assert Spellings(Tokens(closed), "ABC").before(PROMPT, " ") == [" ", ""]


def test_without_a_tokenizer_nothing_but_lm_evals_own_is_sent() -> None:
    assert Spellings(None, "ABC").before(PROMPT, " ") == [" "]


def test_the_tokenizer_is_found_from_model_or_metadata(llama: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, T5Config

    expected = Tokens(AutoTokenizer.from_pretrained(llama).encode).behind(PROMPT, " A")

    class Model:
        def __init__(self, backend: str) -> None:
            self.tokenizer, self.backend = AutoTokenizer.from_pretrained(llama), backend

        def tok_encode(self, text: str, **kwargs: Any) -> list[int]:
            return list(self.tokenizer.encode(text))

    def found(**metadata: Any) -> tuple[int, ...]:
        tokens = Tokens.of_metadata(metadata)
        assert tokens is not None
        return tokens.behind(PROMPT, " A")

    model = Tokens.of_model(Model("causal"))
    assert model is not None
    assert model.behind(PROMPT, " A") == expected
    assert found(pretrained=str(llama)) == found(model=str(llama)) == found(tokenizer=str(llama), model="x") == expected
    assert found(tokenizer=AutoTokenizer.from_pretrained(llama)) == expected
    # Encoder-decoder models get the letter alone: with its space, which a byte-level tokenizer keeps.
    T5Config(vocab_size=300).save_pretrained(tmp_path)
    alone = tuple(AutoTokenizer.from_pretrained(llama).encode(" A"))
    assert found(tokenizer=str(llama), pretrained=str(tmp_path)) == alone
    assert Tokens.of_model(Model("seq2seq")).behind(PROMPT, " A") == alone  # type: ignore[union-attr]
    for unknown in ({}, {"pretrained": str(tmp_path / "none")}, {"model": "m", "tokenizer_backend": "remote"}):
        assert Tokens.of_metadata(unknown) is None
    assert Tokens.of_model(None) is None
