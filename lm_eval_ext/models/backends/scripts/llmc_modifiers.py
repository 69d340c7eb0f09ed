"""llm-compressor's modifiers, made so that they do what they say; for run_llmcompressor.py, beside which it lies."""

from __future__ import annotations

import re
from typing import Any

import torch
from script_parts import RefusedError
from torch import nn

PRUNERS = ("WandaPruningModifier", "SparseGPTModifier")
QUANTIZERS = ("QuantizationModifier", "GPTQModifier", "AutoRoundModifier")


def prepared(
    model: Any, kind: str, arguments: dict[str, Any], rows: list[list[int]], ignore: list[str]
) -> dict[str, Any]:
    """A modifier's arguments: the user's plain names to ignore as expressions, ours behind them, OWL's list made."""
    if kind not in PRUNERS and kind not in QUANTIZERS:
        return arguments
    given = arguments.get("ignore", [])
    mended = [
        entry if entry.startswith("re:") or entry[:1].isupper() else f"re:^(.*\\.)?{re.escape(entry)}\\.?$"
        for entry in ([given] if isinstance(given, str) else given)
    ]
    ready = arguments | {"ignore": mended + ignore}
    return owl(model, ready, rows) if ready.get("sparsity_profile") else ready


def owl(model: Any, arguments: dict[str, Any], rows: list[list[int]]) -> dict[str, Any]:
    """OWL's share of zeros for each block, as a list, which Wanda and SparseGPT take.

    llm-compressor 0.14 can't work it out itself ("Cannot invoke event before initializing"). Blocks with more outliers
    (|weight| x input norm above owl_m times the mean) keep more; the shares spread over 2 x owl_lmbda around the one
    asked. Yin et al. 2024, arXiv 2310.05175.
    """
    missing = [key for key in ("owl_m", "owl_lmbda", "sparsity") if arguments.get(key) is None]
    if missing:
        raise RefusedError(
            f"sparsity_profile owl needs {', '.join(missing)} too (the paper has owl_m 5, owl_lmbda 0.08)"
        )
    name, blocks = next(
        (n, m)
        for n, m in model.named_modules()
        if isinstance(m, nn.ModuleList) and len(m) == model.config.get_text_config().num_hidden_layers
    )
    norms: dict[Any, Any] = {}

    def see(module: Any, inputs: tuple[Any, ...]) -> None:
        norms[module] = norms.get(module, 0) + inputs[0].float().pow(2).flatten(0, -2).sum(0)

    maps = [m for m in blocks.modules() if isinstance(m, nn.Linear)]
    hooks = [m.register_forward_pre_hook(see) for m in maps]
    with torch.no_grad():
        for row in rows:
            model(input_ids=torch.tensor([row], device=model.device), use_cache=False)
    for hook in hooks:
        hook.remove()
    ratios = []
    for block in blocks:
        scores = [
            (m.weight.float().abs() * norms[m].sqrt()).flatten() for m in block.modules() if m in norms and m in maps
        ]
        together = torch.cat(scores)
        ratios.append(float((together > arguments["owl_m"] * together.mean()).float().mean()))
    spread = max(ratios) - min(ratios)
    scaled = [(r - min(ratios)) / spread * 2 * arguments["owl_lmbda"] if spread else 0.0 for r in ratios]
    shares = [arguments["sparsity"] - (r - sum(scaled) / len(scaled)) for r in scaled]
    rest = {k: v for k, v in arguments.items() if k not in ("sparsity_profile", "owl_m", "owl_lmbda")}
    return rest | {"sparsity": shares, "targets": [f"re:^{re.escape(name)}\\.\\d+$"]}


def modifier(kind: str, arguments: dict[str, Any]) -> Any:
    """A modifier, made by the library, which refuses what it does not know."""
    from llmcompressor.modifiers.factory import ModifierFactory

    if not ModifierFactory._loaded:
        ModifierFactory.refresh()
    try:
        return ModifierFactory.create(kind, allow_registered=True, allow_experimental=True, **arguments)
    except Exception as error:
        raise RefusedError(f"llm-compressor takes no {kind} so: {' '.join(str(error).split())}") from error


def left_out(model: Any, modifiers: list[Any], kept: list[str]) -> dict[str, str]:
    """Matrices that a modifier's own targets or ignore list leave out; raises where these leave none."""
    from compressed_tensors.utils import match_named_modules

    skipped: dict[str, str] = {}
    for one in modifiers:
        kind = type(one).__name__
        if kind not in PRUNERS and kind not in QUANTIZERS:
            continue
        targets = getattr(one, "resolved_targets", None) or one.targets
        hit = {name for name, _ in match_named_modules(model, targets, one.ignore)}
        parts = {n for n in kept if any(n.startswith(f"{h}.") for h in hit)}
        missed = [name for name in kept if name not in hit | parts]
        if len(missed) == len(kept):
            raise RefusedError(
                f"{kind} targets no matrix of this model (targets {targets}); nothing would be compressed"
            )
        skipped |= dict.fromkeys(missed, f"left out by the targets or the ignore list of {kind}")
    return skipped


def ignore_list(
    model: Any, step: dict[str, Any], maps: dict[str, Any], left: dict[str, str], out: set[str]
) -> list[str]:
    """All that a step must not touch, as regular expressions: Wanda and SparseGPT look for a name with a dot behind."""
    inside, head = set(maps) | set(left), model.get_output_embeddings()
    outside = {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name not in inside and not (step["lm_head"] and module is head)
    }
    return [f"re:^{re.escape(name)}\\.?$" for name in sorted(set(left) | out | outside)]


def keep_embeddings_where_they_are(model: Any) -> None:
    """SpinQuant takes the mean out of each embedding, which only a LayerNorm would have taken out anyway.

    Behind an RMSNorm, as in Llama, it changes what the model computes: the rotations alone leave the logits to 1e-5.
    """
    if not any(isinstance(module, nn.LayerNorm) for module in model.modules()):
        from llmcompressor.modifiers.transform import SpinQuantModifier

        SpinQuantModifier._center_embeddings = lambda self, model: None
