"""Write a compressed model as a plain Hugging Face checkpoint, with its recipe and evidence beside it."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from torch import nn

from lm_eval_ext.models.checkpoints.plain import generation_config, plain_model
from lm_eval_ext.models.checkpoints.trial import refuse_occupied
from lm_eval_ext.models.checkpoints.verify import check_saved
from lm_eval_ext.models.evidence.own import EVIDENCE_FILE, RECIPE_FILE
from lm_eval_ext.models.evidence.record import Evidence
from lm_eval_ext.models.recipe.recipe import Recipe

__all__ = ["EVIDENCE_FILE", "RECIPE_FILE", "save_checkpoint"]

log = logging.getLogger(__name__)


def save_checkpoint(model: nn.Module, tokenizer: Any, folder: str | Path, recipe: Recipe, evidence: Evidence) -> Path:
    """Save model and tokenizer (safetensors), the recipe and the evidence; whole or not at all.

    Args:
        model: The compressed model.
        tokenizer: Its tokenizer.
        folder: Must not exist, or be empty.
        recipe: Written as compression_recipe.yaml; loads again as a recipe.
        evidence: Written as compression_evidence.json.

    Returns:
        The folder.

    Raises:
        UserError: If the folder is occupied, the model can't be saved plainly, or what lies on disk is not what is
            in memory.
    """
    refuse_occupied(folder)
    path = Path(folder).expanduser()
    plain = plain_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with generation_config(plain, partial):
            plain.save_pretrained(partial, safe_serialization=True)
        tokenizer.save_pretrained(partial)
        (partial / RECIPE_FILE).write_text(recipe.as_yaml(), encoding="utf-8")
        (partial / EVIDENCE_FILE).write_text(json.dumps(evidence.as_dict(), indent=2) + "\n", encoding="utf-8")
        check_saved(plain, partial)
        if path.is_dir():
            path.rmdir()
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    log.info("compressed checkpoint written to %s", path)
    return path
