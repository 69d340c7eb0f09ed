"""A model that can't be loaded: found before the work where a look at the folder tells, and told in one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_eval_ext.errors import UserError, require_text

__all__ = ["load_fault", "refuse_no_model"]

# Longer texts of libraries go on with advice that fits no line.
_LONGEST = 300
_TOKENIZERS = ("tokenizer*", "*.model", "vocab*", "*.tiktoken", "tekken.json", "spiece*", "merges.txt")


def refuse_no_model(pretrained: Any, options: Mapping[str, Any]) -> None:
    """Raise UserError for a path that can't hold a model, before anything looks for it on the hub.

    Args:
        pretrained: HFLM's argument: a folder, a name on the hub, or a model that is loaded already.
        options: HFLM's other arguments; `peft`, `delta` and `tokenizer` may be folders too, `gguf_file` needs no
            configuration, and `subfolder` holds it elsewhere.
    """
    if pretrained is None or (isinstance(pretrained, str) and not pretrained.strip()):
        raise UserError("no model given; add --model_args pretrained=FOLDER or pretrained=NAME_ON_THE_HUB")
    for key, value in {"pretrained": pretrained, **{k: options.get(k) for k in ("peft", "delta", "tokenizer")}}.items():
        if isinstance(value, str):
            _refuse_path(key, value)
    if not isinstance(pretrained, str) or not Path(pretrained).is_dir():
        return
    folder = Path(pretrained) / str(options.get("subfolder") or "")
    if not options.get("gguf_file") and not (folder / "config.json").is_file():
        raise UserError(
            f"pretrained={pretrained}: the folder holds no config.json, so it is no model; name the folder "
            "that holds config.json and the weights"
        )


def load_fault(error: Exception, pretrained: Any) -> UserError:
    """What a library raised while it loaded a model, as one line for the user.

    Args:
        error: Any exception; a UserError is handed back as it is.
        pretrained: HFLM's argument.
    """
    if isinstance(error, UserError):
        return error
    text = re.sub(r"\s+", " ", str(error)).strip().rstrip(".") or type(error).__name__
    if isinstance(error, TypeError) and "unexpected keyword argument" in text:
        return UserError(f"model argument not known to compressed_hf, HFLM or the model: {text}")
    if len(text) > _LONGEST:
        text = text[:_LONGEST].rsplit(" ", 1)[0] + " ..."
    name = pretrained if isinstance(pretrained, str) else type(pretrained).__name__
    return UserError(f"the model {name} can't be loaded as asked: {text}{_hint(error, text, pretrained)}")


def _hint(error: Exception, text: str, pretrained: Any) -> str:
    """What the kind of error and a look at the folder add to a library's words."""
    if type(error).__name__ == "SafetensorError":
        return "; a weights file is damaged or cut short: copy or download it again"
    if not isinstance(pretrained, str):
        return ""
    folder = Path(pretrained)
    if not folder.is_dir():
        return "; and there is no folder of this name here"
    if "tokenizer" in text.lower() and not any(any(folder.glob(pattern)) for pattern in _TOKENIZERS):
        return "; the folder holds no tokenizer: copy its files there, or add tokenizer=FOLDER"
    return ""


def _refuse_path(key: str, value: str) -> None:
    require_text(f"{key}=", value)
    path = Path(value)
    if path.is_file():
        raise UserError(f"{key}={value} is a file; name the folder that it lies in (a GGUF file by gguf_file=NAME)")
    is_path = (
        path.is_absolute()
        or value.startswith((".", "~"))
        or value.count("/") > 1
        or value.endswith("/")
        or "\\" in value
    )
    if is_path and not path.is_dir():
        reason = "~ is not expanded here" if value.startswith("~") else "there is no such folder"
        raise UserError(f"{key}={value}: {reason}; give the folder of a model, or its name on the hub (OWNER/NAME)")
