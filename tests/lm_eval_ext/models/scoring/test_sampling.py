"""Sampling with seeds: against a plain loop without cache, against exact probabilities, over batches and order."""

from __future__ import annotations

import hashlib
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance
from scipy.stats import chisquare, kstest

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.scoring.draws import Drawer, Prompt, Protocol, gumbel, stream
from lm_eval_ext.models.scoring.sampling import TreeSampler
from lm_eval_ext.protocols.parsers import decided
from tests.helpers.tiny import write_tiny

SEEDS = [42, 123, 456, 789, 1024]
KWARGS: dict[str, Any] = {"temperature": 0.9, "max_gen_toks": 5, "seeds": SEEDS, "until": ["\n"]}
HEAD = "Context: two neighbours repaired a fence. "
PROMPTS = [
    *(f"{HEAD}Question: which of them brought the {thing}? Answer:" for thing in ("nails", "key", "bread", "rain")),
    f"{HEAD}Question: which of them brought the nails? Answer: B",  # another prompt is its beginning
    "Who kept the key?",
    "The ferry leaves at noon. " * 12,
    "A",
]
WORD = 2**64 - 1


def requests(prompts: list[str], kwargs: dict[str, Any], copies: int | None = None) -> list[Instance]:
    count = len(kwargs["seeds"]) if copies is None else copies
    return [Instance("generate_until", {}, (prompt, dict(kwargs)), 0) for prompt in prompts for _ in range(count)]


def texts(lm: Any, prompts: list[str], kwargs: dict[str, Any]) -> dict[str, list[str]]:
    """The K texts of each prompt."""
    k = len(kwargs["seeds"])
    found = lm.generate_until(requests(prompts, kwargs), disable_tqdm=True)
    return {prompt: found[k * i : k * i + k] for i, prompt in enumerate(prompts)}


def splitmix(value: int) -> int:
    """The finaliser of splitmix64, in Python's whole numbers."""
    value &= WORD
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & WORD
    return value ^ (value >> 31)


def noise(prompt: str, seed: int, position: int, vocabulary: int) -> list[float]:
    """The documented hash, one token at a time."""
    golden = 0x9E3779B97F4A7C15
    start = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "little")
    key = splitmix(splitmix(start + seed * golden) + (position + 1) * golden)
    numbers = []
    for token in range(vocabulary):
        uniform = ((splitmix(key + (token + 1) * golden) >> 12) + 0.5) / 2**52
        numbers.append(-math.log(-math.log(uniform)))
    return numbers


def slow(lm: Any, prompt: str, kwargs: dict[str, Any], by_hand: Any = None) -> list[str]:
    """The protocol as a loop: whole prompt run again for each token of each seed, alone and without a cache.

    `by_hand` gives the logits of token ids, [1, length], where the model's own are what is tested.
    """
    out = []
    for seed in kwargs["seeds"]:
        drawn: list[int] = []
        while len(drawn) < kwargs["max_gen_toks"]:
            ids = torch.tensor([lm.tok_encode(prompt) + drawn])
            with torch.no_grad():
                found = by_hand(ids) if by_hand else lm.model(input_ids=ids, use_cache=False).logits
            logits = found[0, -1]
            values = torch.log_softmax(logits.double(), -1).numpy() / kwargs["temperature"]
            token = int(np.argmax(values + np.array(noise(prompt, seed, len(drawn), len(values)))))
            if token == lm.tokenizer.eos_token_id:
                break
            drawn.append(token)
            if "\n" in lm.tokenizer.decode(drawn):
                break
        out.append(lm.tokenizer.decode(drawn, skip_special_tokens=True).split("\n")[0])
    return out


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.set_num_threads(1)
    folders: dict[str, Path] = {}

    def of(family: str, **kwargs: Any) -> CompressedHFLM:
        if family not in folders:
            folders[family] = write_tiny(family, tmp_path_factory.mktemp("sampled") / family)
        return CompressedHFLM(pretrained=str(folders[family]), device="cpu", **({"batch_size": 4} | kwargs))

    return of


@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral", "gemma2", "gpt2", "mixtral"])
def test_equals_a_plain_loop_by_trees_and_alone(
    family: str, load: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = load(family)
    expected = {prompt: slow(lm, prompt, KWARGS) for prompt in PROMPTS}
    assert len({text for drawn in expected.values() for text in drawn}) > 10  # not one answer to everything
    with caplog.at_level(logging.WARNING):
        assert texts(lm, PROMPTS, KWARGS) == expected
    assert "on its own" not in caplog.text
    monkeypatch.setattr("lm_eval_ext.models.scoring.seeded.TreeSampler", None)  # no tree is touched
    alone = load(family)
    alone._seeded.trust.refuse("is refused by the test")
    assert texts(alone, PROMPTS, KWARGS) == expected


def test_batch_size_order_and_company_change_nothing(load: Any) -> None:
    expected = texts(load("llama", batch_size=1), PROMPTS, KWARGS)
    for size in (7, "auto"):
        assert texts(load("llama", batch_size=size), PROMPTS, KWARGS) == expected
    lm = load("llama")
    shuffled = [PROMPTS[i] for i in (3, 7, 0, 5, 1, 6, 4, 2)]
    assert texts(lm, shuffled, KWARGS) == expected
    assert texts(lm, PROMPTS[2:3], KWARGS) == {PROMPTS[2]: expected[PROMPTS[2]]}
    # A seed's text does not depend on which seeds are drawn beside it.
    few = texts(lm, PROMPTS, KWARGS | {"seeds": [789, 42]})
    assert few == {prompt: [drawn[3], drawn[0]] for prompt, drawn in expected.items()}


def test_many_prompts_need_many_rows_behind_a_shared_prefix(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm_eval_ext.models.scoring.seeded.ROW_TOKENS", 40)
    prompts = [f"{HEAD * 2}{a} {b}" for a in ("key", "rain", "bread", "train") for b in ("A", "B", "C")]
    lm = load("llama")
    assert texts(lm, prompts, KWARGS) == {prompt: slow(lm, prompt, KWARGS) for prompt in prompts}


def test_frequencies_fit_the_exact_probabilities(load: Any) -> None:
    lm = load("llama")
    kwargs = KWARGS | {"seeds": list(range(800)), "max_gen_toks": 1, "until": [], "temperature": 0.7}
    prompt = PROMPTS[0]
    with torch.no_grad():
        logits = lm.model(input_ids=torch.tensor([lm.tok_encode(prompt)])).logits[0, -1].double()
    exact = torch.softmax(logits / 0.7, -1).numpy()
    by_text: dict[str, float] = {}
    for token, probability in enumerate(exact):
        text = lm.tokenizer.decode([token], skip_special_tokens=True)
        by_text[text] = by_text.get(text, 0.0) + float(probability)
    drawn = texts(lm, [prompt], kwargs)[prompt]
    common = [text for text, probability in by_text.items() if probability * 800 >= 5]
    observed = [drawn.count(text) for text in common]
    expected = [by_text[text] * 800 for text in common]
    assert len(common) > 5
    rest = 800 - sum(expected)
    assert chisquare([*observed, 800 - sum(observed)], [*expected, rest]).pvalue > 0.001


def test_frequencies_of_second_tokens_fit_the_exact_probabilities(load: Any) -> None:
    lm = load("llama")
    start = lm.tok_encode(PROMPTS[0])
    # Texts are the tokens' numbers here; no token ends one.
    drawer = Drawer(
        Protocol(tuple(range(2000)), 0.5, 2),
        [Prompt(PROMPTS[0], tuple(start))],
        lambda tokens: " ".join(str(token) for token in tokens),
    )
    TreeSampler(lm.model, softmax_dtype=torch.float32, row_tokens=64, rows=2).draw(drawer)
    pairs = [tuple(int(token) for token in text.split()) for text in drawer.texts[0]]
    firsts = [first for first, _ in pairs]
    first = max(set(firsts), key=firsts.count)
    seconds = [second for other, second in pairs if other == first]
    with torch.no_grad():
        logits = lm.model(input_ids=torch.tensor([[*start, first]])).logits[0, -1].double()
    expected = torch.softmax(logits / 0.5, -1).numpy() * len(seconds)
    common = np.flatnonzero(expected >= 5)
    assert len(common) > 3
    observed = [seconds.count(token) for token in common]
    rest = [len(seconds) - sum(observed), len(seconds) - expected[common].sum()]
    assert chisquare([*observed, rest[0]], [*expected[common], rest[1]]).pvalue > 0.001


def test_noise_is_gumbel_and_of_its_own_for_seed_position_and_prompt() -> None:
    tokens = np.arange(20_000)
    keys = [stream("a", 42, 0), stream("a", 42, 1), stream("a", 43, 0), stream("b", 42, 0), stream("a", -1, 0)]
    drawn = [gumbel(key, tokens) for key in keys]
    for values in drawn:
        assert kstest(values, "gumbel_r").pvalue > 0.001
    correlations = np.corrcoef(drawn)[~np.eye(len(keys), dtype=bool)]
    assert float(np.abs(correlations).max()) < 0.03  # 4 standard errors
    assert gumbel(keys[0], tokens[[5, 3]]).tolist() == drawn[0][[5, 3]].tolist()
    np.testing.assert_allclose(gumbel(keys[1], tokens[:50]), noise("a", 42, 1, 50), rtol=1e-12)


def test_tokens_out_of_reach_are_left_out_and_no_others() -> None:
    """Against noise for the whole vocabulary, where most tokens are too improbable to be drawn."""
    torch.manual_seed(3)
    logprobs = torch.log_softmax(torch.randn(1, 500) * 2, -1)
    for temperature in (0.05, 0.3, 2.0):
        drawer = Drawer(Protocol(tuple(range(50)), temperature, 2), [Prompt("a", (1,))], str)
        kept = len(drawer._candidates(logprobs)[0][0])
        assert kept < 500 if temperature < 0.1 else kept > 450
        drawn = {seed: child.drawn[0] for _, child in drawer.step([drawer.start(0)], logprobs) for seed in child.seeds}
        for seed in range(50):
            scores = logprobs[0].double().numpy() / temperature + np.array(noise("a", seed, 0, 500))
            assert drawn[seed] == int(np.argmax(scores))
        assert len(set(drawn.values())) > 1


@pytest.mark.parametrize("greedy", [{"temperature": 0.0}, {"do_sample": False}])
def test_no_temperature_takes_the_most_probable_token(greedy: dict[str, Any], load: Any) -> None:
    lm = load("llama")
    plain = {"until": ["\n"], "max_gen_toks": 5, "do_sample": False}
    stock = lm.generate_until([Instance("generate_until", {}, (p, dict(plain)), 0) for p in PROMPTS])
    assert texts(lm, PROMPTS, KWARGS | greedy) == {p: [text] * 5 for p, text in zip(PROMPTS, stock, strict=True)}


def test_a_generation_config_acts_on_no_draw_and_says_so(load: Any, caplog: pytest.LogCaptureFixture) -> None:
    expected = texts(load("llama"), PROMPTS[:3], KWARGS)
    lm = load("llama")
    told = [record for record in caplog.records if "generation_config" in record.getMessage()]
    assert told == []
    config = lm.model.generation_config
    config.top_p, config.repetition_penalty, config.temperature, config.do_sample = 0.5, 1.3, 0.7, True
    assert texts(lm, PROMPTS[:3], KWARGS) == expected
    texts(lm, PROMPTS[:3], KWARGS)
    lm.generate_until([Instance("generate_until", {}, (PROMPTS[1], {"until": ["\n"], "max_gen_toks": 3}), 0)])
    told = [record.getMessage() for record in caplog.records if "generation_config" in record.getMessage()]
    assert told == [
        "requests with seeds are drawn from the model's own probabilities; its generation_config does not act on them: "
        "top_p=0.5, repetition_penalty=1.3",
        "the model's generation_config changes generated texts, and no score: repetition_penalty=1.3",
    ]


def test_requests_without_seeds_are_hflms_and_may_be_mixed(load: Any) -> None:
    lm = load("llama")
    plain = Instance("generate_until", {}, (PROMPTS[1], {"until": ["\n"], "max_gen_toks": 3}), 0)
    alone = lm.generate_until([plain])
    seeded = requests(PROMPTS[:1], KWARGS)
    mixed = lm.generate_until([*seeded[:2], plain, *seeded[2:]])
    assert mixed[2] == alone[0]
    assert [*mixed[:2], *mixed[3:]] == lm.generate_until(seeded)


def test_stops_when_the_answer_is_settled(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = load("llama")
    full = texts(lm, PROMPTS, KWARGS)
    lm._seeded._stops = {"abc": lambda text: len(text) >= 2}
    short = texts(lm, PROMPTS, KWARGS | {"stop_when": "abc"})
    pairs = [(a, b) for prompt in PROMPTS for a, b in zip(short[prompt], full[prompt], strict=True)]
    assert all(b.startswith(a) for a, b in pairs)
    assert any(len(a) < len(b) for a, b in pairs)
    assert texts(lm, PROMPTS, KWARGS | {"stop_when": "abc", "full_text": True}) == full


def test_a_stop_that_has_begun_may_still_shorten_a_settled_text() -> None:
    words = {1: "A the", 2: " end", 3: " man"}

    def ends(stop: tuple[str, ...]) -> list[str]:
        protocol = Protocol((1,), 0.0, 2, stop, decided=decided)
        drawer = Drawer(protocol, [Prompt("a", (1,))], lambda drawn: "".join(words[token] for token in drawn))
        branches = [drawer.start(0)]
        for token in (1, 2):
            logprobs = torch.full((1, 4), -9.0)
            logprobs[0, token] = 0.0
            branches = [branch for _, branch in drawer.step(branches, logprobs)]
            if not branches:
                break
        return drawer.texts[0]

    assert ends(()) == ends(("\n",)) == ["A the"]
    assert ends(("the end",)) == ["A "]  # which reads as A, while "A the" is none


def test_a_special_token_is_a_stop_as_in_lm_eval(load: Any) -> None:
    lm = load("llama")
    with torch.no_grad():
        best = int(lm.model(input_ids=torch.tensor([lm.tok_encode("Who kept the key?")])).logits[0, -1].argmax())
        lm.model.lm_head.weight[1] = 2 * lm.model.lm_head.weight[best]  # <s> comes first now
    kwargs = {"max_gen_toks": 5, "do_sample": False}
    drawn = {}
    for until in ("<s>", "no such text"):
        stock = Instance("generate_until", {}, ("Who kept the key?", kwargs | {"until": [until]}), 0)
        (drawn[until],) = lm.generate_until([stock])
        seeded = kwargs | {"until": [until], "seeds": [1]}
        assert texts(lm, ["Who kept the key?"], seeded) == {"Who kept the key?": [drawn[until]]}
    assert drawn["<s>"] == "" != drawn["no such text"]


def test_an_empty_prompt_is_refused(load: Any) -> None:
    with pytest.raises(UserError, match="the prompt '' has no tokens"):
        texts(load("llama"), [""], KWARGS)


def test_a_model_that_gives_nan_ends_with_empty_texts(load: Any) -> None:
    lm = load("llama")
    lm.model.lm_head.weight.data.fill_(float("nan"))
    assert texts(lm, PROMPTS[:2], KWARGS) == {prompt: [""] * 5 for prompt in PROMPTS[:2]}


def test_where_trees_fail_the_prompts_are_run_alone(load: Any, caplog: pytest.LogCaptureFixture) -> None:
    expected = texts(load("llama"), PROMPTS, KWARGS)
    lm = load("llama")
    forward = lm.model.forward

    def no_packed_cache(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("past_key_values") is not None and kwargs.get("attention_mask") is not None:
            raise ValueError("no mask beside a cache")
        return forward(*args, **kwargs)

    lm.model.forward = no_packed_cache
    with caplog.at_level(logging.WARNING):
        assert texts(lm, PROMPTS, KWARGS) == expected
        assert texts(lm, PROMPTS, KWARGS) == expected
    assert caplog.text.count("every prompt is run on its own") == 1


@pytest.mark.parametrize(
    ("changes", "copies", "message"),
    [
        ({}, 4, "4 copies of a request for 5 seeds; set the task's `repeats` to 5"),
        ({"seeds": []}, 1, "seeds: expected a list of whole numbers, none twice, got"),
        ({"seeds": [1, 1]}, 2, "none twice"),
        ({"seeds": 5}, 1, "got 5"),
        ({"seeds": [True]}, 1, "whole numbers"),
        ({"temperature": -1}, 5, "temperature: expected a number of at least 0, got -1"),
        ({"max_gen_toks": 0}, 5, "max_gen_toks: expected at least 1, got 0"),
        ({"max_gen_toks": 512}, 5, "leaves no room for a prompt in max_length=512"),
        ({"top_p": 0.9}, 5, "unknown generation argument beside `seeds` 'top_p'"),
        ({"stop_when": "abcd"}, 5, "unknown stop_when 'abcd'. Did you mean 'abc'"),
    ],
)
def test_faulty_arguments(changes: dict[str, Any], copies: int, message: str, load: Any) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        load("llama").generate_until(requests(PROMPTS[:1], KWARGS | changes, copies))
