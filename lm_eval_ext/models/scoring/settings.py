"""What a model's generation config does to texts, and to nothing else."""

from __future__ import annotations

from typing import Any

__all__ = ["settings_of"]

# Which of the likely tokens may be drawn: nothing to a text without sampling.
_SAMPLING = ("top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
# Change the probabilities, or which text is taken.
_ALWAYS = (
    "repetition_penalty",
    "encoder_repetition_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "sequence_bias",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "min_length",
    "min_new_tokens",
    "exponential_decay_length_penalty",
    "guidance_scale",
    "watermarking_config",
    "num_beams",
    "penalty_alpha",
    "stop_strings",
)


def settings_of(model: Any, *, sampled: bool) -> str:
    """Settings of a model's generation config that change which text is generated, as `name=value, ...`.

    Args:
        model: The transformers model.
        sampled: Whether those count that act on sampling alone.

    Returns:
        Those that differ from the library's own; "" for none.
    """
    config = getattr(model, "generation_config", None)
    if config is None:
        return ""
    changed = config.to_diff_dict()
    names = (*_SAMPLING, *_ALWAYS) if sampled else _ALWAYS
    return ", ".join(f"{name}={changed[name]}" for name in names if changed.get(name) is not None)
