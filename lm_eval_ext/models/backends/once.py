"""`cache_compressed`: a compression in place that is done once for the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lm_eval_ext.errors import UserError, seen
from lm_eval_ext.models.backends.backend import InPlace, Prepared

if TYPE_CHECKING:
    from lm_eval_ext.models.evidence.record import Evidence
    from lm_eval_ext.models.parts.loaded import Loaded
    from lm_eval_ext.models.recipe.recipe import Recipe

__all__ = ["made_once"]


def made_once(prepared: Prepared, recipe: Recipe, cache: Path, asked: object) -> Prepared:
    """What a backend answered, with a compression in place taken from the cache if it lies there.

    Args:
        prepared: The backend's answer. A checkpoint is the backend's to keep, and goes through as it is.
        recipe: What was asked of it.
        cache: Folder of kept checkpoints.
        asked: The model argument `cache_compressed`.

    Raises:
        UserError: If the argument is neither true nor false.
    """
    if not isinstance(asked, bool):
        raise UserError(f"cache_compressed={seen(asked)}: expected true or false")
    if not asked or not isinstance(prepared, InPlace):
        return prepared
    compress = prepared.compress

    def once(loaded: Loaded) -> Evidence:
        from lm_eval_ext.models.checkpoints.reuse import compressed_once

        return compressed_once(loaded, recipe, compress, cache)

    return replace(prepared, compress=once)
