"""The backend of the methods in `native/`: they change the matrices of the model that was loaded."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lm_eval_ext.models.backends.backend import InPlace, Source

if TYPE_CHECKING:
    from lm_eval_ext.models.evidence.record import Evidence
    from lm_eval_ext.models.parts.loaded import Loaded
    from lm_eval_ext.models.recipe.recipe import Recipe

__all__ = ["Native"]

log = logging.getLogger(__name__)


class Native:
    """Compresses in place; a recipe without steps changes nothing and is measured all the same."""

    name = "native"

    def prepare(self, source: Source, recipe: Recipe, cache: Path) -> InPlace:
        """Nothing is done before the load."""

        def compress(loaded: Loaded) -> Evidence:
            from lm_eval_ext.models.evidence.came import came
            from lm_eval_ext.models.evidence.summary import label_of
            from lm_eval_ext.models.native.driver import compress_
            from lm_eval_ext.models.parts.decoder import unwrap

            if not recipe.steps:
                return came(loaded, recipe)
            evidence = compress_(
                loaded.model,
                loaded.tokenizer,
                recipe,
                base=loaded.base,
                softmax_dtype=loaded.softmax_dtype,
                autocast=loaded.autocast,
            )
            if loaded.came is not None:
                # Plain once loaded, but no original: the recipe comes on top of what was done before.
                evidence.base["came_as"] = label_of(loaded.came, unwrap(loaded.model))
                log.warning("%s is compressed again: it came as %s", *map(evidence.base.get, ("pretrained", "came_as")))
            return evidence

        return InPlace(compress=compress)
