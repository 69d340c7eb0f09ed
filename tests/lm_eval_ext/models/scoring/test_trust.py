"""What is compared with the model's own pass, how often, and what is found out by it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lm_eval.models.huggingface import HFLM
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionAndFullAttentionLayer

from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.scoring.alone import divisible
from lm_eval_ext.models.scoring.engine import TreeScorer
from lm_eval_ext.models.scoring.packing import Group
from lm_eval_ext.models.scoring.sampling import TreeSampler
from lm_eval_ext.models.scoring.trie import build_forest
from lm_eval_ext.models.scoring.trust import difference
from tests.helpers.tiny import tiny_model, tiny_tokenizer, write_tiny
from tests.lm_eval_ext.models.scoring.test_fallbacks import PAIRS, asked, compare, warnings
from tests.lm_eval_ext.models.scoring.test_sampling import KWARGS, PROMPTS, requests, slow, texts


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens of each pass in which a model is run as lm-eval does."""
    lengths: list[int] = []
    through = HFLM._model_call

    def counted(self: Any, inps: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        lengths.append(inps.numel())
        logits: torch.Tensor = through(self, inps, *args, **kwargs)
        return logits

    monkeypatch.setattr(HFLM, "_model_call", counted)
    return lengths


def tiny(folder: Path, **options: Any) -> CompressedHFLM:
    return CompressedHFLM(pretrained=str(folder), device="cpu", batch_size=4, **options)


def length(lm: Any, pair: tuple[str, str]) -> int:
    return len(lm.tok_encode("".join(pair))) - 1


def test_one_pass_over_the_longest_of_each_kind(tiny_checkpoint: Path, compared: list[int]) -> None:
    lm = tiny(tiny_checkpoint)
    compared.clear()  # what a load looks at
    many = [(f"{PAIRS[5][0]} {number}?", " A") for number in range(40)]
    lm.loglikelihood(asked(many), disable_tqdm=True)
    # All begin alike: one kind, whose rows stand behind a cached prefix.
    assert compared == [max(length(lm, pair) for pair in many)]
    # Three short ones fit one row: the other kind.
    lm.loglikelihood(asked(PAIRS[:3]), disable_tqdm=True)
    assert compared[1:] == [max(length(lm, pair) for pair in PAIRS[:3])]
    # From now on nothing, until a longer one comes.
    lm.loglikelihood(asked([*many, *PAIRS[:3]]), disable_tqdm=True)
    assert len(compared) == 2
    longer = [(f"{PAIRS[5][0]} again {number}? Who", " A") for number in range(40)]
    lm.loglikelihood(asked(longer), disable_tqdm=True)
    assert compared[2:] == [max(length(lm, pair) for pair in longer)]


def test_a_pass_is_compared_within_the_run(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # No request is scored twice: the tokens that trees run are the same with and without a comparison.
    run: list[int] = []
    through = TreeScorer._forward

    def counted(self: Any, ids: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        run.append(ids.numel())
        return through(self, ids, *args, **kwargs)

    monkeypatch.setattr(TreeScorer, "_forward", counted)
    lm = tiny(tiny_checkpoint)
    many = [(f"{PAIRS[5][0]} {number} kept the key, and who lost it? {number}", " A") for number in range(60)]
    with caplog.at_level(logging.INFO, logger="lm_eval_ext"):
        lm.loglikelihood(asked(many), disable_tqdm=True)
    first = sum(run)
    assert sum("checking prefix trees against the model's own forward pass" in r.message for r in caplog.records) == 1
    run.clear()
    lm.loglikelihood(asked(many), disable_tqdm=True)
    assert first <= sum(run) + 512  # the row that is compared is filled up


@pytest.mark.parametrize("seeded", [False, True])
def test_the_progress_bar_says_what_is_done(
    seeded: bool, tiny_checkpoint: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lm = tiny(tiny_checkpoint)
    asks = requests(PROMPTS[:2], KWARGS) if seeded else asked(PAIRS)
    for line in (1, 0):
        capfd.readouterr()
        lm.generate_until(asks) if seeded else lm.loglikelihood(asks)
        shown = capfd.readouterr().err
        assert ("checking prefix trees against the model's own forward pass" in shown) == bool(line)
        assert f"Running {'generate_until requests with seeds' if seeded else 'loglikelihood requests'}: 100%" in shown


def test_remembered_by_weights_dtypes_and_lengths(tmp_path: Path, tiny_checkpoint: Path, compared: list[int]) -> None:
    def passes(lm: CompressedHFLM) -> int:
        compared.clear()
        lm.loglikelihood(asked(PAIRS), disable_tqdm=True)
        return len(compared)

    other = write_tiny("llama", tmp_path / "other", seed=7)
    assert passes(tiny(tiny_checkpoint)) > 0
    assert passes(tiny(tiny_checkpoint)) == 0
    assert passes(tiny(other)) > 0
    assert passes(tiny(tiny_checkpoint, recipe="magnitude-50")) > 0
    assert passes(tiny(tiny_checkpoint, softmax_dtype="float64")) > 0
    assert passes(tiny(tiny_checkpoint, attn_implementation="eager")) > 0
    assert passes(tiny(tiny_checkpoint, mixed_precision_dtype="bfloat16")) > 0
    assert passes(tiny(tiny_checkpoint)) == 0
    hooked = tiny(tiny_checkpoint)
    hooked.model.model.layers[0].register_forward_hook(lambda module, args, output: output)
    assert passes(hooked) > 0
    assert passes(hooked) == 0


def test_a_refusal_is_remembered_and_told_again(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, compared: list[int]
) -> None:
    masks = TreeScorer._masks
    monkeypatch.setattr(TreeScorer, "_masks", lambda self, visible, *rest: masks(self, visible | True, *rest))
    stock = HFLM(pretrained=str(tiny_checkpoint), device="cpu", softmax_dtype="float32")
    compare(tiny(tiny_checkpoint), stock, PAIRS)
    again = tiny(tiny_checkpoint)
    compared.clear()
    again.loglikelihood(asked(PAIRS[:1]), disable_tqdm=True)
    assert len(compared) == 1  # by lm-eval's own path at once
    assert len([line for line in warnings(caplog) if line.endswith("every prompt is run on its own")]) == 2


def shifted(append: Callable[..., Any], first: int) -> Callable[..., Any]:
    """Appended tokens at a position that is off by one, once a row has so many columns."""

    def wrong(self: Any, branches: Any, spots: Any, keys: torch.Tensor, cache: Any) -> Any:
        if keys.shape[1] >= first:
            spots = [(number, position + 1, seen) for number, position, seen in spots]
        return append(self, branches, spots, keys, cache)

    return wrong


def test_wrong_draws_behind_right_first_tokens_are_found_out(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(TreeSampler, "_append", shifted(TreeSampler._append, 0))
    lm = tiny(tiny_checkpoint)
    prompts = PROMPTS[:3]
    assert texts(lm, prompts, KWARGS) == {prompt: slow(lm, prompt, KWARGS) for prompt in prompts}
    assert lm._seeded.trust.settled is False
    assert len(warnings(caplog)) == 1
    # Scores are another matter: there nothing is appended.
    lm.loglikelihood(asked(PAIRS), disable_tqdm=True)
    assert lm._trees.trust.settled


def test_draws_are_compared_as_far_as_one_seed_goes(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Wrong from the second appended token on, which one of the seeds reaches, and others do not.
    append = TreeSampler._append

    def wrong(self: Any, branches: Any, spots: Any, keys: torch.Tensor, cache: Any) -> Any:
        late = len(branches[0].drawn) > 1
        return append(self, branches, [(row, place + late, seen) for row, place, seen in spots], keys, cache)

    lm = tiny(tiny_checkpoint)
    firsts = {prompt: slow(lm, prompt, KWARGS | {"max_gen_toks": 1}) for prompt in PROMPTS}
    whole = {prompt: [text for text in found if text.isascii() and text.strip()] for prompt, found in firsts.items()}
    prompt = next(prompt for prompt, found in whole.items() if len(set(found)) > 1)
    going = whole[prompt][0]
    lm._seeded._stops = {"abc": lambda text: not text.startswith(going)}
    monkeypatch.setattr(TreeSampler, "_append", wrong)
    texts(lm, [prompt], KWARGS | {"stop_when": "abc"})
    assert lm._seeded.trust.settled is False


def test_the_longest_sequence_need_not_be_in_the_longest_row() -> None:
    # Two rows: five short sequences, 15 tokens in all, and one of eight tokens.
    short = [(number, 7, 8) for number in range(20, 25)]
    forest = build_forest([*short, tuple(range(30, 38))])
    scored = np.zeros(len(forest.tokens), dtype=np.int64)
    scored[forest.leaves] = 1
    rows = [np.arange(15), np.arange(15, 23)]
    asked_for: list[tuple[str, int, int]] = []

    def wants(kind: str, length: int, row: int) -> bool:
        asked_for.append((kind, length, row))
        return True

    trust: Any = SimpleNamespace(wants=wants)
    scorer = TreeScorer(tiny_model("llama"), softmax_dtype=None, row_tokens=16, rows=1, trust=trust)
    group = Group(prefix=np.empty(0, dtype=np.int64), rows=rows)
    assert scorer._witnesses([group], [rows], forest, scored, 16) == {"rows": (0, 1, int(forest.leaves[-1]))}
    assert asked_for == [("rows", 8, 16)]


def test_draws_that_are_wrong_for_a_longer_prompt_alone(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The row of a comparison is filled up to 512, so lengths of prompts must tell: by the position of a token.
    append = TreeSampler._append

    def wrong(self: Any, branches: Any, spots: Any, keys: torch.Tensor, cache: Any) -> Any:
        moved = [(number, position + (position > 60), seen) for number, position, seen in spots]
        return append(self, branches, moved, keys, cache)

    monkeypatch.setattr(TreeSampler, "_append", wrong)
    lm = tiny(tiny_checkpoint)
    short, long = ["Who kept the key?", "A"], ["The ferry leaves at noon. " * 12, "A"]
    assert len(lm.tok_encode(short[0])) < 55 < 65 < len(lm.tok_encode(long[0]))
    assert texts(lm, short, KWARGS) == {prompt: slow(lm, prompt, KWARGS) for prompt in short}
    assert lm._seeded.trust.settled
    assert texts(lm, long, KWARGS) == {prompt: slow(lm, prompt, KWARGS) for prompt in long}
    assert lm._seeded.trust.settled is False


def test_a_wrong_first_token_is_found_out_by_the_sampler_too(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    through = TreeScorer._pass

    def wrong(self: Any, *args: Any) -> Any:
        found = through(self, *args)
        return None if found is None else found.roll(1, -1)

    monkeypatch.setattr(TreeScorer, "_pass", wrong)
    lm = tiny(tiny_checkpoint)
    one = KWARGS | {"max_gen_toks": 1}
    assert texts(lm, PROMPTS[:3], one) == {prompt: slow(lm, prompt, one) for prompt in PROMPTS[:3]}
    assert lm._seeded.trust.settled is False


def test_a_cache_that_gives_other_numbers_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    # One that forgets its first token when a next one comes, in a model that trees don't suit.
    lm = CompressedHFLM(pretrained=tiny_model("llama"), tokenizer=tiny_tokenizer(), max_length=512)
    lm._seeded.trust.refuse("is refused by the test")
    through = lm.model.forward

    def forgetful(*args: Any, **kwargs: Any) -> Any:
        cache = kwargs.get("past_key_values")
        if cache is not None:
            for layer in cache.layers:
                layer.keys[:, :, 0] = 0.0
        return through(*args, **kwargs)

    monkeypatch.setattr(lm.model, "forward", forgetful)
    expected = {prompt: slow(lm, prompt, KWARGS) for prompt in PROMPTS[:3]}
    assert texts(lm, PROMPTS[:3], KWARGS) == expected
    assert lm._seeded._alone._caches is False


def test_caches_that_are_known_to_divide() -> None:
    def cache_of(*layers: Any) -> DynamicCache:
        cache = DynamicCache()
        cache.layers = list(layers)
        for layer in layers:
            layer.update(torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 5, 4))
        return cache

    plain, window = DynamicLayer(), DynamicSlidingWindowLayer(sliding_window=3)
    assert divisible(cache_of(plain, window), 5)
    # One that is short of a token, one that has a state beside its keys, and none at all.
    assert not divisible(cache_of(DynamicLayer()), 6)
    assert not divisible(cache_of(DynamicLayer(), LinearAttentionAndFullAttentionLayer()), 5)
    assert not divisible(None, 5)
    assert not divisible(((torch.zeros(1), torch.zeros(1)),), 5)


ROWS = torch.tensor([[-0.1, -3.0, -5.0], [-0.2, -2.0, -torch.inf]])


@pytest.mark.parametrize(
    ("place", "value", "narrow", "same"),
    [
        (None, 0.0, False, True),
        ((0, 0), -0.1005, False, True),
        ((0, 0), -0.102, False, False),
        ((0, 0), -0.3, True, True),
        ((0, 0), -0.5, True, False),
        ((0, 2), -5.002, False, True),  # the mean is below a thousandth
        ((0, 2), -5.02, False, False),
        ((1, 2), -20.0, False, False),  # -inf is a value
        ((1, 0), float("nan"), False, False),
        ((1, 1), float("nan"), True, False),
    ],
)
def test_what_is_rounding_and_what_is_not(
    place: tuple[int, int] | None, value: float, narrow: bool, same: bool
) -> None:
    found = ROWS.clone()
    if place is not None:
        found[place] = value
    assert (difference(found, ROWS, narrow=narrow) is None) is same
    assert (difference(ROWS, found, narrow=narrow) is None) is same
