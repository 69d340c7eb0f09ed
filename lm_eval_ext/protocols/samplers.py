"""How the model of a run samples: by our own seeds, by seeds that it is sent, or by none.

lm_eval does not tell a task which model it builds requests for, and its models take seeds in different ways or not
at all. What they do not know they ignore, refuse late, or answer with text where numbers are expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lm_eval_ext.errors import UserError

__all__ = ["Sampler", "sampler_of"]

# Classes of lm_eval by their full names: asking by name imports none of their libraries.
_VLLM = "lm_eval.models.vllm_causallms.VLLM"
_API = "lm_eval.models.api_models.TemplateAPI"
# Sends on whatever it is given, to a service that refuses `seed`.
_ANTHROPIC = "lm_eval.models.anthropic_llms.AnthropicChat"
_HF = "lm_eval.models.huggingface.HFLM"
_SEED = 1
"""What a client's payload is looked through for."""


@dataclass(frozen=True)
class Sampler:
    """What a sampled task sends to a model."""

    name: str
    """The model's class."""
    kind: Literal["ours", "seeded", "unseeded"]
    """ours: one request with all seeds, as `compressed_hf` answers; seeded: one request a seed, with `seed` among its
    arguments; unseeded: one request, repeated."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Generation arguments without which the model would draw from a part of its vocabulary only."""

    @property
    def protocol(self) -> str:
        """What the log names the protocol: draws of different samplers must not be taken for each other."""
        if self.kind == "ours":
            return "sampled"
        return f"sampled by {self.name}" + (", unseeded" if self.kind == "unseeded" else "")


def sampler_of(model: Any, arguments: Mapping[str, Any], *, unseeded: bool, purpose: str) -> Sampler:
    """Say how a model samples.

    Args:
        model: Of lm_eval; None is taken for one of ours.
        arguments: What each request will hold, without a seed.
        unseeded: Whether the user accepts texts that no seed repeats.
        purpose: What needs it, to start messages with.

    Returns:
        The sampler. Whether a server honours the seed that it is sent, no client can tell.

    Raises:
        UserError: If the model takes no seeds and `unseeded` is not set, or sends another temperature than it is given.
    """
    if model is None or getattr(model, "answers_seeds", False):
        return Sampler("compressed_hf", "ours")
    if engine := getattr(model, "samples_by", None):
        model.settle_sampling(float(arguments.get("temperature", 0.0)) if arguments.get("do_sample", True) else 0.0)
        return Sampler(str(engine), "seeded")
    name, classes = type(model).__name__, [f"{cls.__module__}.{cls.__qualname__}" for cls in type(model).__mro__]
    if _API in classes:
        sent = _sent(model, arguments)
        asked = arguments.get("temperature")
        if sent is not None and None not in (asked, sent.get("temperature")) and sent["temperature"] != asked:
            raise UserError(
                f"{purpose} draws at temperature {asked}, but {name} sends {sent['temperature']} for the model "
                f"{getattr(model, 'model', '')!r} whatever it is given; use another model, or that temperature"
            )
        if sent is not None and sent.get("seed") == _SEED and _ANTHROPIC not in classes:
            return Sampler(name, "seeded", {"top_p": 1.0})
    elif _VLLM in classes:
        return Sampler(name, "seeded")
    whole = {"top_k": 0, "top_p": 1.0} if _HF in classes else {}
    if not unseeded:
        other = "use a model that does"
        if _HF in classes:
            other = "run it with --model compressed_hf and the same --model_args (no recipe: nothing is compressed)"
        raise UserError(
            f"{purpose} draws one text a seed, and {name} takes no seeds; {other}"
            """, or accept texts that no seed repeats: --metadata '{"sampling": {"allow_unseeded": true}}'"""
        )
    return Sampler(name, "unseeded", whole)


def _sent(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a client would send for one request with a seed; None where it can't be asked."""
    given = {key: list(value) if isinstance(value, list) else value for key, value in arguments.items()}
    message = [{"role": "user", "content": "?"}]
    try:
        return dict(model._create_payload(message, generate=True, gen_kwargs=given | {"seed": _SEED}, seed=0, eos=None))
    except Exception:  # clients differ in what they want; the run itself will show it
        return None
