"""Where a method works: its targets, the calibration text, and the record of every matrix it replaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.native.bench import AS_ASKED
from lm_eval_ext.models.native.blocks import BlockRunner
from lm_eval_ext.models.native.method import Method
from lm_eval_ext.models.native.norms import InputNorms
from lm_eval_ext.models.native.pipeline import undoing, undone
from lm_eval_ext.models.parts.calling import Calling
from lm_eval_ext.models.parts.decoder import decoder_blocks
from lm_eval_ext.models.parts.finite import all_finite
from lm_eval_ext.models.targets.matrix import Skip
from lm_eval_ext.models.targets.target import Target

__all__ = ["Workbench"]

# Far below one entry, far above the rounding of share times entries in double precision.
_EPSILON = 1e-6


class Workbench:
    """One step at work on one model. Holds no copy of a weight."""

    def __init__(
        self,
        model: nn.Module | Calling,
        step: Method,
        targets: Sequence[Target],
        skips: Sequence[Skip],
        samples: Sequence[Tensor],
        earlier: Mapping[str, Sequence[tuple[int, Method]]] | None = None,
        *,
        quiet: bool = False,
    ) -> None:
        """Prepare one step.

        Args:
            model: The model.
            step: The step.
            targets: What it compresses.
            skips: What it leaves alone.
            samples: Calibration text as token ids.
            earlier: The steps that changed a matrix before, by its name; see `pipeline.undone`.
            quiet: Show no progress.
        """
        self._earlier = earlier or {}
        self.targets = list(targets)
        self.skips = list(skips)
        self.records: list[dict[str, Any]] = []
        self.unseen: list[str] = []
        self._call = Calling.of(model)
        self._model: nn.Module = self._call.model
        self._step = step
        self._samples = samples
        self._faults: list[str] = []
        # Matrices, entries, zeros and newly removed of those that share a count over several matrices.
        self._shared = [0, 0, 0, 0]
        self._shared_at_most = True
        self._progress = tqdm(
            total=len(self.targets), desc=f"Compressing ({step.method})", unit="matrix", disable=quiet
        )

    def replace(
        self,
        target: Target,
        after: Tensor,
        *,
        asked: object = AS_ASKED,
        tolerance: float = 0.0,
        unit: int | None = None,
        at_most: bool = True,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """As in `Bench`: write a compressed matrix into the model and record what became of it."""
        before = target.view()
        assert after.shape == before.shape, (after.shape, before.shape)
        name = target.info.name
        record: dict[str, Any] = {
            "name": name,
            "shape": [target.info.rows, target.info.cols],
            "method": self._step.method,
        }
        if target.aliases:
            record["aliases"] = list(target.aliases)
        if all_finite(after):
            slack = before.numel() * (tolerance + 1 / (unit or target.info.cols)) + _EPSILON
            share = self._step.asked_sparsity if asked is AS_ASKED else asked
            record |= self._sparsity(name, before, after, share, slack, at_most)
            if name in self._earlier:
                record |= undone(self._earlier[name], before, after)
        else:
            self._faults.append(f"{name} has non-finite weights after compression")
        if self._step.asked_bits is not None:
            record["asked_bits"] = self._step.asked_bits
        record["bytes"] = before.numel() * before.element_size()
        record |= detail or {}
        if record.get("levels", 0) > record.get("levels_allowed", record.get("levels", 0)):
            self._faults.append(f"{name} has {record['levels']} values a group, {record['levels_allowed']} allowed")
        before.copy_(after)
        self.records.append(record)
        self._progress.update(1)

    def _sparsity(
        self, name: str, before: Tensor, after: Tensor, share: object, slack: float, at_most: bool
    ) -> dict[str, Any]:
        """The zeros of one matrix, held against the share asked; `slack` in entries."""
        numel = before.numel()
        zeros = int((after == 0).sum())
        record: dict[str, Any] = {"achieved_sparsity": zeros / numel, "zeros": zeros}
        if self._step.kind != "prune":
            return record
        removed = zeros - int((before == 0).sum())
        if not bool(((after == before) | (after == 0)).all()):
            self._faults.append(f"{name} has changed weights among those kept")
        if not isinstance(share, float | int):
            self._shared = [old + new for old, new in zip(self._shared, (1, numel, zeros, removed), strict=True)]
            self._shared_at_most &= at_most
            return record
        if zeros < share * numel - slack or (at_most and removed > share * numel + slack):
            self._faults.append(f"{name} has {zeros / numel:.4%} zeros, asked {share:.4%}")
        return {"asked_sparsity": share} | record

    def _check_shared(self) -> None:
        """Hold the matrices that share one count against what was asked of them together."""
        matrices, numel, zeros, removed = self._shared
        asked = self._step.asked_sparsity
        if asked is None or not matrices:
            return
        # One count a group of matrices is rounded down, so less than one entry a matrix is missing.
        slack = matrices + _EPSILON
        if zeros < asked * numel - slack or (self._shared_at_most and removed > asked * numel + slack):
            self._faults.append(f"the targets have {zeros / numel:.4%} zeros together, asked {asked:.4%}")

    def note_unseen(self, target: Target) -> None:
        """Remember an expert that no calibration token reached."""
        self.unseen.append(target.info.name)

    def rehearse(self) -> None:
        """Run the first sample through the model, before any weight is changed.

        Raises:
            UserError: If statistics can't be had: an input is not finite, a matrix sees no token, or the blocks can't
                be run one by one where the step asks for that.
        """
        runner, norms = BlockRunner(self._call, self._samples[:1]), InputNorms(self._model)
        with torch.no_grad():
            with norms.watch(self.targets):
                self._whole(runner, norms, [target for target in self.targets if target.place == "lm_head"], 1)
            norms.refuse_unreached(self.targets)
            for target in self.targets:
                norms.norm(target)
            if getattr(self._step, "sequential", False):
                runner.check()

    def dense_norms(self) -> InputNorms:
        """Input norms of all targets from the model as it is now."""
        runner, norms = BlockRunner(self._call, self._samples), InputNorms(self._model)
        with torch.no_grad(), norms.watch(self.targets):
            self._whole(runner, norms, [target for target in self.targets if target.place == "lm_head"])
        return norms

    def sequential_norms(self) -> Iterator[tuple[list[Target], InputNorms]]:
        """Block after block: its targets and their input norms, behind blocks that are pruned already.

        A matrix that later blocks use too has its turn with the first of them. Its norms are over all its uses, those
        of later blocks in the model as it is then. The caller prunes the targets before it asks for the next block.
        """
        runner = BlockRunner(self._call, self._samples)
        with torch.no_grad():
            runner.check()
            groups = {block: list(group) for block, group in groupby(self.targets, key=lambda target: target.block)}
            for index in range(len(runner.blocks)):
                norms, targets = InputNorms(self._model), groups.get(index, [])
                shared = [target for target in targets if self._used_later(target)]
                own = [target for target in targets if target not in shared]
                if shared:
                    with norms.watch(shared):
                        self._whole(runner, norms)
                if own:
                    with norms.watch(own):
                        runner.run_block(keep=False, watched=_plain_modules(own))
                if targets:
                    yield targets, norms
                if index + 1 < len(runner.blocks):
                    runner.run_block(keep=True)
            if heads := groups.get(len(runner.blocks), []):
                norms = InputNorms(self._model)
                self._whole(runner, norms, heads)
                yield heads, norms

    def _whole(
        self, runner: BlockRunner, norms: InputNorms, heads: Sequence[Target] = (), first: int | None = None
    ) -> None:
        """All samples, or only the first ones, through the whole model and, at its end, into the output layers."""
        for ids in self._samples[:first]:
            hidden = runner.whole(ids)
            for target in heads:
                if hidden is None:
                    raise UserError(f"the model does not run {target.info.name} as a module; remove lm_head=True")
                norms.add(target, hidden)

    def _used_later(self, target: Target) -> bool:
        """Whether another block holds this matrix too."""
        if not target.aliases:
            return False
        blocks = f"{decoder_blocks(self._model)[0]}."
        uses = {
            n.removeprefix(blocks).split(".")[0] for n in (target.info.name, *target.aliases) if n.startswith(blocks)
        }
        return len(uses) > 1

    def finish(self) -> None:
        """Close the step.

        Raises:
            UserError: If a target was not compressed, achieved less or more than asked, or is not finite.
        """
        self._progress.close()
        done = {record["name"] for record in self.records}
        self._faults += [f"{t.info.name} was not compressed" for t in self.targets if t.info.name not in done]
        self._check_shared()
        if (lost := undoing(self._step, self.records)) and not self._step.allow_regrowth:
            self._faults.append(f"{lost}; allow_regrowth=True accepts it and states how much")
        if self._faults:
            raise UserError(f"{self._step.method} did not do what was asked: {'; '.join(self._faults)}")


def _plain_modules(targets: Sequence[Target]) -> list[nn.Module]:
    """The modules of these targets if each is one of its own that every token passes, else none."""
    plain = all(t.place == "block" and t.expert is None and not t.routed and not t.aliases for t in targets)
    return [target.module for target in targets] if plain else []
