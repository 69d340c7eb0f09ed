"""How sure it is what a run's weights were: proved, measured, as named, or unverified. Never silently dense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .facts import Engine
from .hints import hints_in, joined
from .rules import BLIND

__all__ = ["DENSE", "UNVERIFIED", "Standing", "standing_of"]

DENSE, PROVED, MEASURED, NAMED, UNVERIFIED = "dense", "proved", "measured", "as named", "unverified"
STATUSES = {
    DENSE: "The run logged that nothing was asked and that the weights are plain.",
    PROVED: "Compressed, and what was asked was measured on every matrix, or on the very weights by their hash.",
    MEASURED: "It came compressed, and the form of every matrix was read from what was loaded.",
    NAMED: "Nobody looked: neither arguments nor name say that the model is compressed, so it is taken as dense.",
    UNVERIFIED: "Arguments, name or files say that it is compressed, or it can't be told; nobody measured it.",
}
"""How sure it is what a run's weights were, with meanings."""

_SEES_FORMS = 4
"""Evidence of this schema has looked at the form of weights that came compressed."""
_NAMES = ("pretrained", "model", "gguf_file", "subfolder", "revision", "path")
"""Arguments whose value is a name of the model."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a run is taken for."""

    status: str
    """A key of STATUSES."""
    method: str
    """Method of compression; "none" without, "unverified ..." with what is suggested where nobody proved one."""
    label: str | None
    """Short name; None for the name of the model with the method in brackets."""
    doubts: tuple[str, ...] = ()
    """Why it is not sure, one line each."""
    by_name: bool = False
    """Whether the model's own name or files say that it came compressed: it is then made from another model."""

    @property
    def is_dense(self) -> bool:
        """Whether it is taken for the model as it was, in weights and in key-value cache."""
        return self.method == "none"


def standing_of(facts: Mapping[str, Any], engine: Engine) -> Standing:
    """What a run is taken for: by its evidence where it has some, else by its arguments, its name and its files.

    Args:
        facts: Values of RUN_FIELDS by column and what was found out since (`analysis.logs.origins`).
        engine: The run's.
    """
    cache = [] if engine.kv_cache is None else [f"kv-{engine.kv_cache}"]
    doubts = tuple(str(doubt) for doubt in facts.get("doubts") or ())
    if facts.get("method") is None and facts.get("label") is None:
        return _of_names(facts, engine, cache, doubts)
    method, status = str(facts.get("method") or "none"), _status(facts)
    hints = joined(_hinted(facts, engine))
    version = facts.get("evidence_version") or 0
    if status == DENSE and facts.get("base_told"):
        return _unproved(facts, engine, cache, doubts)
    if status == DENSE and hints and version < _SEES_FORMS:
        doubts += (f"evidence of schema {version} did not look for what came compressed, and there is {hints}",)
        return _unproved(facts, engine, cache, doubts)
    if method == UNVERIFIED:
        return _unproved(facts, engine, cache, doubts)
    label = str(facts.get("label") or ("dense" if method == "none" else method))
    if not cache:
        return Standing(status=status, method=method, label=label, doubts=doubts)
    method, label = _with_cache(method, "none", cache), _with_cache(label, "dense", cache)
    if engine.kv_proved:
        return Standing(status=PROVED if status == DENSE else status, method=method, label=label, doubts=doubts)
    doubts += ("nobody looked whether quantized keys and values were attended to",)
    return Standing(status=UNVERIFIED, method=f"{UNVERIFIED} {method}", label=f"{label}(unverified)", doubts=doubts)


def _of_names(facts: Mapping[str, Any], engine: Engine, cache: list[str], doubts: tuple[str, ...]) -> Standing:
    """Of a run without evidence."""
    hints = joined(hint for hint in _hinted(facts, engine) if hint != "gguf" or not engine.says_plain)
    if not hints and not cache and not facts.get("base_told"):
        if engine.runtime not in BLIND or engine.says_plain:
            return Standing(status=NAMED, method="none", label="dense", doubts=doubts)
        doubts += (f"{engine.runtime} does not tell which file it serves",)
        hints = "gguf"
    if not doubts:
        doubts = ("no evidence: by arguments, name and files alone",)
    return _unproved(facts, engine, cache, doubts, hints)


def _unproved(
    facts: Mapping[str, Any], engine: Engine, cache: list[str], doubts: tuple[str, ...], hints: str | None = None
) -> Standing:
    said = hints if hints is not None else joined(_hinted(facts, engine))
    method = " ".join([UNVERIFIED, *(hint for hint in (said, *cache) if hint)])
    by_name = bool(_named(facts)) or engine.runtime in BLIND
    return Standing(status=UNVERIFIED, method=method, label=None, doubts=doubts, by_name=by_name)


def _hinted(facts: Mapping[str, Any], engine: Engine) -> list[str]:
    return [*engine.quantization, *_named(facts)]


def _named(facts: Mapping[str, Any]) -> list[str]:
    """What the files and the names of a model say."""
    arguments = facts.get("arguments") or {}
    names = [
        facts.get("serves"),
        facts.get("pretrained"),
        facts.get("pretrained_args"),
        *(arguments.get(name) for name in _NAMES),
    ]
    told = [hint for name in dict.fromkeys(str(name) for name in names if name) for hint in hints_in(name)]
    return [*(facts.get("files_say") or ()), *told]


def _status(facts: Mapping[str, Any]) -> str:
    """What the evidence says of itself, or what evidence of an older schema means."""
    method, label, said = facts.get("method"), str(facts.get("label") or ""), facts.get("status")
    if said in STATUSES:
        return str(said)
    if method == UNVERIFIED or label.endswith("(unverified)") or said is not None:
        return UNVERIFIED
    return DENSE if method in (None, "none") else PROVED


def _with_cache(text: str, nothing: str, cache: list[str]) -> str:
    """A label or method with what it does not say of the cache yet."""
    return "+".join(cache) if text == nothing else text if "kv" in text else "+".join([text, *cache])
