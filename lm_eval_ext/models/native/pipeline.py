"""Steps one after the other: what a later one takes back of an earlier one, and what holds at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, log2
from typing import Any

from torch import Tensor

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.native.method import MatrixMethod, Method

__all__ = ["Done", "earlier_steps", "held_bits", "held_sparsity", "refuse_undoing", "undoing", "undone"]

Done = Sequence[tuple[Method, Sequence[dict[str, Any]]]]
"""Each step with the records of its matrices, in order."""

# Shares of zeros nearer than this are one dose: ties and random counts stray by less.
_SAME_DOSE = 0.005


def refuse_undoing(plan: Iterable[tuple[Method, Sequence[str]]]) -> None:
    """Refuse, before any work, a step that can't keep what an earlier one did.

    Args:
        plan: The steps in order, each with the names of its matrices.

    Raises:
        UserError: If a step that does not keep zeros follows one that prunes the same matrices, without allow_regrowth.
    """
    pruned: dict[str, str] = {}
    for step, names in plan:
        hit = [name for name in names if name in pruned]
        if hit and not step.keeps_zeros and not step.allow_regrowth:
            raise UserError(
                f"{step.method} after {pruned[hit[0]]} brings pruned weights back: its values near zero are not zero "
                f"itself ({len(hit)} matrices). Quantize with rtn, which keeps zeros, or set allow_regrowth=True "
                "to have the loss measured"
            )
        if step.asked_sparsity:
            pruned |= dict.fromkeys(names, step.method)


def undone(earlier: Sequence[tuple[int, Method]], before: Tensor, after: Tensor) -> dict[str, Any]:
    """What a step takes back of earlier ones in one matrix.

    Args:
        earlier: The steps that changed this matrix before, in order, each behind its place in the recipe.
        before: [rows, cols] as they left it.
        after: [rows, cols], new.

    Returns:
        `regrown`, zeros that are zeros no longer, if some step pruned; `broken`, one entry for each earlier step whose
        groups lose their form: step (its place), method, groups (that lost it now), of (groups looked at) and, of a
        quantizer, levels (of the fullest group, now).
    """
    facts: dict[str, Any] = {}
    if any(step.asked_sparsity for _, step in earlier):
        facts["regrown"] = int(((before == 0) & (after != 0)).sum())
    broken = []
    for place, step in earlier:
        groups, of = step.breaches(after)
        groups -= step.breaches(before)[0] if groups else 0
        if groups > 0:
            levels = {} if step.asked_bits is None else {"levels": _levels(step, after)}
            broken.append({"step": place, "method": step.method, "groups": groups, "of": of} | levels)
    return facts | ({"broken": broken} if broken else {})


def undoing(step: Method, records: Sequence[dict[str, Any]]) -> str:
    """One line on what a step took back of earlier ones, over all its matrices; empty if nothing."""
    parts = []
    regrown = [record for record in records if record.get("regrown")]
    if regrown:
        count = sum(record["regrown"] for record in regrown)
        parts.append(f"{count} pruned weights came back in {_named(regrown)}")
    places = dict.fromkeys(entry["step"] for record in records for entry in record.get("broken", ()))
    for place in places:
        hit = [r for r in records if any(entry["step"] == place for entry in r.get("broken", ()))]
        entries = [entry for r in hit for entry in r["broken"] if entry["step"] == place]
        groups, of = (sum(entry[key] for entry in entries) for key in ("groups", "of"))
        what = "values than its bits allow" if "levels" in entries[0] else "weights than its pattern keeps"
        parts.append(f"{groups} of {of} groups of {entries[0]['method']} have more {what}, in {_named(hit)}")
    return f"{step.method} undoes what was done before: {'; '.join(parts)}" if parts else ""


def held_sparsity(done: Done) -> float | None:
    """Share of zeros that pruning made and that are zeros still, over the matrices that some step pruned.

    Returns:
        The share asked for, if all these matrices were last pruned by steps that asked the same, nothing came back and
        the measured share exceeds it by less than half a point; otherwise the share measured. None without a pruner.
    """
    asked: dict[str, float] = {}
    zeros: dict[str, int] = {}
    sizes: dict[str, int] = {}
    regrown = 0
    for step, records in done:
        for record in records:
            name = record["name"]
            if step.asked_sparsity is not None:
                asked[name], zeros[name] = step.asked_sparsity, record["zeros"]
                sizes[name] = record["shape"][0] * record["shape"][1]
            elif name in zeros:
                zeros[name] -= record.get("regrown", 0)
                regrown += record.get("regrown", 0)
    if not sum(sizes.values()):
        return None
    share = sum(zeros.values()) / sum(sizes.values())
    doses = set(asked.values())
    nominal = doses.pop() if len(doses) == 1 and not regrown else None
    return share if nominal is None or share - nominal >= _SAME_DOSE else nominal


def held_bits(done: Done) -> float | None:
    """Bits a weight that the values still fit in, over the matrices that some step quantized; scales not counted.

    A matrix has the bits of its strongest quantizer. Where a later step put more values into a group, it has the bits
    that the fullest group needs. Matrices of different bits give their mean, weighted by size. None without a
    quantizer.
    """
    bits: dict[str, dict[int, float]] = {}
    sizes: dict[str, int] = {}
    for place, (step, records) in enumerate(done):
        for record in records:
            own = bits.setdefault(record["name"], {})
            for entry in record.get("broken", ()):
                if "levels" in entry:
                    own[entry["step"]] = max(own[entry["step"]], float(ceil(log2(entry["levels"]))))
            if step.asked_bits is not None:
                own[place] = step.asked_bits
                sizes[record["name"]] = record["shape"][0] * record["shape"][1]
    best = {name: min(own.values()) for name, own in bits.items() if own}
    if len(set(best.values())) <= 1:
        return next(iter(best.values()), None)
    return sum(best[name] * sizes[name] for name in best) / sum(sizes.values())


def earlier_steps(done: Done) -> dict[str, list[tuple[int, Method]]]:
    """Which steps changed each matrix so far, each behind its place in the recipe."""
    found: dict[str, list[tuple[int, Method]]] = {}
    for place, (step, records) in enumerate(done):
        for record in records:
            found.setdefault(record["name"], []).append((place, step))
    return found


def _levels(step: Method, weight: Tensor) -> int:
    assert isinstance(step, MatrixMethod)
    return int(step.describe(weight, weight)["levels"])


def _named(records: Sequence[dict[str, Any]]) -> str:
    names = [record["name"] for record in records]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more matrices" if len(names) > 3 else "")
