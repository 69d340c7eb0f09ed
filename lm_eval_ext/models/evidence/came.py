"""The evidence of a model that nothing was asked of: dense, or compressed before it came, and then measured."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.evidence.canary import canary_ids, canary_logits, compare_canary
from lm_eval_ext.models.evidence.faithful import decoded_logits
from lm_eval_ext.models.evidence.hashes import weights_hash
from lm_eval_ext.models.evidence.origin import origin_of
from lm_eval_ext.models.evidence.original import ORIGINAL_FILE, counts_as_original
from lm_eval_ext.models.evidence.own import own_checkpoint
from lm_eval_ext.models.evidence.record import Evidence, totals
from lm_eval_ext.models.evidence.summary import bits_of, label_of, sparsity_of, whole
from lm_eval_ext.models.formats.form import Came
from lm_eval_ext.models.formats.modules import packed_matrices, read_modules
from lm_eval_ext.models.formats.plain import look
from lm_eval_ext.models.parts.decoder import unwrap
from lm_eval_ext.models.parts.loaded import Loaded
from lm_eval_ext.models.recipe.recipe import Recipe
from lm_eval_ext.models.targets.find import decoder_matrices
from lm_eval_ext.models.targets.packed import packed_weights
from lm_eval_ext.tokens.vocabulary import refuse_foreign_ids, refuse_foreign_tokenizer

__all__ = ["came"]

log = logging.getLogger(__name__)


def came(loaded: Loaded, recipe: Recipe) -> Evidence:
    """Look at a model as it was loaded.

    Args:
        loaded: The model, how the run calls it, and what reading its files told.
        recipe: Has no steps.

    Returns:
        status "dense" for plain weights as training left them; "proved" for a checkpoint of ours; "measured" where
        the form of every packed matrix was read; "unverified" where it could not be, or contradicts what is said.

    Raises:
        UserError: If the weights or the logits are not finite, or the packed model computes something else than its
            weights say.
    """
    start = time.perf_counter()
    model, tokenizer = loaded.model, loaded.tokenizer
    refuse_foreign_tokenizer(model, tokenizer)
    refuse_foreign_ids(model, tokenizer, canary_ids(tokenizer), "the canary prompt")
    inner = unwrap(model)
    # Read and hashed before the first forward pass: some libraries unpack their weights during it.
    packed = packed_weights(inner)
    digest = weights_hash(model)
    matrices = packed_matrices(inner) if packed else []
    found = read_modules(inner, matrices) if packed else loaded.came
    canary: dict[str, Any] = {}
    decoded = None
    if matrices:
        decoded, canary = decoded_logits(loaded, matrices)
    logits = canary_logits(loaded.call, tokenizer)
    canary |= compare_canary(logits if decoded is None else decoded, logits) | {"argmax": int(logits.argmax())}
    if found is None and not packed:
        found = _plain(model)
    fresh = Evidence(
        label="unverified" if packed else recipe.label,
        method="unverified" if packed else recipe.method,
        sparsity=None,
        bits=None,
        recipe=recipe.as_dict(),
        base=loaded.base,
        weights_hash_before=None if packed else digest,
        weights_hash_after=digest,
        dtype=loaded.dtype,
        softmax_dtype=loaded.softmax_dtype,
        device=loaded.device,
        totals=totals([]),
        canary=canary,
        status="unverified" if packed else "dense",
        doubts=[packed] if packed and not (found and found.forms) else [],
    )
    if found is not None and found.forms:
        fresh = _measured(loaded, fresh, found, inner)
    evidence = own_checkpoint(loaded, fresh) or fresh
    for doubt in evidence.doubts:
        # What its owner says of an original is no news to whoever evaluates it.
        log.log(logging.INFO if evidence.status == "dense" else logging.WARNING, "%s: %s", evidence.label, doubt)
    return replace(evidence, seconds=time.perf_counter() - start)


def _measured(loaded: Loaded, fresh: Evidence, found: Came, inner: nn.Module) -> Evidence:
    """The evidence with what was read of every matrix."""
    broken = [form.name for form in found.forms if not form.finite]
    if broken:
        raise UserError(f"{len(broken)} packed matrices hold numbers that are not finite: {', '.join(broken[:3])}")
    pretrained = loaded.base.get("pretrained")
    if found.method in ("few_levels", "sparse") and counts_as_original(pretrained):
        doubt = f"the weights look compressed ({label_of(found, inner)}) and count as dense by {ORIGINAL_FILE}"
        return replace(fresh, doubts=[*fresh.doubts, doubt])
    label = label_of(found, inner)
    records = [form.as_dict() for form in found.forms]
    sums, left = whole(inner, found)
    doubts = [*fresh.doubts, *found.doubts]
    origin = origin_of(pretrained if isinstance(pretrained, str) else None, str(loaded.base.get("revision", "main")))
    base = dict(loaded.base) | ({"pretrained": origin["base_model"]} if origin["base_model"] else {})
    return replace(
        fresh,
        label=f"{label}(unverified)" if doubts else label,
        method=found.method,
        sparsity=sparsity_of(found, inner),
        bits=None if found.method == "sparse" else bits_of(found, inner),
        base=base,
        weights_hash_before=None,
        totals=totals(records) | sums,
        matrices=records,
        skipped=left,
        status="unverified" if doubts else "measured",
        doubts=doubts,
        reading=found.facts or None,
        loaded=str(pretrained),
        origin=origin,
    )


def _plain(model: nn.Module) -> Came | None:
    """What plain weights show; None too where the decoder's matrices can't be listed."""
    try:
        targets: Sequence[Any] = decoder_matrices(model)
    except UserError:
        return None
    if any(getattr(target.module, target.parameter).is_meta for target in targets):
        return None
    return look((target.info.name, target.view()) for target in targets)
