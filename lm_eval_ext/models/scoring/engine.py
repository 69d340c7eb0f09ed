"""Every distinct prefix of many queries once: which rows run when, and the log-probabilities at the scored nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.kv.attention import as_computed
from lm_eval_ext.models.parts.calling import Calling
from lm_eval_ext.models.scoring.memory import attention_width
from lm_eval_ext.models.scoring.packed import PackedModel
from lm_eval_ext.models.scoring.packing import Group, best_row_length, pack
from lm_eval_ext.models.scoring.rows import Row, packed_row, stretched
from lm_eval_ext.models.scoring.trie import Forest, Ints, Query, build_forest
from lm_eval_ext.models.scoring.trust import FAULTS, Differs, Trust

__all__ = ["Score", "TreeScorer"]

# Logits of one pass, in numbers: 64 million float32 are 256 MB.
_MOST_LOGITS = 2**26
# Operations a second of masked attention, as a share of those of the matrix products (measured: 0.6 to 0.8 on CPUs).
_ATTENTION_RATE = 0.7


@dataclass(frozen=True)
class Score:
    """What a model gives to one continuation."""

    log_likelihood: float
    """Sum of the natural log-probabilities of its tokens."""
    greedy: bool
    """Whether each of its tokens is the most probable one."""


class TreeScorer(PackedModel):
    """Scores queries with a transformers model that takes 4-D attention masks."""

    _beyond = 0
    """How many tokens may follow a sequence."""

    def __init__(
        self,
        model: Any,
        *,
        softmax_dtype: torch.dtype | None,
        row_tokens: int,
        rows: int,
        trust: Trust | None = None,
    ) -> None:
        """Prepare, without running anything.

        Args:
            model: Decoder-only model with `position_ids`, on its device(s), or a `Calling` of one.
            softmax_dtype: Dtype of the log-softmax; None is the logits' own.
            row_tokens: Longest row; shorter ones are taken where they cost less.
            rows: A pass holds as many tokens as this many of the longest rows; halved when the device runs out of
                memory.
            trust: Compares the first results with the model's own; None takes all as they are.
        """
        super().__init__(Calling.of(model), softmax_dtype)
        self._row_tokens = row_tokens
        self._pass_tokens = rows * row_tokens
        self._trust = trust

    @torch.no_grad()
    def score(
        self,
        queries: Sequence[Query],
        done: Callable[[int], object] = lambda count: None,
        row_length: int | None = None,
    ) -> list[Score]:
        """Score every query.

        Args:
            queries: In any order; the same prefix, wherever it occurs, is computed once.
            done: Told after each pass how many more queries are finished.
            row_length: Length of rows; None takes what costs least.

        Returns:
            One score a query, in their order.

        Raises:
            Differs: If the trust that was given finds the first results wrong; no score counts then.
        """
        forest = build_forest([query.inputs for query in queries])
        wanted = _wanted(forest, queries)
        scored = np.zeros(len(forest.tokens), dtype=np.int64)
        scored[list(wanted)] = 1
        length = self._row_length(forest, scored) if row_length is None else row_length
        total = np.zeros(len(queries))
        greedy = np.ones(len(queries), dtype=bool)
        left = np.array([len(query.targets) for query in queries])
        for nodes, logprobs in self._passes(pack(forest, scored, length), forest, scored, length):
            owners, targets, rows = [], [], []
            for row, node in enumerate(nodes):
                for owner, target in wanted[node]:
                    owners.append(owner)
                    targets.append(target)
                    rows.append(row)
            values = logprobs[rows, targets].double().cpu().numpy()
            best = logprobs.argmax(-1).cpu().numpy()
            np.add.at(total, owners, values)
            np.logical_and.at(greedy, owners, best[rows] == np.asarray(targets))
            np.subtract.at(left, owners, 1)
            done(int((left[list(set(owners))] == 0).sum()))
        assert not left.any()
        return [Score(float(value), bool(flag)) for value, flag in zip(total, greedy, strict=True)]

    def _passes(
        self, groups: Sequence[Group], forest: Forest, scored: Ints, length: int
    ) -> Iterator[tuple[list[int], Tensor]]:
        """Run all rows; gives the scored nodes of each pass and their log-probabilities, [nodes, vocabulary].

        What is to be compared with the model's own pass is run first, and nothing is given before it has been.
        """
        taken = np.zeros(len(forest.tokens), dtype=bool)
        pasts: dict[int, list[tuple[Tensor, Tensor]]] = {}
        waiting = [sorted(group.rows, key=len, reverse=True) for group in groups]
        first = []
        with as_computed(self._model) as rounds:
            for kind, (number, place, node) in self._witnesses(groups, waiting, forest, scored, length).items():
                try:
                    if number not in pasts:
                        pasts[number] = self._prefill(forest, groups[number].prefix)
                    above = len(groups[number].prefix)
                    row = packed_row(forest, waiting[number][place], above, scored, taken)
                    row = stretched(row, node, length, self._vocabulary)
                    logprobs = self._witnessed(kind, forest, node, row, pasts[number], length)
                except (UserError, Differs):
                    raise
                except FAULTS as error:
                    assert self._trust is not None
                    raise self._trust.unfit(error) from error
                first.append((number, place, [scored_node for _, scored_node in row.scored], logprobs))
        if rounds:
            # What was compared is not what is asked for: all rows are run again, with the cache that the run has.
            first, pasts, taken = [], {}, np.zeros(len(forest.tokens), dtype=bool)
        for number, place, found, logprobs in first:
            del waiting[number][place]
            yield found, logprobs
        for number, group in enumerate(groups):
            past = pasts[number] if number in pasts else self._prefill(forest, group.prefix)
            rows = waiting[number]
            while rows:
                batch = self._batch(rows, scored)
                claimed = taken.copy()
                prepared = [packed_row(forest, nodes, len(group.prefix), scored, claimed) for nodes in batch]
                try:
                    result = self._pass(prepared, past)
                except torch.OutOfMemoryError:
                    if len(batch) == 1:
                        raise
                    self._pass_tokens = max(1, sum(map(len, batch)) // 2)
                    torch.cuda.empty_cache()
                    continue
                taken, rows = claimed, rows[len(batch) :]
                if result is not None:
                    yield [node for row in prepared for _, node in row.scored], result

    def _witnesses(
        self, groups: Sequence[Group], waiting: Sequence[Sequence[Ints]], forest: Forest, scored: Ints, length: int
    ) -> dict[str, tuple[int, int, int]]:
        """By kind of pass the longest sequence, where it has yet to be compared: its group, row and last node."""
        longest: dict[str, tuple[int, tuple[int, int, int]]] = {}
        for number, group in enumerate(groups):
            kind = "rows behind a cached prefix" if len(group.prefix) else "rows"
            for place, nodes in enumerate(waiting[number]):
                depths = np.where(scored[nodes] > 0, forest.depths[nodes], -1)
                best = int(depths.argmax())
                if depths[best] > longest.get(kind, (-1,))[0]:
                    longest[kind] = (int(depths[best]), (number, place, int(nodes[best])))
        return {
            kind: spot
            for kind, (depth, spot) in longest.items()
            if self._trust is not None and self._trust.wants(kind, depth + 1 + self._beyond, length)
        }

    def _witnessed(
        self, kind: str, forest: Forest, node: int, row: Row, past: list[tuple[Tensor, Tensor]], length: int
    ) -> Tensor:
        """Run a row, and compare what it gives on the way to a node with the model's own pass.

        Returns:
            What `_pass` does.

        Raises:
            Differs: If that is wrong.
        """
        logprobs = self._pass([row], past)
        assert logprobs is not None
        assert self._trust is not None
        path = forest.path(node)
        on = [(index, int(forest.depths[other])) for index, (_, other) in enumerate(row.scored) if other in set(path)]
        found = logprobs[[index for index, _ in on]]
        self._trust.compare(kind, forest.tokens[path].tolist(), [depth for _, depth in on], found)
        self._trust.note(kind, len(path), length)
        return logprobs

    def _row_length(self, forest: Forest, scored: Ints) -> int:
        """The length of rows that costs least for this model and these prompts."""
        return best_row_length(forest, scored, self._cell_cost(), self._row_tokens)

    def _cell_cost(self) -> float:
        """Cost of one cell of the attention mask, in passes of one token through the model's matrices.

        A token takes 2 operations a weight; a cell takes 2 a channel and layer for its score and 2 for its value, at a
        lower rate (`_ATTENTION_RATE`).
        """
        weights = sum(weight.numel() for weight in self._model.parameters() if weight.ndim == 2)
        weights -= int(self._model.get_input_embeddings().weight.numel())
        return float(2 * attention_width(self._model) / max(1, weights) / _ATTENTION_RATE)

    def _batch(self, rows: list[Ints], scored: Ints) -> list[Ints]:
        """As many of the next rows as may run together: by their tokens, and by the logits that they ask for.

        Passes are of like size: a last one of a row or two would use the device badly.
        """
        most = max(1, self._pass_tokens // len(rows[0]))
        rows = rows[: -(-len(rows) // -(-len(rows) // most))]
        limit = max(1, _MOST_LOGITS // self._vocabulary)
        asked = np.cumsum([int(scored[row].sum()) for row in rows])
        return rows[: max(1, int((asked <= limit).sum()))]


def _wanted(forest: Forest, queries: Sequence[Query]) -> dict[int, list[tuple[int, int]]]:
    """For each scored node, which queries ask it for which token."""
    wanted: dict[int, list[tuple[int, int]]] = {}
    for owner, query in enumerate(queries):
        node = int(forest.leaves[owner])
        for target in reversed(query.targets):
            wanted.setdefault(node, []).append((owner, target))
            node = int(forest.parents[node])
    return wanted
