"""The backend transformers: the loader compresses, by a config that it is given."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends.backend import Checkpoint, Source
from lm_eval_ext.models.backends.onload.steps import OnLoadStep
from lm_eval_ext.models.backends.sources import refuse_unread, source_config, source_folder
from lm_eval_ext.models.evidence.claim import Claim
from lm_eval_ext.models.recipe.recipe import Recipe
from lm_eval_ext.models.targets.excludes import named_by

__all__ = ["Transformers"]

_LIBRARIES = {"bitsandbytes": "bitsandbytes", "torchao": "torchao", "quanto": "optimum-quanto"}


class Transformers:
    """Quantizes while the model is loaded; what was made of it is measured behind the load."""

    name = "transformers"

    def prepare(self, source: Source, recipe: Recipe, cache: Path) -> Checkpoint:
        """The source itself, with a quantization config for the loader."""
        steps = [step for step in recipe.steps if isinstance(step, OnLoadStep)]
        assert len(steps) == len(recipe.steps), recipe.method
        if len(steps) > 1:
            raise UserError(f"recipe {recipe.name}: transformers quantizes a model once; leave one of {recipe.method}")
        (step,) = steps
        if step.lm_head or step.embeddings:
            raise UserError(f"{step.method} compresses the decoder blocks alone; remove lm_head and embeddings")
        refuse_unread(source, self.name)
        folder = source_folder(source, self.name)
        config = source_config(source, folder)
        if getattr(config, "quantization_config", None) is not None:
            raise UserError(f"{source.pretrained} is quantized already; give the original checkpoint")
        skip = _left_alone(config, step, bool(source.loader.get("trust_remote_code")))
        device = str(source.loader.get("device") or "cpu")
        quantization = step.config([f"{re.escape(name)}(\\.weight)?$" for name in skip], device)
        facts: dict[str, Any] = {"config": _plain(quantization.to_dict()), "transformers": version("transformers")}
        if (library := _LIBRARIES.get(step.method)) is not None:
            try:
                facts["library"] = version(library)
            except PackageNotFoundError:
                facts["library"] = None
        return Checkpoint(
            pretrained=source.named(self.name),
            loader={"quantization_config": quantization},
            claim=Claim(bits=recipe.bits, facts=facts),
        )


def _left_alone(config: Any, step: OnLoadStep, trust: bool) -> list[str]:
    """Every linear map that the loader must not quantize: outside the decoder blocks, and what is excluded."""
    import torch
    from torch import nn
    from transformers import AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    from lm_eval_ext.models.parts.decoder import decoder_blocks

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust)
    start, _ = decoder_blocks(model)
    left: list[str] = []
    meant: list[str] = []
    fused: list[str] = []
    for name, module in model.named_modules():
        inside = name.startswith(f"{start}.")
        if inside and isinstance(module, Conv1D) and step.method != "bitsandbytes":
            raise UserError(f"{name} is a Conv1D, which {step.method} leaves as it is; use rtn or mlx_affine")
        if inside and any(p.ndim == 3 for p in module.parameters(recurse=False)):
            fused.append(name)
        if not isinstance(module, (nn.Linear, Conv1D)):
            continue
        (meant if inside and not named_by(name, step.exclude) and min(module.weight.shape) >= 8 else left).append(name)
    if fused:
        raise UserError(
            f"{fused[0]} holds the experts of a mixture in one tensor, which {step.method} leaves as it is; use rtn "
            "or mlx_affine"
        )
    if not meant:
        raise UserError(f"method {step.method} would leave every matrix as it is")
    for pattern in step.exclude:
        if not any(named_by(name, (pattern,)) for name in left if name.startswith(f"{start}.")):
            raise UserError(f"exclude={pattern!r} removes no target of {type(model).__name__}; take the pattern out")
    size = step.group_size if step.method == "torchao" else None
    shapes = {name: model.get_submodule(name).in_features for name in meant} if size else {}
    bad = [name for name, columns in shapes.items() if size and columns % size]
    if bad:
        columns = ", ".join(str(c) for c in sorted({shapes[name] for name in bad}))
        raise UserError(
            f"group_size={size} does not divide the columns ({columns}) of {len(bad)} of {len(meant)} matrices: "
            f"{', '.join(bad[:3])}; give one that does, granularity=channel, or leave them out with exclude"
        )
    return left


def _plain(value: Any) -> Any:
    """Plain types, whatever a config holds."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
