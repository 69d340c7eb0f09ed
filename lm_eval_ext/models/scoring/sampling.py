"""K seeds from one prefill: draws for all prompts of a pass of packed rows together, or for one prompt at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from lm_eval_ext.models.scoring.draws import Branch, Drawer, log_probabilities
from lm_eval_ext.models.scoring.engine import TreeScorer
from lm_eval_ext.models.scoring.packing import pack
from lm_eval_ext.models.scoring.rows import Row
from lm_eval_ext.models.scoring.trie import Forest, build_forest

__all__ = ["TreeSampler"]

Done = Callable[[int], object]
# Of each seed of a prompt that is compared, log-probabilities are kept of so many steps, and of the last.
_KEPT_STEPS = 8


class TreeSampler(TreeScorer):
    """Draws from prefix trees: each distinct prefix of all prompts is run once, whatever the number of seeds.

    After a pass over rows, the branches of all their prompts go on together. Each step appends one token a branch to
    the rows' cache; it sees the group's prefix, its prompt's nodes in the row, and its own branch.
    """

    _drawer: Drawer
    _owners: dict[int, list[int]]

    _watched: int | None = None
    _trace: dict[int, list[tuple[Branch, Tensor]]]

    @torch.no_grad()
    def draw(self, drawer: Drawer, done: Done = lambda count: None) -> None:
        """Draw for every prompt of a drawer, which holds the texts afterwards; `done` is told of prompts.

        Raises:
            Differs: If the trust that was given finds the first results wrong; no text counts then.
        """
        forest = build_forest([prompt.tokens for prompt in drawer.prompts])
        self._drawer, self._owners = drawer, {}
        self._beyond = drawer.protocol.max_tokens
        scored = np.zeros(len(forest.tokens), dtype=np.int64)
        for number, leaf in enumerate(forest.leaves.tolist()):
            self._owners.setdefault(leaf, []).append(number)
            # As many as there may be branches, so that a pass is no larger than their logits allow.
            scored[leaf] += len(drawer.protocol.seeds)
        length = self._row_length(forest, scored)
        for nodes, _ in self._passes(pack(forest, scored, length), forest, scored, length):
            done(sum(len(self._owners[node]) for node in nodes))

    def _witnessed(
        self, kind: str, forest: Forest, node: int, row: Row, past: list[tuple[Tensor, Tensor]], length: int
    ) -> Tensor:
        self._watched, self._trace = self._owners[node][0], {}
        try:
            logprobs = self._pass([row], past)
        finally:
            self._watched = None
        assert logprobs is not None
        assert self._trust is not None
        steps = max(self._trace.values(), key=len)
        prompt = self._drawer.prompts[steps[0][0].prompt].tokens
        places = [len(prompt) - 1 + len(branch.drawn) for branch, _ in steps]
        tokens = [*prompt, *steps[-1][0].drawn]
        self._trust.compare(kind, tokens, places, torch.stack([values for _, values in steps]))
        # Where all seeds end at their first token, nothing has yet been seen of those behind it.
        if len(steps) > 1 or self._beyond == 1:
            self._trust.note(kind, len(prompt) + self._beyond, length)
        return logprobs

    def _pass(
        self, rows: Sequence[Row], past: list[tuple[Tensor, Tensor]], cache: DynamicCache | None = None
    ) -> Tensor | None:
        cache = DynamicCache()
        logprobs = super()._pass(rows, past, cache)
        if logprobs is not None:
            self._go_on(rows, past[0][0].shape[-2] if past else 0, cache, logprobs)
        return logprobs

    def _go_on(self, rows: Sequence[Row], before: int, cache: DynamicCache, logprobs: Tensor) -> None:
        """Draw to the end, from the log-probabilities at the rows' scored nodes."""
        length = max(len(row.tokens) for row in rows)
        keys = torch.zeros(len(rows), before + length, dtype=torch.long)
        keys[:, :before] = torch.arange(before)
        branches: list[Branch] = []
        spots: list[tuple[int, int, Tensor]] = []  # a branch's row, next position, and what it sees of the columns
        sources: list[int] = []
        scored = [(number, place, node) for number, row in enumerate(rows) for place, node in row.scored]
        for number, row in enumerate(rows):
            keys[number, before : before + len(row.tokens)] = row.positions
        for source, (number, place, node) in enumerate(scored):
            row = rows[number]
            seen = torch.zeros(before + length, dtype=torch.bool)
            seen[:before] = True
            seen[before : before + len(row.tokens)] = row.visible[place]
            for owner in self._owners[node]:
                branches.append(self._drawer.start(owner))
                spots.append((number, int(row.positions[place]) + 1, seen))
                sources.append(source)
        logprobs = logprobs[torch.tensor(sources, device=logprobs.device)]
        while moved := self._step(branches, logprobs):
            branches = [branch for _, branch in moved]
            spots = [spots[parent] for parent, _ in moved]
            logprobs, keys, spots = self._append(branches, spots, keys, cache)

    def _step(self, branches: Sequence[Branch], logprobs: Tensor) -> list[tuple[int, Branch]]:
        for branch, values in zip(branches, logprobs, strict=True):
            if branch.prompt == self._watched:
                for seed in branch.seeds:
                    steps = self._trace.setdefault(seed, [])
                    del steps[_KEPT_STEPS:]
                    steps.append((branch, values))
        return self._drawer.step(branches, logprobs)

    def _append(
        self, branches: Sequence[Branch], spots: Sequence[tuple[int, int, Tensor]], keys: Tensor, cache: DynamicCache
    ) -> tuple[Tensor, Tensor, list[tuple[int, int, Tensor]]]:
        """Run the last token of each branch behind its row; log-probabilities after it, [branches, vocabulary]."""
        count, columns = keys.shape
        used = [0] * count
        slots = []
        for number, _, _ in spots:
            slots.append(used[number])
            used[number] += 1
        width = max(used)
        ids = torch.zeros(count, width, dtype=torch.long)
        positions = torch.zeros(count, width, dtype=torch.long)
        visible = torch.zeros(count, width, columns + width, dtype=torch.bool)
        visible[:, range(width), range(columns, columns + width)] = True
        moved = []
        for branch, (number, position, seen), slot in zip(branches, spots, slots, strict=True):
            ids[number, slot], positions[number, slot] = branch.drawn[-1], position
            visible[number, slot, :columns] = seen
            moved.append((number, position + 1, visible[number, slot]))
        keys = torch.cat([keys, positions], dim=1)
        keep = torch.tensor([number * width + slot for (number, _, _), slot in zip(spots, slots, strict=True)])
        device = self._device
        logits = self._forward(ids.to(device), visible, positions, keys, cache, keep=keep)
        assert logits is not None
        return log_probabilities(logits, self._softmax_dtype), keys, moved
