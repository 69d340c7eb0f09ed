"""Round-to-nearest weights in compressed-tensors' packed form, by its own compressor, value for value."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lm_eval_ext.errors import UserError, require_extra
from lm_eval_ext.models.evidence.record import Evidence
from lm_eval_ext.models.native.methods._groups import split
from lm_eval_ext.models.native.methods.rtn import RoundToNearest
from lm_eval_ext.models.recipe.recipe import Recipe

__all__ = ["pack", "refuse_unpackable"]

_FORMAT = "pack-quantized"


def refuse_unpackable(recipe: Recipe) -> None:
    """Raise UserError, before any work, for a recipe that pack-quantized can't hold exactly."""
    require_extra(("compressed_tensors",), "llmcompressor", "--format compressed-tensors")
    _step(recipe)


def _step(recipe: Recipe) -> RoundToNearest:
    why = None
    step = recipe.steps[0] if len(recipe.steps) == 1 else None
    if not isinstance(step, RoundToNearest):
        why = "it holds one step of rtn, and nothing else of ours"
    elif step.granularity == "tensor":
        why = "pack-quantized has one scale a group or a channel, not one a matrix"
    elif step.embeddings or step.lm_head:
        why = "the embedding and the output layer can't be packed"
    elif step.on_indivisible == "pad":
        why = "it has no shorter last group"
    if why is not None:
        raise UserError(f"--format compressed-tensors can't hold {recipe.label} exactly: {why}; use --format hf")
    assert isinstance(step, RoundToNearest)
    return step


def pack(stage: Path, pretrained: str, revision: str, recipe: Recipe, evidence: Evidence) -> Path:
    """Write a packed copy of a plain checkpoint and remove the plain one.

    Scales and zero points are those of the method, from the source's own weights. Each matrix is unpacked again by
    compressed-tensors and must give the values of the plain checkpoint.

    Args:
        stage: The plain checkpoint.
        pretrained: Folder or name of the source, with its weights in safetensors.
        revision: Of the source.
        recipe: One step of rtn.
        evidence: Of the compression; names the matrices.

    Returns:
        The folder of the packed checkpoint.

    Raises:
        UserError: If some matrix can't be held exactly.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    step = _step(recipe)
    if evidence.dtype != "float32":
        raise UserError(
            f"--format compressed-tensors keeps scales in the weights' dtype, rtn's are float32 and the weights "
            f"{evidence.dtype}: give --dtype float32, or use --format hf"
        )
    scheme = _scheme(step)
    names = {record["name"] for record in evidence.matrices}
    sources = _source_files(pretrained, revision)
    out = stage.with_name(f"{stage.name}.packed")
    shutil.copytree(stage, out, ignore=shutil.ignore_patterns("*.safetensors", "*.safetensors.index.json"))
    where: dict[str, str] = {}
    done: set[str] = set()
    for file in sorted(stage.glob("*.safetensors")):
        tensors: dict[str, Tensor] = {}
        with safe_open(str(file), framework="pt") as plain:
            for name in plain.keys():  # noqa: SIM118  (a reader, not a dict)
                value = plain.get_tensor(name)
                if name not in names:
                    tensors[name] = value
                    continue
                base = _source(sources, name)
                module = name.removesuffix(".weight")
                packed = _packed(step, scheme, base, value, name)
                tensors |= {f"{module}.{part}": content.contiguous() for part, content in packed.items()}
                done.add(name)
        save_file(tensors, out / file.name, metadata={"format": "pt"})
        where |= dict.fromkeys(tensors, file.name)
    if lost := sorted(names - done):
        raise UserError(f"--format compressed-tensors: {lost[0]} has another name on disk; use --format hf")
    if len(set(where.values())) > 1:
        index = {"metadata": {}, "weight_map": where}
        (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    _write_config(out, scheme, evidence, names)
    shutil.rmtree(stage)
    return out


def _scheme(step: RoundToNearest) -> Any:
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    return QuantizationScheme(
        targets=["Linear"],
        weights=QuantizationArgs(
            num_bits=step.bits,
            type="int",
            symmetric=step.symmetric,
            strategy=step.granularity,
            group_size=step.group_size,
        ),
    )


def _packed(step: RoundToNearest, scheme: Any, base: Tensor, value: Tensor, name: str) -> Mapping[str, Tensor]:
    """One matrix [rows, cols]: weight_packed, weight_scale, weight_shape and weight_zero_point."""
    from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor as Packer

    groups = split(base, step.group_size or base.shape[1])
    scale, zero = step._levels(groups.amin(dim=-1), groups.amax(dim=-1))
    parts = {"weight": value, "weight_scale": scale}
    if not step.symmetric:
        parts["weight_zero_point"] = zero.to(torch.int8)
    packed: dict[str, Tensor] = Packer.compress(parts, scheme)
    again = Packer.decompress(packed, scheme)["weight"]
    if not torch.equal(again, value):
        wrong = int((again != value).sum())
        raise UserError(
            f"--format compressed-tensors can't hold {name} exactly ({wrong} of {value.numel()} weights differ); use "
            "--format hf"
        )
    return packed


def _source_files(pretrained: str, revision: str) -> dict[str, Path]:
    """The file of each tensor of the source, by name."""
    from safetensors import safe_open
    from transformers.utils import cached_file

    folder = Path(pretrained)
    if not folder.is_dir():
        found = cached_file(pretrained, "config.json", revision=revision)
        folder = Path(str(found)).parent
    where: dict[str, Path] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as tensors:
            where |= dict.fromkeys(tensors.keys(), file)
    return where


def _source(files: Mapping[str, Path], name: str) -> Tensor:
    from safetensors import safe_open

    if name not in files:
        raise UserError(f"--format compressed-tensors: the source has no {name} in safetensors; use --format hf")
    with safe_open(str(files[name]), framework="pt") as tensors:
        value: Tensor = tensors.get_tensor(name).float()
    return value


def _write_config(out: Path, scheme: Any, evidence: Evidence, names: set[str]) -> None:
    """Say in config.json how the matrices are packed, and which linear layers are not."""
    from compressed_tensors.quantization import QuantizationConfig

    ignore = ["lm_head", *sorted({skip["name"].removesuffix(".weight") for skip in evidence.skipped})]
    quantization = QuantizationConfig(
        config_groups={"group_0": scheme}, format=_FORMAT, quantization_status="compressed", ignore=ignore
    ).model_dump(mode="json")
    path = out / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["quantization_config"] = quantization | {"quant_method": "compressed-tensors"}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
