"""What tokenizers add at the ends of a text, against ids written by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm_eval_ext.errors import UserError
from lm_eval_ext.tokens.encoding import Encoding, Ends, Joined, added_ends
from tests.helpers.ends import BOS, EOS, Stubborn, ended_tokenizer
from tests.helpers.tiny import tiny_tokenizer

PLAIN = tiny_tokenizer()
# The tiny tokenizer adds nothing of its own: these are the ids of "Who?" and nothing else.
WHO = PLAIN.encode("Who?")


@pytest.mark.parametrize(
    ("template", "first", "last"),
    [
        ("$A", (), ()),
        ("<s> $A", (BOS,), ()),
        ("$A </s>", (), (EOS,)),
        ("<s> $A </s>", (BOS,), (EOS,)),
        ("<s> </s> $A </s> <s>", (BOS, EOS), (EOS, BOS)),  # GLM begins with two, NLLB ends with two
    ],
)
def test_what_is_added_is_found_and_put_where_it_belongs(
    template: str, first: tuple[int, ...], last: tuple[int, ...]
) -> None:
    tokenizer = ended_tokenizer(template)
    assert tokenizer.encode("Who?") == [*first, *WHO, *last]
    encoding = Encoding(tokenizer)
    assert encoding.ends == Ends(first, last)
    assert encoding.text("Who?") == WHO
    assert encoding.prompt("Who?") == [*first, *WHO]
    assert encoding.prompt("Who?", closed=True) == [*first, *WHO, *last]
    assert encoding.prompt("") == list(first)


def test_what_the_text_already_has_is_not_added_again() -> None:
    both = Encoding(ended_tokenizer("<s> $A </s>"))
    assert both.prompt("<s>Who?") == [BOS, *WHO]
    assert both.prompt("<s>Who?</s>", closed=True) == [BOS, *WHO, EOS]
    assert both.prompt("Who?</s>") == [BOS, *WHO, EOS]  # written by a chat template: the text's own
    assert both.prompt("<s><s>Who?") == [BOS, BOS, *WHO]  # so the text has it
    two = Encoding(ended_tokenizer("<s> </s> $A"))
    assert two.prompt("<s></s>Who?") == [BOS, EOS, *WHO]


@pytest.mark.parametrize("template", ["$A", "<s> $A", "$A </s>", "<s> $A </s>"])
def test_add_bos_token_decides_the_beginning_alone(template: str) -> None:
    tokenizer = ended_tokenizer(template)
    assert Encoding(tokenizer, add_bos_token=True).prompt("Who?") == [BOS, *WHO]
    assert Encoding(tokenizer, add_bos_token=False).prompt("Who?") == WHO
    last = [EOS] if template.endswith("</s>") else []
    assert Encoding(tokenizer, add_bos_token=False).prompt("Who?", closed=True) == [*WHO, *last]


def test_bos_that_there_is_none_of() -> None:
    tokenizer = ended_tokenizer("$A", bos_token=None)
    with pytest.raises(UserError, match=r"add_bos_token=True, but tokenizer .* has no BOS token"):
        Encoding(tokenizer, add_bos_token=True)


def test_tokenizers_that_add_whatever_they_are_asked() -> None:
    encoding = Encoding(Stubborn())
    assert (encoding.ends.first, encoding.ends.last) == ((BOS,), (EOS,))
    assert encoding.text("ab") == [ord("a"), ord("b")]
    assert encoding.prompt("ab") == [BOS, ord("a"), ord("b")]
    assert encoding.prompt("<s>ab") == [BOS, ord("a"), ord("b")]
    assert encoding.prompt("ab", closed=True) == [BOS, ord("a"), ord("b"), EOS]
    assert Encoding(Stubborn(), add_bos_token=False).prompt("ab") == [ord("a"), ord("b")]


def test_a_special_token_without_a_role_is_one_too() -> None:
    class Unnamed(Stubborn):
        all_special_ids = ()
        added_tokens_decoder = {n: SimpleNamespace(special=n < 3) for n in (BOS, EOS, ord("a"))}  # noqa: RUF012

    assert Encoding(Unnamed()).text("a") == [ord("a")]


class Erratic:
    """Encodes a text otherwise without special tokens, or adds by length."""

    name_or_path = "erratic"
    all_special_ids = (BOS, EOS)

    def __init__(self, by_length: bool) -> None:
        self.by_length = by_length

    def encode(self, text: str, add_special_tokens: bool = True, verbose: bool = True) -> list[int]:
        ids = [ord(letter) for letter in text]
        if not add_special_tokens:
            return ids if self.by_length else [*ids[::-1], 7]
        return [*ids, EOS] if len(ids) > 1 or not self.by_length else ids


@pytest.mark.parametrize(("by_length", "reason"), [(True, "other special tokens"), (False, "can't be told")])
def test_what_cannot_be_told_is_refused(by_length: bool, reason: str) -> None:
    with pytest.raises(UserError, match=f"tokenizer erratic .*{reason}"):
        added_ends(Erratic(by_length))


def test_an_unknown_word_is_no_added_token() -> None:
    class Words:
        unk_token_id, all_special_ids, name_or_path = 9, (9, BOS), "words"

        def encode(self, text: str, add_special_tokens: bool = True, verbose: bool = True) -> list[int]:
            return ([BOS] if add_special_tokens else []) + [9] * len(text.split())

    assert added_ends(Words()) == Ends((BOS,), ())


@settings(max_examples=60)
@given(st.text(max_size=30), st.sampled_from(["$A", "<s> $A", "$A </s>", "<s> $A </s>"]), st.booleans())
def test_any_text_is_its_own_tokens_between_the_ends(text: str, template: str, closed: bool) -> None:
    tokenizer: Any = ended_tokenizer(template)
    own = PLAIN.encode(text)
    found = Encoding(tokenizer).prompt(text, closed=closed)
    first = [BOS] if template.startswith("<s>") else []
    last = [EOS] if closed and template.endswith("</s>") else []
    assert found == [*first, *own, *last]


@pytest.mark.parametrize("template", ["$A", "<s> $A", "$A </s>", "<s> $A </s>"])
def test_a_continuation_is_what_follows_the_open_prompt(template: str) -> None:
    joined = Joined(Encoding(ended_tokenizer(template)))
    assert joined.continuation("Who?", " A") == PLAIN.encode("Who? A")[len(WHO) :]
    assert joined.continuation("Who?\n", "A") == PLAIN.encode("Who?\nA")[len(WHO) :]
    apart = Joined(Encoding(ended_tokenizer(template)), apart=True)
    assert apart.continuation("Who?\n", "A") == PLAIN.encode("\nA")


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("ByT5Tokenizer", [], ["</s>"]), ("PerceiverTokenizer", ["[CLS]"], ["[SEP]"]), ("CanineTokenizer", [], [])],
)
def test_tokenizers_of_bytes_and_characters(name: str, first: list[Any], last: list[Any]) -> None:
    """Real tokenizers, written in Python, that need no file; ids by their own tables."""
    import transformers

    tokenizer = getattr(transformers, name)()
    encoding = Encoding(tokenizer)
    ends = [list(encoding.ends.first), list(encoding.ends.last)]
    if name == "CanineTokenizer":  # its special tokens are code points of a private area
        assert [len(ids) for ids in ends] == [1, 1]
        assert all(id_ >= 0xE000 for ids in ends for id_ in ids)
    else:
        assert [tokenizer.convert_ids_to_tokens(ids) for ids in ends] == [first, last]
    shift = {"ByT5Tokenizer": 3, "PerceiverTokenizer": 6, "CanineTokenizer": 0}[name]
    assert encoding.text("key") == [shift + byte for byte in b"key"]
    assert encoding.prompt("key") == [*ends[0], *encoding.text("key")]
