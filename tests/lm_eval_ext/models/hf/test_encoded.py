"""The tokens that reach the model, against plain forward passes over ids written in the test."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from tests.helpers.ends import BOS, EOS, ended_tokenizer, write_ended
from tests.helpers.tiny import tiny_model, tiny_tokenizer

PLAIN = tiny_tokenizer()
TEMPLATES = ["$A", "<s> $A", "$A </s>", "<s> $A </s>"]
PROMPT = "Who kept the key?\n\nAnswer:"


def own(text: str) -> list[int]:
    ids: list[int] = PLAIN.encode(text)
    return ids


def first(template: str) -> list[int]:
    return [BOS] if template.startswith("<s>") else []


def log_probabilities(model: Any, ids: list[int]) -> torch.Tensor:
    """Of the next token after each, [tokens, vocabulary], in float64."""
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=torch.tensor([ids])).logits[0]
    return logits.double().log_softmax(-1)


def by_hand(model: Any, before: list[int], scored: list[int]) -> float:
    table = log_probabilities(model, [*before, *scored])[len(before) - 1 : -1]
    return float(table.gather(1, torch.tensor(scored)[:, None]).sum())


def scoring(*pairs: tuple[str, str], doc: dict[str, Any] | None = None) -> list[Instance]:
    return [Instance("loglikelihood", doc or {}, pair, i, ("a_task", i, 1)) for i, pair in enumerate(pairs)]


def rolling(*texts: str) -> list[Instance]:
    return [Instance("loglikelihood_rolling", {}, (text,), 0, ("a_task", i, 1)) for i, text in enumerate(texts)]


def generation(context: str, copies: int = 1, doc: dict[str, Any] | None = None, **arguments: Any) -> list[Instance]:
    return [Instance("generate_until", doc or {}, (context, arguments), 0, ("a_task", 0, 1))] * copies


@pytest.fixture(scope="module")
def lms(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Our model under a tokenizer that adds what a template says, each made once."""
    home = tmp_path_factory.mktemp("ended")
    made: dict[str, CompressedHFLM] = {}

    def of(template: str, **args: Any) -> CompressedHFLM:
        key = json.dumps([template, args])
        if key not in made:
            folder = home / str(len(made))
            made[key] = CompressedHFLM(pretrained=str(write_ended(template, folder)), device="cpu", **args)
        return made[key]

    return of


@pytest.mark.parametrize("template", TEMPLATES)
def test_letters_are_scored_behind_the_open_prompt(template: str, lms: Any) -> None:
    lm = lms(template)
    pairs = [(PROMPT, f" {letter}") for letter in "ABC"] + [(PROMPT + "\n", "the older one")]
    found = [value for value, _ in lm.loglikelihood(scoring(*pairs))]
    before = [*first(template), *own(PROMPT)]
    expected = [by_hand(lm.model, before, own(PROMPT + f" {letter}")[len(own(PROMPT)) :]) for letter in "ABC"]
    expected.append(by_hand(lm.model, before, own(PROMPT + "\nthe older one")[len(own(PROMPT)) :]))
    assert found == pytest.approx(expected, abs=1e-4)
    assert len({round(value, 3) for value in found}) == 4


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("written", ["", "<s>"])
def test_bos_of_a_chat_template_is_not_doubled(template: str, written: str, lms: Any) -> None:
    lm = lms(template)
    text = f"{written}<|user|>\nWho?\n<|assistant|>\n"
    ids = [BOS] * bool(written or first(template)) + own("<|user|>\nWho?\n<|assistant|>")
    ((found, _),) = lm.loglikelihood(scoring((text, "A")))
    assert found == pytest.approx(
        by_hand(lm.model, ids, own("<|assistant|>\nA")[len(own("<|assistant|>")) :]), abs=1e-4
    )
    (drawn,) = lm.generate_until(generation(text, seeds=[1], first_token=["A"], max_gen_toks=2))
    whole = [*ids, *own("\n")]
    expected = log_probabilities(lm.model, whole)[-1]
    letters = [token for token in range(300) if PLAIN.decode([token]).strip() == "A"]
    assert json.loads(drawn)["plain"] == pytest.approx([float(expected[letters].logsumexp(0))], abs=1e-4)


@pytest.mark.parametrize("template", TEMPLATES)
def test_texts_follow_the_open_prompt(template: str, lms: Any) -> None:
    """Greedy texts, by our sampler and by lm_eval's own generation."""
    lm = lms(template)
    ids = [*first(template), *own(PROMPT)]
    for _ in range(4):
        ids.append(int(log_probabilities(lm.model, ids)[-1].argmax()))
    expected = PLAIN.decode(ids[-4:], skip_special_tokens=True)
    assert EOS not in ids[-4:]
    assert lm.generate_until(generation(PROMPT, seeds=[1], temperature=0.0, max_gen_toks=4)) == [expected]
    assert lm.generate_until(generation(PROMPT, max_gen_toks=4, until=["\n\n\n"])) == [expected]


def test_prompts_of_a_batch_are_encoded_each_by_itself(lms: Any) -> None:
    ids, mask = lms("<s> $A </s>").tok_batch_encode(["<s>Who?", "Who kept it?"])
    longest = [BOS, *own("Who kept it?")]
    short = [BOS, *own("Who?")]
    padding = len(longest) - len(short)
    assert ids.tolist() == [[0] * padding + short, longest]
    assert mask.tolist() == [[0] * padding + [1] * len(short), [1] * len(longest)]
    assert lms("<s> $A </s>").tok_batch_encode(["Who kept it?"], left_truncate_len=3)[0].tolist() == [longest[-3:]]
    assert lms("$A").tok_batch_encode([""])[0].numel() == 0


@pytest.mark.parametrize("template", TEMPLATES)
def test_add_bos_token_is_obeyed(template: str, lms: Any) -> None:
    (pair,) = scoring((PROMPT, " A"))
    letter = own(PROMPT + " A")[len(own(PROMPT)) :]
    for wanted, before in ((True, [BOS]), (False, [])):
        lm = lms(template, add_bos_token=wanted)
        ((found, _),) = lm.loglikelihood([pair])
        assert found == pytest.approx(by_hand(lm.model, [*before, *own(PROMPT)], letter), abs=1e-4)


def test_a_ready_made_tokenizer_obeys_add_bos_token_too() -> None:
    lm = CompressedHFLM(pretrained=tiny_model("llama"), tokenizer=ended_tokenizer("$A </s>"), add_bos_token=True)
    assert lm.tok_encode("Who?") == [BOS, *own("Who?")]
    assert lm.tok_encode("Who?", add_special_tokens=False) == own("Who?")


TEXT = "The ferry leaves at noon and reaches the island before the bakery closes."


@pytest.mark.parametrize("template", [*TEMPLATES, "<s> </s> $A"])
@pytest.mark.parametrize("written", ["", "<s>"])
def test_documents_are_scored_behind_one_bos(template: str, written: str, lms: Any) -> None:
    lm = lms(template)
    (request,) = rolling(written + TEXT)
    before = [BOS, EOS] if template == "<s> </s> $A" else [BOS]
    tokens = own(TEXT)
    if written and len(before) > 1:
        tokens = [BOS, *tokens]  # half of what the tokenizer adds is text
    assert lm.loglikelihood_rolling([request]) == pytest.approx([by_hand(lm.model, before, tokens)], abs=1e-3)
    assert request.rolled == len(tokens)


@pytest.mark.parametrize("template", ["<s> $A", "<s> $A </s>"])
def test_windows_of_a_long_document(template: str, lms: Any) -> None:
    lm = lms(template, max_length=16)
    tokens = own(TEXT)
    assert 32 < len(tokens) < 48
    # Twice sixteen, the second behind the last token of the first; then the rest, filled up to sixteen.
    end = len(tokens)
    expected = by_hand(lm.model, [BOS], tokens[:16])
    expected += by_hand(lm.model, tokens[15:16], tokens[16:32])
    expected += by_hand(lm.model, tokens[end - 17 : 32], tokens[32:])
    assert lm.loglikelihood_rolling(rolling(TEXT)) == pytest.approx([expected], abs=1e-3)


def test_windows_that_all_begin_with_bos(lms: Any) -> None:
    lm = lms("<s> $A", max_length=16, rolling_bos="each")
    tokens = own(TEXT)
    end = len(tokens)
    assert 31 < end < 46
    # Sixteen behind BOS; then fifteen behind BOS and the token before them; the rest likewise, filled up to sixteen.
    expected = by_hand(lm.model, [BOS], tokens[:16])
    expected += by_hand(lm.model, [BOS, tokens[15]], tokens[16:31])
    expected += by_hand(lm.model, [BOS, *tokens[end - 16 : 31]], tokens[31:])
    assert lm.loglikelihood_rolling(rolling(TEXT)) == pytest.approx([expected], abs=1e-3)
    # A tokenizer that adds nothing has nothing to repeat.
    plain = lms("$A", max_length=16, rolling_bos="each").loglikelihood_rolling(rolling(TEXT))
    assert plain == pytest.approx(lms("$A", max_length=16).loglikelihood_rolling(rolling(TEXT)), abs=1e-4)


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("max_length", [512, 16])
def test_rolling_as_hf_does_is_what_hf_does(template: str, max_length: int, lms: Any) -> None:
    lm = lms(template, max_length=max_length, rolling_bos="hf")
    stock = HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, max_length=max_length, softmax_dtype="float32")
    texts = (TEXT, "<s>" + TEXT, "A")
    assert lm.loglikelihood_rolling(rolling(*texts)) == pytest.approx(
        stock.loglikelihood_rolling(rolling(*texts)), abs=1e-4
    )
    assert lm.get_model_info()["encoding"]["rolling_bos"] == "hf"


def test_what_hf_scores_too_much_is_named(lms: Any) -> None:
    tokens = own(TEXT)
    lm = lms("<s> $A </s>", rolling_bos="hf")
    assert lm.loglikelihood_rolling(rolling(TEXT)) == pytest.approx(
        [by_hand(lm.model, [BOS], [BOS, *tokens, EOS])], abs=1e-3
    )


@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
def test_documents_of_any_number_of_windows(batch_size: Any, lms: Any) -> None:
    lm = lms("<s> $A", max_length=16, batch_size=batch_size)
    texts = (TEXT, "", "<s>", "A", TEXT[:20])
    alone = [lms("<s> $A", max_length=16).loglikelihood_rolling(rolling(text))[0] for text in texts]
    assert lm.loglikelihood_rolling(rolling(*texts)) == pytest.approx(alone, abs=1e-4)
    assert alone[1:3] == [0.0, 0.0]  # no token of its own


def test_rolling_bos_of_another_name(lms: Any) -> None:
    with pytest.raises(UserError, match=r"unknown rolling_bos 'both'. Known: each, hf, once"):
        lms("$A", rolling_bos="both")


def test_what_was_done_is_in_the_results(lms: Any, caplog: pytest.LogCaptureFixture) -> None:
    facts = lms("<s> $A </s>").get_model_info()["encoding"]
    assert facts == {"adds": True, "before": ["<s>"], "behind": [], "left_out": ["</s>"], "rolling_bos": "once"}
    assert [lms(template).encoding_facts()["adds"] for template in TEMPLATES] == [False, True, True, True]
    with caplog.at_level(logging.WARNING):
        CompressedHFLM(pretrained=tiny_model("llama"), tokenizer=ended_tokenizer("$A </s>"))
    assert "the tokenizer adds </s> behind every text; it is left out" in caplog.text


@pytest.mark.parametrize("template", TEMPLATES)
def test_an_empty_context_is_the_beginning(template: str, lms: Any) -> None:
    lm = lms(template)
    found = [value for value, _ in lm.loglikelihood(scoring(("", "Who kept it?"), ("", "<s>Who kept it?")))]
    assert found == pytest.approx([by_hand(lm.model, [BOS], own("Who kept it?"))] * 2, abs=1e-4)


def test_a_prefix_of_ones_own_is_the_beginning(lms: Any) -> None:
    lm = lms("<s> $A", prefix_token_id=EOS)
    expected = by_hand(lm.model, [EOS], own("Who kept it?"))
    assert lm.loglikelihood(scoring(("", "Who kept it?")))[0][0] == pytest.approx(expected, abs=1e-4)
    assert lm.loglikelihood_rolling(rolling("Who kept it?")) == pytest.approx([expected], abs=1e-4)


def test_truncation_is_the_tokenizers(lms: Any) -> None:
    lm = lms("<s> $A </s>", truncation=True)
    long = "Who kept it? " * 100
    ids = [BOS, *own(long)]
    assert len(ids) > lm.tokenizer.model_max_length == 512
    assert lm.tok_batch_encode([long], truncation=True)[0].tolist() == [ids[:512]]
    lm.tokenizer.truncation_side = "left"
    assert lm.tok_batch_encode([long], truncation=True)[0].tolist() == [ids[-512:]]
    assert lm.tok_batch_encode(["Who?"], truncation=True)[0].tolist() == [[BOS, *own("Who?")]]


def test_what_hf_does_beside_the_tokens_is_kept(lms: Any) -> None:
    class Hook:
        kept: ClassVar[list[Any]] = []

        def add_partial(self, *args: Any) -> None:
            self.kept.append(args)

    lm = lms("<s> $A", batch_size=2)
    lm.cache_hook = Hook()
    values = lm.loglikelihood_rolling(rolling(TEXT, "Who?"))
    assert Hook.kept == [("loglikelihood_rolling", (text,), v) for text, v in zip((TEXT, "Who?"), values, strict=True)]
    thinking = CompressedHFLM(
        pretrained=tiny_model("llama"), tokenizer=tiny_tokenizer(), enable_thinking=True, think_end_token="</s>"
    )
    with pytest.raises(ValueError, match="enable_thinking=True is not compatible with loglikelihood tasks"):
        thinking.loglikelihood(scoring((PROMPT, " A")))


@pytest.mark.parametrize("pair", [("", ""), ("", "<s>"), ("Who?", "")])
def test_nothing_to_score_is_an_error(pair: tuple[str, str], lms: Any) -> None:
    with pytest.raises(UserError, match="has no token of its own behind"):
        lms("<s> $A").loglikelihood(scoring(pair))


def limits(lm: CompressedHFLM, context: str) -> int:
    return len(lm.tok_encode(context))


def test_our_prompts_that_do_not_fit_are_refused(lms: Any) -> None:
    lm = lms("<s> $A", max_length=64)
    ours = {"item": {"item_id": "bbq/Age/1"}}
    fits = "Who kept it? " * 40
    while len(own(fits + "x")) + 1 > 64:  # BOS; the letter is predicted, not read
        fits = fits[1:]
    letter = (fits + "x", " A")
    needed = 1 + len(own(fits + "x A")) - 1
    assert needed == 64
    assert len(lm.loglikelihood(scoring(letter, doc=ours))) == 1
    long = ("y" + fits + "x", " A")
    with pytest.raises(UserError, match=r"^a_task: 1 of 2 requests don't fit .* needs 65 tokens, max_length=64\. Pass"):
        lm.loglikelihood(scoring(letter, long, doc=ours))
    answer = fits[13:] + "x"
    room = 64 - 1 - len(own(answer))
    arguments: dict[str, Any] = {"seeds": [1, 2], "temperature": 0.5}
    assert len(lm.generate_until(generation(answer, 2, ours, max_gen_toks=room, **arguments))) == 2
    with pytest.raises(UserError, match=r"^a_task: 2 of 2 requests don't fit .* needs 65 tokens, max_length=64\. Pass"):
        lm.generate_until(generation(answer, 2, ours, max_gen_toks=room + 1, **arguments))


def test_prompts_of_others_are_cut_with_one_warning(lms: Any, caplog: pytest.LogCaptureFixture) -> None:
    lm = lms("<s> $A", max_length=32)
    long = TEXT + " Who?"
    with caplog.at_level(logging.WARNING):
        found = [value for value, _ in lm.loglikelihood(scoring((long, " A"), (long, " B"), ("Who?", " A")))]
    needed = len(own(long + " A"))
    warned = [record.message for record in caplog.records if "longer than" in record.message]
    assert warned == [
        f"2 of 3 requests are longer than max_length=32 (up to {needed} tokens) and are cut from the left"
    ]
    assert "Truncating" not in caplog.text
    letter = own(long + " A")[len(own(long)) :]
    # As lm_eval cuts: 32 tokens are read, so the last of them is what comes before the letter's last token.
    before = own(long)[len(letter) - 1 - 32 :]
    assert found[0] == pytest.approx(by_hand(lm.model, before, letter), abs=1e-4)


class TestEncoderDecoder:
    """T5 is trained with EOS at the end of the encoder's input; its decoder begins at a token of its own."""

    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        from transformers import T5Config, T5ForConditionalGeneration

        torch.manual_seed(0)
        config = T5Config(
            vocab_size=300, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, decoder_start_token_id=0
        )
        model = T5ForConditionalGeneration(config).eval()
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.data.normal_(std=0.3)
        folder: Path = tmp_path_factory.mktemp("t5")
        model.save_pretrained(folder)
        return folder

    @pytest.mark.parametrize("template", TEMPLATES)
    @pytest.mark.parametrize("written", ["", "<s>", "<s>$</s>"])
    def test_the_encoder_has_both_ends_and_the_decoder_none(
        self, template: str, written: str, folder: Path, tmp_path: Path
    ) -> None:
        ended_tokenizer(template).save_pretrained(folder)
        lm = CompressedHFLM(pretrained=str(folder), device="cpu")
        before, _, behind = written.partition("$")
        ids = [BOS] * bool(before or first(template)) + own(PROMPT)
        ids += [EOS] * bool(behind or template.endswith("</s>"))
        text = f"{before}{PROMPT}{behind}"
        scored = own(" A B")
        with torch.no_grad():
            logits = lm.model(
                input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([[0, *scored[:-1]]])
            ).logits[0]
        expected = logits.double().log_softmax(-1).gather(1, torch.tensor(scored)[:, None]).sum()
        ((found, _),) = lm.loglikelihood(scoring((text, " A B")))
        assert found == pytest.approx(float(expected), abs=1e-4)
        assert lm.tok_batch_encode([text])[0].tolist() == [ids]
        facts = lm.get_model_info()["encoding"]
        assert (facts["behind"], facts["left_out"]) == (["</s>"] if template.endswith("</s>") else [], [])

    @pytest.mark.parametrize("add_bos_token", [True, False])
    def test_add_bos_token_leaves_the_end(self, add_bos_token: bool, folder: Path) -> None:
        ended_tokenizer("$A </s>").save_pretrained(folder)
        lm = CompressedHFLM(pretrained=str(folder), device="cpu", add_bos_token=add_bos_token)
        assert lm.tok_encode("Who?") == [BOS] * add_bos_token + [*own("Who?"), EOS]

    def test_either_side_must_fit(self, folder: Path) -> None:
        ended_tokenizer("$A </s>").save_pretrained(folder)
        lm = CompressedHFLM(pretrained=str(folder), device="cpu", max_length=32)
        ours = {"item": {"item_id": "bbq/Age/1"}}
        longest = "x" * 31  # and EOS
        assert len(own(longest)) == 31
        assert len(lm.loglikelihood(scoring((longest, "x" * 32), doc=ours))) == 1
        for pair in (("x" * 32, "A"), ("A", "x" * 33)):
            with pytest.raises(UserError, match=r"1 of 1 requests don't fit .* needs 33 tokens, max_length=32"):
                lm.loglikelihood(scoring(pair, doc=ours))

    def test_documents_are_the_decoders(self, folder: Path) -> None:
        ended_tokenizer("$A </s>").save_pretrained(folder)
        lm = CompressedHFLM(pretrained=str(folder), device="cpu")
        tokens = own("Who kept it?")
        with torch.no_grad():
            logits = lm.model(
                input_ids=torch.tensor([[BOS]]), decoder_input_ids=torch.tensor([[0, *tokens[:-1]]])
            ).logits[0]
        expected = logits.double().log_softmax(-1).gather(1, torch.tensor(tokens)[:, None]).sum()
        assert lm.loglikelihood_rolling(rolling("Who kept it?")) == pytest.approx([float(expected)], abs=1e-4)
