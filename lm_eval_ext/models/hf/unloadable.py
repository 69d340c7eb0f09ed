"""Checkpoints that came compressed and can't be loaded here: told before the load, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import torch

from lm_eval_ext.errors import UserError, seen

__all__ = ["refuse_unloadable"]

# What transformers needs for a format, by the format's name in config.json: import name, and what pip calls it.
_NEEDS: dict[str, tuple[tuple[str, str], ...]] = {
    "gptq": (("optimum", "optimum"), ("gptqmodel", "gptqmodel")),
    "awq": (("gptqmodel", "gptqmodel"),),
    "compressed-tensors": (("compressed_tensors", "compressed-tensors"),),
    "bitsandbytes": (("bitsandbytes", "bitsandbytes"),),
    "torchao": (("torchao", "torchao"),),
    "quanto": (("optimum", "optimum"), ("optimum.quanto", "optimum-quanto")),
    "auto-round": (("auto_round", "auto-round"),),
    "aqlm": (("aqlm", "aqlm"),),
    "vptq": (("vptq", "vptq"),),
    "spqr": (("spqr_quant", "spqr_quant[gpu]"),),
    "eetq": (("kernels", "kernels"),),
    "higgs": (("flute", "flute-kernel"),),
    "quark": (("quark", "amd-quark"),),
}
_GPU_ONLY = ("aqlm", "eetq", "fbgemm_fp8", "fp_quant", "higgs", "spqr", "vptq")
_GPTQ_BITS = (2, 3, 4, 8)
# Loaded by GPTQModel itself, and not by transformers with optimum: AttributeError and IndexError inside it.
_GPTQ_TYPES = ("gpt2", "phi3")
_OTHER = "take the original checkpoint, or one in another format"


def refuse_unloadable(config: Mapping[str, Any], device: torch.device, *, by_gptqmodel: bool = False) -> None:
    """Raise UserError for a checkpoint whose format is known not to load here.

    Args:
        config: Its config.json.
        device: Where the run loads it.
        by_gptqmodel: Whether GPTQModel itself loads it (HFLM's `gptqmodel=True`), not transformers.

    Raises:
        UserError: If a package is missing, transformers does not load the format or does so wrongly, or the device
            can't run it; with what to do.
    """
    said = config.get("quantization_config")
    method = said.get("quant_method") if isinstance(said, Mapping) else None
    if not isinstance(said, Mapping) or not isinstance(method, str):
        return
    name = "bitsandbytes" if method.startswith("bitsandbytes") else method
    missing = [pip for module, pip in _NEEDS.get(name, ()) if not _found(module)]
    if missing:
        raise UserError(
            f"the checkpoint is quantized by {name}, which needs {', '.join(missing)}: pip install {' '.join(missing)}"
        )
    if name == "hqq":
        raise UserError(
            f"the checkpoint is quantized by hqq, which transformers {_version('transformers')} does not load "
            f"(NotImplementedError); {_OTHER}"
        )
    if name in _GPU_ONLY and device.type == "cpu":
        raise UserError(f"the checkpoint is quantized by {name}, which runs on a GPU alone; this run is on {device}")
    if name == "gptq" and not by_gptqmodel:
        _refuse_gptq(config, said)
    if name == "compressed-tensors":
        _refuse_packed_zero_points(said)


def _refuse_gptq(config: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    bits = said.get("bits")
    if bits not in _GPTQ_BITS:
        raise UserError(f"the checkpoint is GPTQ of bits={seen(bits)}; transformers loads 2, 3, 4 and 8; {_OTHER}")
    kind = config.get("model_type")
    if kind in _GPTQ_TYPES:
        raise UserError(
            f"transformers can't load a GPTQ checkpoint of {kind} (optimum fails on its fused or transposed maps); "
            f"add gptqmodel=True, which loads it by GPTQModel itself, or {_OTHER}"
        )


def _refuse_packed_zero_points(said: Mapping[str, Any]) -> None:
    """Asymmetric pack-quantized checkpoints, which newer releases of transformers read with the wrong shape."""
    if said.get("format") != "pack-quantized" or _release("transformers") < (5, 18):
        return
    groups = said.get("config_groups") or {}
    if any((group.get("weights") or {}).get("symmetric") is False for group in groups.values()):
        raise UserError(
            f"transformers {_version('transformers')} can't load asymmetric pack-quantized weights (the shape of "
            f"weight_zero_point); use transformers 5.17, or {_OTHER}"
        )


def _found(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "?"


def _release(package: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _version(package).split(".")[:2] if part.isdigit())
