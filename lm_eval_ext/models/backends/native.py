"""The backend of the methods in `native/`: they change the matrices of the model that was loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lm_eval_ext.models.backends.backend import InPlace, Source

if TYPE_CHECKING:
    from lm_eval_ext.models.evidence.record import Evidence
    from lm_eval_ext.models.parts.loaded import Loaded
    from lm_eval_ext.models.recipe.recipe import Recipe

__all__ = ["Native"]


class Native:
    """Compresses in place; a recipe without steps changes nothing and is measured all the same."""

    name = "native"

    def prepare(self, source: Source, recipe: Recipe, cache: Path) -> InPlace:
        """Nothing is done before the load."""

        def compress(loaded: Loaded) -> Evidence:
            from lm_eval_ext.models.evidence.came import came
            from lm_eval_ext.models.native.driver import compress_

            if not recipe.steps:
                return came(loaded, recipe)
            return compress_(
                loaded.model,
                loaded.tokenizer,
                recipe,
                base=loaded.base,
                softmax_dtype=loaded.softmax_dtype,
                autocast=loaded.autocast,
            )

        return InPlace(compress=compress)
