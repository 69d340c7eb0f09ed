"""What the name of a model suggests of how it was compressed. It proves nothing but that it may not be dense."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["hints_in", "joined"]

_FAMILIES: tuple[tuple[str, str], ...] = (
    ("awq", r"(?:auto)?awq"),
    ("gptq", r"(?:auto)?gptq(?:model|v2)?"),
    ("gguf", r"gguf|ggml"),
    ("mlx", r"mlx"),
    ("exl2", r"exl2"),
    ("exl3", r"exl3"),
    ("bitsandbytes", r"bnb|bitsandbytes|nf4"),
    ("hqq", r"hqq\+?"),
    ("quanto", r"quanto"),
    ("torchao", r"torchao"),
    ("aqlm", r"aqlm"),
    ("vptq", r"vptq"),
    ("quip", r"quip(?:#|sharp)?"),
    ("eetq", r"eetq"),
    ("spqr", r"spqr"),
    ("squeezellm", r"squeezellm"),
    ("smoothquant", r"smoothquant"),
    ("spinquant", r"spinquant"),
    ("quarot", r"quarot"),
    ("omniquant", r"omniquant"),
    ("autoround", r"auto[-_]?round"),
    ("rtn", r"rtn"),
    ("marlin", r"marlin"),
    ("compressed-tensors", r"compressed[-_]tensors"),
    ("qat", r"qat"),
    ("nvfp4", r"nvfp4"),
    ("mxfp4", r"mxfp4"),
    ("mxfp8", r"mxfp8"),
    ("fp4", r"fp4|float4"),
    ("fp8", r"fp8|float8|fp8dyn(?:amic)?|(?:f8)?e4m3(?:fn)?|(?:f8)?e5m2"),
    ("sparsegpt", r"sparsegpt"),
    ("wanda", r"wanda"),
    ("2of4", r"[24][-_]?(?:of|:)[-_]?[48]"),
    ("pruned", r"\d*(?:pruned?|pruning)\d*"),
    ("sparse", r"\d*(?:sparse|sparsity|sparsified)\d*"),
    ("quantized", r"quanti[sz]ed|quanti[sz]ation|quant"),
)
"""Words of names, with what they are of; longer ones that hold a shorter one stand before it."""

_FORMS = (
    r"i?q[1-8]_(?:k(?:_(?:xxs|xs|s|m|l|xl))?|[01])(?:_\d+)*|iq[1-4]_(?:xxs|xs|s|m|nl)|tq[12]_0|q[4568](?:f16)?",
    r"w[1-8]a(?:4|8|16|fp8)|w[2-8](?:a(?:4|8|16))?(?:g\d+)?|u?int[1-8]",
    r"\d(?:\.\d+)?[-_]?(?:bits?|bpw)",
)
"""Forms that are told as they stand: llama.cpp's types, widths of weights and activations, bits."""

# A letter or digit on either side makes it another word (16bit).
_START, _END = r"(?<![a-z0-9])", r"(?![a-z0-9])"
_WORDS = [(form, re.compile(f"{_START}(?:{pattern}){_END}")) for form, pattern in _FAMILIES]
_TOLD = re.compile(rf"{_START}(?<!\d\.)(?:{'|'.join(_FORMS)}){_END}")


def hints_in(name: str) -> list[str]:
    """What a name suggests, family first: ["awq", "int4"] for "m-AWQ-INT4", nothing for "m-4b-instruct".

    Of a path only the last part is looked at, and that before it where the last is a number, a hash or a step.
    """
    told = "/".join(_parts(name)).lower()
    families = [form for form, pattern in _WORDS if pattern.search(told)]
    return families + [re.sub(r"[-_](?=b)", "", match.group()) for match in _TOLD.finditer(told)]


def joined(hints: Iterable[str]) -> str:
    """Hints in words, none twice, and none that another one says more exactly."""
    seen = list(dict.fromkeys(hints))
    return " ".join(hint for hint in seen if not any(other.startswith(f"{hint}-") for other in seen))


_NO_NAME = re.compile(r"(?:checkpoint|step|epoch)?[-_]?\d*|[0-9a-f]{7,64}|main|final|latest|best|merged|hf|snapshots")


def _parts(name: str) -> list[str]:
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    while len(parts) > 1 and _NO_NAME.fullmatch(parts[-1].lower()):
        parts.pop()
    return parts[-1:]
