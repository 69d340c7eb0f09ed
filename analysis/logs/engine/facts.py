"""What ran a model: engine, version, dtype, cache, parallelism, from what a results file says or its arguments ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .rules import (
    EMPTY,
    INVARIANT,
    KV_CACHE,
    OURS,
    PARALLEL,
    PLAIN_CACHE,
    PLAIN_DTYPE,
    PLAIN_FORMATS,
    QUANTIZED,
    QUANTIZED_LIKE,
    RUNTIMES,
    VERSIONS,
)

__all__ = ["Engine", "engine_of", "is_on"]

_NO_SUM = ("dp", "pp", "layers", "device_map")
"""Ways to spread a model that add up nothing in another order."""
_ORDER = ("tp", "pp", "ep", "dcp", "dp", "layers")


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What ran a model."""

    name: str
    """As the run has it: lm_eval's model type, or the name that an engine gives itself."""
    runtime: str
    """What computes: transformers for hf and compressed_hf alike."""
    version: str | None
    """Of what computes; None where the run does not tell."""
    quantization: tuple[str, ...]
    """What arguments or engine say of the form of the weights; empty where they say nothing."""
    says_plain: bool
    """Whether the engine says of itself that it computes with plain floats."""
    kv_cache: str | None
    """Form of a quantized key-value cache; None for a plain one, or where nothing is said."""
    kv_proved: bool
    """Whether evidence says that quantized keys and values were attended to."""
    parallel: str | None
    """How the model is spread over devices, such as "tp=2"; None where nothing is said."""
    batch_invariant: bool | None
    """Whether scores are promised not to depend on the batch; None where nothing is said."""
    seeds: str | None
    """Whose random numbers sampled texts are made with: "own" or "engine"; None where nothing is said."""
    threads: int | None
    """Threads that computed, where the run tells."""

    @property
    def sums(self) -> str:
        """The part of `parallel` that changes the order of sums, and so last digits."""
        return ",".join(part for part in (self.parallel or "").split(",") if part and _way(part) not in _NO_SUM)


def engine_of(facts: Mapping[str, Any]) -> Engine:
    """The engine of a run.

    Args:
        facts: Values of RUN_FIELDS by column, and `arguments`, the model arguments by name. What is not there is not
            known. What the engine says of itself (`config.engine`) goes before what the arguments ask for.
    """
    arguments: Mapping[str, Any] = facts.get("arguments") or {}
    said: Mapping[str, Any] = facts.get("engine_values") or {}
    name = _text(said.get("name")) or str(facts.get("model_type") or "unknown")
    runtime = RUNTIMES.get(name.lower(), name)
    # Of what computes, and not of what wraps it.
    version = _text(facts.get(VERSIONS[runtime])) if runtime in VERSIONS else None
    kv = _kv(facts.get("kv") or {})
    form = (_text(said.get("quantization")) or "").lower()
    plain = PLAIN_DTYPE.fullmatch(form) is not None
    told = () if plain or form in ("", "unknown") else (form,)
    return Engine(
        name=name,
        runtime=runtime,
        version=version or _text(said.get("version")),
        quantization=tuple(dict.fromkeys([*told, *_asked(facts, arguments)])),
        says_plain=plain,
        kv_cache=kv or _cache(said.get("kv_cache")) or _cache_asked(arguments),
        kv_proved=kv is not None,
        parallel=_text(said.get("parallel")) or _parallel(arguments),
        batch_invariant=_flag(said.get("batch_invariant"), arguments),
        seeds=_text(said.get("seeds")),
        threads=said["threads"] if isinstance(said.get("threads"), int) else None,
    )


def is_on(value: Any) -> bool:
    """Whether a value of an argument asks for something."""
    return value not in (None, False) and str(value).strip().lower() not in EMPTY


def _asked(facts: Mapping[str, Any], arguments: Mapping[str, Any]) -> Iterator[str]:
    """What arguments and dtype say of the form of the weights, in a fixed order whatever theirs."""
    proved = facts.get("method") is not None  # our own arguments are what the evidence is of
    for name in sorted(arguments, key=str):
        value = arguments[name]
        if not is_on(value) or name in KV_CACHE or (proved and name in OURS):
            continue
        if name in QUANTIZED:
            form = QUANTIZED[name] or _value(value)
            if form not in PLAIN_FORMATS:
                yield form
        elif QUANTIZED_LIKE.search(str(name).lower()):
            yield "bitsandbytes" if str(name).startswith("bnb_") else str(name)
    for dtype in (facts.get("dtype_args"), arguments.get("dtype")):
        if dtype is not None and is_on(dtype) and not PLAIN_DTYPE.fullmatch(str(dtype).lower()):
            yield str(dtype).removeprefix("torch.")


def _value(value: Any) -> str:
    """A value of an argument in a word: the method that a configuration names, a kernel without its suffix."""
    if isinstance(value, Mapping):
        return str(value.get("quant_method") or value.get("quant_type") or "quantization_config").lower()
    text = str(value).strip().lower()
    return text.removesuffix("_marlin") if text.isprintable() and len(text) <= 40 else "quantization_config"


def _kv(record: Mapping[str, Any]) -> str | None:
    """The cache of compression evidence in a word: its format, or its bits."""
    if isinstance(form := record.get("format"), str) and form:
        return form
    bits = record.get("bits")
    return f"int{bits:g}" if isinstance(bits, (int, float)) else "quantized" if record else None


def _cache(value: Any) -> str | None:
    if not is_on(value) or value is True:
        return None
    text = str(value).strip().lower().removeprefix("torch.")
    return None if PLAIN_CACHE.fullmatch(text) else text


def _cache_asked(arguments: Mapping[str, Any]) -> str | None:
    found = [form for name in KV_CACHE if (form := _cache(arguments.get(name)))]
    if str(arguments.get("cache_implementation")).lower() == "quantized":
        found.append("quantized")
    return "+".join(dict.fromkeys(found)) or None


def _parallel(arguments: Mapping[str, Any]) -> str | None:
    found = {}
    for name, way in PARALLEL.items():
        value = arguments.get(name)
        if is_on(value) and str(value) != "1":
            found[way] = way if value is True or str(value).lower() == "true" else f"{way}={value}"
    return ",".join(found[way] for way in _ORDER if way in found) or None


def _way(part: str) -> str:
    return part.partition("=")[0].strip()


def _flag(said: Any, arguments: Mapping[str, Any]) -> bool | None:
    if isinstance(said, bool):
        return said
    given = [arguments[name] for name in INVARIANT if arguments.get(name) is not None]
    return any(map(is_on, given)) if given else None


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != "" else None
