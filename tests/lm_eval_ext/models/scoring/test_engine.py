"""The tree scorer against the plain model, one sequence at a time."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from lm_eval_ext.models.scoring.engine import TreeScorer
from lm_eval_ext.models.scoring.trie import Query
from tests.helpers.tiny import FAMILIES, tiny_model


def some_queries(seed: int, contexts: int = 18, beginning: int = 20) -> list[Query]:
    """Random requests: shared beginnings, contexts that continue others, one target token and several, repeats."""
    draw = random.Random(seed)

    def tokens(least: int, most: int) -> list[int]:
        return [draw.randrange(3, 300) for _ in range(draw.randint(least, most))]

    start = tokens(beginning, beginning)
    known: list[list[int]] = []
    queries = []
    for _ in range(contexts):
        context = draw.choice(known) + tokens(0, 8) if known and draw.random() < 0.5 else start + tokens(1, 40)
        known.append(context)
        for _ in range(draw.randint(1, 3)):
            targets = tokens(1, 5)
            queries.append(Query(tuple((context + targets)[:-1]), tuple(targets)))
    return [*queries, queries[0]]


def plain(model: Any, query: Query, dtype: torch.dtype | None = torch.float32) -> tuple[float, bool]:
    with torch.no_grad():
        logits = model(torch.tensor([query.inputs])).logits[0].log_softmax(-1, dtype=dtype)
    last = logits[-len(query.targets) :]
    value = float(last[range(len(query.targets)), list(query.targets)].double().sum())
    return value, last.argmax(-1).tolist() == list(query.targets)


def scorer(model: Any, row_tokens: int = 64, rows: int = 3) -> TreeScorer:
    return TreeScorer(model, softmax_dtype=torch.float32, row_tokens=row_tokens, rows=rows)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("beginning", [0, 20])
def test_equals_one_sequence_at_a_time(family: str, beginning: int) -> None:
    # Contexts reach 60 tokens and more: far beyond the sliding windows of the tiny mistral (16) and gemma2 (8).
    model, queries = tiny_model(family), some_queries(1, beginning=beginning)
    expected = [plain(model, query) for query in queries]
    for row_tokens, rows in ((16, 1), (64, 3), (512, 8)):
        found = scorer(model, row_tokens, rows).score(queries)
        assert [score.log_likelihood for score in found] == pytest.approx([v for v, _ in expected], abs=2e-4)
        assert [score.greedy for score in found] == [flag for _, flag in expected]


@pytest.mark.parametrize("seed", range(6))
def test_random_requests_of_one_family(seed: int) -> None:
    model, queries = tiny_model("llama"), some_queries(100 + seed, contexts=30, beginning=seed * 3)
    found = scorer(model, 48, 2).score(queries)
    assert [s.log_likelihood for s in found] == pytest.approx([plain(model, q)[0] for q in queries], abs=2e-4)


def test_greedy_is_true_for_the_models_own_continuation() -> None:
    model = tiny_model("llama")
    context = [5, 6, 7, 8, 9]
    with torch.no_grad():
        own = model.generate(torch.tensor([context]), max_new_tokens=4, do_sample=False)[0, 5:].tolist()
    other = [*own[:3], (own[3] + 1) % 300]
    queries = [Query(tuple((context + tail)[:-1]), tuple(tail)) for tail in (own, other)]
    assert [score.greedy for score in scorer(model).score(queries)] == [True, False]


def test_greedy_is_false_wherever_one_token_is_not_the_most_probable() -> None:
    # The tokens behind the odd one are those that the model itself would say there.
    model = tiny_model("llama")
    context = [5, 6, 7, 8, 9]

    def best(tokens: list[int]) -> int:
        with torch.no_grad():
            return int(model(torch.tensor([tokens])).logits[0, -1].argmax())

    queries = []
    for odd in (0, 1, 2, 3, None):
        targets: list[int] = []
        for place in range(4):
            own = best(context + targets)
            targets.append((own + 1) % 300 if place == odd else own)
        queries.append(Query(tuple((context + targets)[:-1]), tuple(targets)))
    found = scorer(model).score(queries)
    assert [score.greedy for score in found] == [False, False, False, False, True]
    assert [score.greedy for score in found] == [plain(model, query)[1] for query in queries]


def test_order_and_batches_change_nothing_but_rounding() -> None:
    model, queries = tiny_model("qwen2"), some_queries(3)
    turned = queries[::-1]
    first = scorer(model, 64, 1).score(queries)
    second = scorer(model, 64, 7).score(turned)[::-1]
    assert [s.log_likelihood for s in first] == pytest.approx([s.log_likelihood for s in second], abs=2e-5)


def test_bfloat16_weights_are_scored_in_float32() -> None:
    model, queries = tiny_model("llama", dtype=torch.bfloat16), some_queries(4)
    found = scorer(model).score(queries)
    expected = [plain(model, query)[0] for query in queries]
    # Rounding in bfloat16 differs with the shape of a batch: 8 bits, some dozen operations deep.
    assert [s.log_likelihood for s in found] == pytest.approx(expected, abs=0.5)
    assert any(float(torch.tensor(s.log_likelihood).bfloat16()) != s.log_likelihood for s in found)


def test_passes_are_of_like_size(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ten rows of 16 tokens that share nothing, at most four a pass: not 4, 4 and 2.
    model = tiny_model("llama")
    queries = [Query(tuple(range(10 + 20 * i, 26 + 20 * i)), (5,)) for i in range(10)]
    engine = scorer(model, 16, 4)
    through, sizes = engine._pass, []

    def counted(rows: Any, past: Any) -> Any:
        sizes.append(len(rows))
        return through(rows, past)

    monkeypatch.setattr(engine, "_pass", counted)
    found = engine.score(queries, row_length=16)
    assert sizes == [4, 3, 3]
    assert [s.log_likelihood for s in found] == pytest.approx([plain(model, q)[0] for q in queries], abs=2e-4)


def test_a_device_out_of_memory_is_given_half(monkeypatch: pytest.MonkeyPatch) -> None:
    model, queries = tiny_model("llama"), some_queries(5)
    engine = scorer(model, 16, 4)
    through, sizes = engine._pass, []

    def short(rows: Any, past: Any) -> Any:
        sizes.append((sum(len(row.tokens) for row in rows), len(rows)))
        if sizes[-1][0] > 32:
            raise torch.OutOfMemoryError("too much")
        return through(rows, past)

    monkeypatch.setattr(engine, "_pass", short)
    found = engine.score(queries)
    assert [s.log_likelihood for s in found] == pytest.approx([plain(model, q)[0] for q in queries], abs=2e-4)
    # 4 rows of 16 tokens are allowed at first; half of what didn't fit afterwards, or a single row.
    first, *rest = sizes
    assert 32 < first[0] <= 64
    assert all(tokens <= first[0] // 2 or rows == 1 for tokens, rows in rest)


def test_one_row_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = scorer(tiny_model("llama"), 16, 1)

    def never(rows: Any, past: Any) -> Any:
        raise torch.OutOfMemoryError("too much")

    monkeypatch.setattr(engine, "_pass", never)
    with pytest.raises(torch.OutOfMemoryError):
        engine.score(some_queries(6))


def test_distinct_tokens_alone_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")
    shared = list(range(3, 43))
    queries = [Query((*shared, i), (9,)) for i in range(50, 80)]
    counted = 0
    forward = model.forward

    def count(*args: Any, **kwargs: Any) -> Any:
        nonlocal counted
        counted += args[0].numel()
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", count)
    scorer(model, 64, 4).score(queries)
    # Forty shared tokens once and thirty of their own, in two rows of 16 of which one is padded by 2; 30 x 41 = 1,230
    # without sharing.
    assert counted == 72
