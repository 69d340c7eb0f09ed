"""A tokenizer of another model is one line, never an IndexError."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.recipe.resolve import resolve
from lm_eval_ext.tokens.vocabulary import refuse_foreign_tokenizer
from tests.helpers.tiny import tiny_model, tiny_tokenizer, write_tiny

WANDA = {"method": "wanda", "sparsity": 0.5, "calibration": "demo", "samples": 2, "seqlen": 16}


@pytest.mark.parametrize("keys", [{}, {"recipe": "magnitude-50"}, WANDA])
def test_ordinary_tokens_beyond_the_embedding(keys: dict[str, Any]) -> None:
    # The tokenizer's 300 ids are 0 to 299; 290 rows leave ten without one.
    model = tiny_model("llama", vocab_size=290)
    with pytest.raises(UserError, match=r"ids up to 299, the model's embedding 290 rows: 10 tokens .*tokenizer=NAME"):
        compress_(model, tiny_tokenizer(), resolve(**keys))
    compress_(tiny_model("llama", vocab_size=300), tiny_tokenizer(), resolve(**keys))


def test_the_same_through_lm_evals_model(tmp_path: Path) -> None:
    folder = write_tiny("llama", tmp_path / "model", vocab_size=299)
    with pytest.raises(UserError, match="ids up to 299, the model's embedding 299 rows: 1 tokens"):
        CompressedHFLM(pretrained=str(folder), device="cpu")


def test_added_tokens_beyond_the_embedding_are_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    # A padding token that was added to the tokenizer and not to the model: common, and harmless while no text holds it.
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<fill>"})
    model = tiny_model("llama")
    refuse_foreign_tokenizer(model, tokenizer)
    assert "the embedding has 300 rows and none for 1 added tokens (<fill>)" in caplog.text
    file = tmp_path / "text.txt"
    file.write_text("The ferry leaves at noon. " * 9 + "<fill>" + "The bakery closes. " * 9, encoding="utf-8")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tokens = len(tokenizer(file.read_text(encoding="utf-8"))["input_ids"])
    with pytest.raises(UserError, match=r"calibration=.*text.txt holds id 300 \('<fill>'\), .* 300 rows") as error:
        compress_(model, tokenizer, resolve(**WANDA | {"calibration": str(file), "samples": 1, "seqlen": tokens}))
    assert "\n" not in str(error.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_beginning_that_has_no_row() -> None:
    # The token that stands before every text is the one that the model has not.
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<begin>"})
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<begin> $A", special_tokens=[("<begin>", 300)]
    )
    with pytest.raises(UserError, match=r"the canary prompt holds id 300 \('<begin>'\)"):
        compress_(tiny_model("llama"), tokenizer, resolve())


def test_what_can_not_be_told_is_let_pass(caplog: pytest.LogCaptureFixture) -> None:
    class Silent:
        def get_input_embeddings(self) -> Any:
            raise NotImplementedError

    refuse_foreign_tokenizer(Silent(), tiny_tokenizer())
    refuse_foreign_tokenizer(tiny_model("llama", vocab_size=290), object())
    assert not caplog.text
