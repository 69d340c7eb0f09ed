"""Which engine answers at an address."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lm_eval_ext.errors import UserError, unknown_name
from lm_eval_ext.models.engines.completions import Completions
from lm_eval_ext.models.engines.listed import Prompt
from lm_eval_ext.models.engines.llama_cpp import LlamaCpp
from lm_eval_ext.models.engines.server import Server
from lm_eval_ext.models.engines.wire import Wire

__all__ = ["ENGINES", "server_at"]

ENGINES = ("auto", "llama.cpp", "vllm", "openai")


def server_at(
    wire: Wire, engine: str, model: str | None, *, probe: Prompt, bare: Callable[[str], list[str]], top: int | None
) -> Server:
    """Find out what answers, and what it can do.

    Args:
        wire: The address.
        engine: One of ENGINES; auto asks the server.
        model: The model's name there; None for the only one.
        probe: A prompt to try with.
        bare: The ways to send a prompt as text.
        top: Next tokens to list; None for as many as is sensible.

    Raises:
        UserError: If there is none, it is no engine of this name, or it can't do what letters need.
    """
    if engine not in ENGINES:
        raise unknown_name("engine", str(engine), list(ENGINES))
    properties = wire.get("/props") if engine in ("auto", "llama.cpp") else None
    is_llama = isinstance(properties, Mapping) and (
        "build_info" in properties or "default_generation_settings" in properties
    )
    if engine == "llama.cpp" and not is_llama:
        raise UserError(
            f"engine=llama.cpp, but {wire.root}/props does not answer as llama.cpp's server does; leave out engine="
        )
    if is_llama:
        server = LlamaCpp(wire, model, top)
        own = server.tokens(probe.text)
        if own is not None and own != list(probe.ids):
            raise UserError(
                f"{server.model} reads {probe.text[:32]!r} as tokens {own[:8]}, the tokenizer as "
                f"{list(probe.ids)[:8]}; give the tokenizer that belongs to this model: tokenizer=NAME"
            )
        return server
    told = wire.get("/version") if engine in ("auto", "vllm") else None
    version = told.get("version") if isinstance(told, Mapping) else None
    if engine == "vllm" and version is None:
        raise UserError(
            f"engine=vllm, but {wire.root}/version does not answer as vLLM's server does; leave out engine="
        )
    name = "vllm" if version is not None and engine != "openai" else "openai"
    return Completions(
        wire, model, name=name, version=None if version is None else str(version), probe=probe, bare=bare, top=top
    )
