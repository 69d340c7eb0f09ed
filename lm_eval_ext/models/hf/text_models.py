"""Whether transformers has a text model for a checkpoint: asked of its config, before any weight is read."""

from __future__ import annotations

from typing import Any

from lm_eval_ext.errors import UserError

__all__ = ["refuse_no_text_model"]


def refuse_no_text_model(config: Any, auto_class: Any, trust_remote_code: bool | None) -> None:
    """Refuse a checkpoint that the loader has no class for: most vision-language models, encoders, speech models.

    Args:
        config: The checkpoint's config.
        auto_class: AutoModelForCausalLM or AutoModelForSeq2SeqLM.
        trust_remote_code: Whether code that comes with the checkpoint may define the class.

    Raises:
        UserError: In one line, with what to give instead. transformers' own lists every config class that it knows.
    """
    if type(config) in auto_class._model_mapping:
        return
    remote = auto_class.__name__ in (getattr(config, "auto_map", None) or {})
    if remote and trust_remote_code:
        return
    start = f"a {config.model_type} model is no text model that {auto_class.__name__} can load"
    if remote:
        raise UserError(f"{start}, but it brings code of its own; if you trust it, add trust_remote_code=True")
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    if text is not config:
        raise UserError(
            f"{start}: vision-language and speech models are not supported as they are; give a checkpoint of its text "
            f"model ({text.model_type}), or use lm_eval's own --model hf-multimodal without compression"
        )
    raise UserError(f"{start}; give a decoder-only (or encoder-decoder) language model")
