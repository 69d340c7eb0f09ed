"""The model card of an export: what was done, what was measured, how to load and evaluate it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lm_eval_ext
from lm_eval_ext.models.evidence.record import Evidence
from lm_eval_ext.models.recipe.recipe import Recipe

__all__ = ["write_card"]

CARD = "README.md"


def write_card(folder: Path, evidence: Evidence, recipe: Recipe, format: str, logits: float) -> Path:
    """Write README.md; the license is left to the base model's card.

    Args:
        folder: The checkpoint.
        evidence: Of the compression.
        recipe: What was asked.
        format: As `make.FORMATS`.
        logits: Largest difference of a canary logit between memory and the reload.

    Returns:
        The file.
    """
    card = folder / CARD
    card.write_text(_front(evidence) + _body(folder, evidence, recipe, format, logits), encoding="utf-8")
    return card


def base_of(evidence: Evidence) -> str | None:
    """The base model's name on the hub, or None where the source is a folder of this machine."""
    name = str(evidence.base.get("pretrained", ""))
    return name if name and not Path(name).expanduser().exists() and name.count("/") == 1 else None


def _front(evidence: Evidence) -> str:
    base = base_of(evidence)
    tags = ["lm-eval-ext", "compressed", *evidence.method.split("+")]
    lines = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    if base is not None:
        lines += [f"base_model: {json.dumps(base)}"]
        lines += ["base_model_relation: quantized"] if evidence.bits is not None else []
    lines += ["tags:", *(f"- {json.dumps(tag)}" for tag in dict.fromkeys(tags)), "---", ""]
    return "\n".join(lines) + "\n"


def _body(folder: Path, evidence: Evidence, recipe: Recipe, format: str, logits: float) -> str:
    base = base_of(evidence)
    shown = f"[{base}](https://huggingface.co/{base})" if base else "a model of the author's disk"
    here = "THIS_FOLDER"
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    rows = "\n".join(f"| {name} | {value} |" for name, value in _facts(evidence, size, logits))
    return f"""# {evidence.label} of {base or "a local model"}

{_first(evidence)}
The base is {shown}; its license holds for this checkpoint too.
Written by lm-eval-ext {lm_eval_ext.__version__}, format `{format}`.

## What was measured

| what | found |
|---|---|
{rows}

Every matrix has a line of its own in `compression_evidence.json`.

## Recipe

```yaml
{recipe.as_yaml().rstrip()}
```

## Load

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{here}", dtype="auto")
tokenizer = AutoTokenizer.from_pretrained("{here}")
```

## Evaluate

```bash
lm_eval --model compressed_hf --model_args pretrained={base or "BASE"} \\
    --tasks bbq_itemlevel --output_path runs/dense --log_samples
lm_eval --model compressed_hf --model_args pretrained={here} \\
    --tasks bbq_itemlevel --output_path runs/compressed --log_samples
lm-eval-ext analyze runs
```

Compression changes answers in ways that a mean does not show. Compare with the base item by item before you use it.
"""


def _first(evidence: Evidence) -> str:
    parts = []
    if evidence.sparsity is not None:
        parts.append(f"{evidence.sparsity:.2%} of the weights that were meant are zeros")
    if evidence.bits is not None:
        parts.append(f"the weights that were meant have {evidence.bits:g} bits")
    text = " and ".join(parts) or "no weight was changed"
    return text[0].upper() + text[1:] + f" ({evidence.status})."


def _facts(evidence: Evidence, size: int, logits: float) -> list[tuple[str, str]]:
    totals: dict[str, Any] = evidence.totals
    facts: list[tuple[str, str]] = [
        ("matrices compressed", f"{totals.get('matrices', 0):,}"),
        ("weights in them", f"{totals.get('parameters', 0):,}"),
    ]
    if totals.get("achieved_sparsity") is not None:
        facts.append(("zeros in them", f"{totals['achieved_sparsity']:.4%}"))
    if totals.get("bits_per_weight") is not None:
        facts.append(("bits a weight, scales included, when packed", f"{totals['bits_per_weight']:.3f}"))
    if totals.get("decoder_sparsity") is not None:
        facts.append(("zeros in all matrices of the decoder", f"{totals['decoder_sparsity']:.4%}"))
    if evidence.canary.get("max_abs_change") is not None:
        facts.append(("largest change of a logit on a fixed prompt", f"{evidence.canary['max_abs_change']:.3g}"))
    facts += [
        ("matrices left alone", f"{len(evidence.skipped):,}"),
        ("dtype", evidence.dtype),
        ("bytes of the weights' files", f"{size:,}"),
        ("sha256 of the weights before", f"`{evidence.weights_hash_before or 'not measured'}`"),
        ("sha256 of the weights after", f"`{evidence.weights_hash_after}`"),
        ("loaded again with transformers", f"logits differ by at most {logits:.3g}"),
    ]
    facts += [("doubt", doubt) for doubt in evidence.doubts]
    return facts
