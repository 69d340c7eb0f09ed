"""One check a column of the table: what this project does with a family's tiny model, against plain references."""

from __future__ import annotations

import copy
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.recipe.resolve import resolve
from tools.families import references
from tools.families.build import tiny

__all__ = ["CHECKS", "Cell", "Wrong", "run_check"]

SHARE, BITS, GROUP = 0.5, 4, 32
# Classes that multiply x @ W by a square tensor and don't say so; read in their code.
_INPUTS_FIRST = ("RecurrentGemmaRglru",)
# float32 passes that add up in another order.
_CLOSE = 2e-3
PROMPTS = (
    "The older neighbour repaired the fence while the younger one wrote letters about rain. Who kept the key? Answer:",
    "The older neighbour repaired the fence while the younger one wrote letters about bread. Who lost the key? Answer:",
    "Who? Answer:",
)
LETTERS = (" A", " B", " C")
TEXTS = (" Not known.", " The older one", " Cannot be determined, and nobody said so")


class NoReference(Exception):  # noqa: N818  (a finding, not a fault of the script)
    """transformers itself does otherwise than it should, so there is nothing to compare with; the message says what."""


class Wrong(Exception):  # noqa: N818  (a finding, not a fault of the script)
    """A value that is not the reference's; the message says which."""


@dataclass(frozen=True)
class Cell:
    """What became of one check."""

    status: str
    """works, refused, wrong, or traceback."""
    detail: str = ""
    """The refusal's line, or what was wrong."""


def run_check(check: Callable[[str, Any], str], family: str, tokenizer: Any) -> Cell:
    """Run one check; nothing that it raises gets out."""
    try:
        return Cell("works", check(family, tokenizer))
    except UserError as error:
        return Cell("refused", " ".join(str(error).split()))
    except NoReference as error:
        return Cell("no reference", str(error))
    except Wrong as error:
        return Cell("wrong", str(error))
    except Exception as error:  # whatever comes out would be a traceback to a user
        return Cell("traceback", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _compressed(family: str, tokenizer: Any, **keys: Any) -> tuple[nn.Module, nn.Module, Any]:
    """The model before, the model after, and the evidence."""
    model = tiny(family)
    before = copy.deepcopy(model)
    with tempfile.TemporaryDirectory() as folder:
        if keys["method"] == "wanda":
            text = Path(folder) / "text.txt"
            text.write_text(" ".join(PROMPTS) * 20, encoding="utf-8")
            keys |= {"calibration": str(text), "samples": 3, "seqlen": 24}
        evidence = compress_(model, tokenizer, resolve(**keys))
    _only_recorded(before, model, evidence)
    return before, model, evidence


def _only_recorded(before: nn.Module, after: nn.Module, evidence: Any) -> None:
    """Every changed parameter is recorded; every one with rows and columns is recorded or listed as skipped."""
    recorded = {name.split("[")[0] for record in evidence.matrices for name in _names(record)}
    listed = recorded | {skip["name"].split("[")[0] for skip in evidence.skipped}
    old = dict(before.named_parameters(remove_duplicate=False))
    head = after.get_output_embeddings()  # type: ignore[operator]
    apart = [module for module in after.modules() if isinstance(module, nn.Embedding) or module is head]
    ends = {id(parameter) for module in apart for parameter in module.parameters(recurse=False)}
    for name, parameter in after.named_parameters(remove_duplicate=False):
        if not torch.equal(parameter, old[name]) and name not in recorded:
            raise Wrong(f"{name} changed and is in no record")
        if sum(size > 1 for size in parameter.shape) >= 2 and name not in listed and id(parameter) not in ends:
            raise Wrong(f"{name} {list(parameter.shape)} is neither compressed nor listed as skipped")


def _names(record: dict[str, Any]) -> list[str]:
    return [record["name"], *record.get("aliases", [])]


def _pairs(before: nn.Module, after: nn.Module, evidence: Any) -> Iterator[tuple[str, nn.Module, Tensor, Tensor]]:
    """Name, module, old and new values [outputs, inputs] of every recorded matrix."""
    for record in evidence.matrices:
        name, _, expert = record["name"].rstrip("]").partition("[")
        path, _, parameter = name.rpartition(".")
        module, twin = after.get_submodule(path), before.get_submodule(path)
        old, new = (getattr(m, parameter).detach() for m in (twin, module))
        if expert:
            # DBRX keeps its experts one below the other, in two dimensions.
            count = sum(other["name"].startswith(f"{name}[") for other in evidence.matrices)
            old, new = (values.reshape(count, -1, values.shape[-1])[int(expert)] for values in (old, new))
        known = type(module).__name__ in ("Conv1D", *_INPUTS_FIRST) or getattr(module, "is_transposed", False)
        if known or list(old.shape) != record["shape"]:
            old, new = old.t(), new.t()
        yield record["name"], twin, old, new


def _each(family: str, tokenizer: Any, want: Callable[[Tensor], Tensor | None], exact: bool, **keys: Any) -> str:
    before, after, evidence = _compressed(family, tokenizer, **keys)
    for name, _, old, new in _pairs(before, after, evidence):
        expected = want(old)
        if expected is None:
            continue
        same = torch.equal(new, expected) if exact else torch.allclose(new, expected, rtol=1e-5, atol=1e-6)
        if not same:
            raise Wrong(f"{name} differs from the reference by {float((new - expected).abs().max()):.3g}")
    return f"{len(evidence.matrices)} matrices"


def random(family: str, tokenizer: Any) -> str:
    """Half of each matrix, whatever its values: the count, and that what stays is untouched."""
    before, after, evidence = _compressed(family, tokenizer, method="random", sparsity=SHARE)
    for name, _, old, new in _pairs(before, after, evidence):
        if int((new == 0).sum()) != int(old.numel() * SHARE) or not bool(((new == old) | (new == 0)).all()):
            raise Wrong(f"{name} has {int((new == 0).sum())} zeros of {old.numel()}, or other kept weights")
    return f"{len(evidence.matrices)} matrices"


def magnitude(family: str, tokenizer: Any) -> str:
    """The smallest half of each matrix."""
    want = lambda old: references.magnitude(old, SHARE)  # noqa: E731
    return _each(family, tokenizer, want, True, method="magnitude", sparsity=SHARE)


def rtn(family: str, tokenizer: Any) -> str:
    """Four bits in groups of 32."""
    want = lambda old: references.affine_groups(old, BITS, GROUP)  # noqa: E731
    keys = {"method": "rtn", "bits": BITS, "group_size": GROUP, "on_indivisible": "pad"}
    return _each(family, tokenizer, want, False, **keys)


def mlx_affine(family: str, tokenizer: Any) -> str:
    """Four bits in groups of 32, as mlx; on a few rows, since the reference is slow."""
    few = 3
    before, after, evidence = _compressed(
        family, tokenizer, method="mlx_affine", bits=BITS, group_size=GROUP, on_indivisible="skip"
    )
    for name, _, old, new in _pairs(before, after, evidence):
        if not torch.allclose(new[:few], references.mlx_groups(old[:few], BITS, GROUP), rtol=1e-5, atol=1e-6):
            raise Wrong(f"{name} differs from the reference")
    return f"{len(evidence.matrices)} matrices"


def wanda_dense(family: str, tokenizer: Any) -> str:
    """Wanda with statistics of the dense model: plain passes with hooks; experts in one tensor by their count."""
    return _wanda(family, tokenizer, sequential=False)


def wanda(family: str, tokenizer: Any) -> str:
    """Wanda block by block: for each block a plain pass of the model whose earlier blocks are pruned."""
    return _wanda(family, tokenizer, sequential=True)


def _wanda(family: str, tokenizer: Any, *, sequential: bool) -> str:
    from lm_eval_ext.models.recipe.calibration import load_calibration

    before, after, evidence = _compressed(family, tokenizer, method="wanda", sparsity=SHARE, sequential=sequential)
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text(" ".join(PROMPTS) * 20, encoding="utf-8")
        recipe = resolve(method="wanda", sparsity=SHARE, calibration=str(text), samples=3, seqlen=24)
        assert recipe.calibration is not None
        samples, _ = load_calibration(recipe.calibration, tokenizer, None)
    compared, norms, done = 0, references.watched(before, samples), ""
    for name, module, old, new in _pairs(before, after, evidence):
        block = name.rsplit(".", 1)[0].split(".")
        number = ".".join(block[: next((i + 1 for i, part in enumerate(block) if part.isdigit()), len(block))])
        if sequential and number != done:
            norms, done = references.watched(before, samples), number
        weight = getattr(module, "weight", None)
        key = None if weight is None else (weight.data_ptr(), weight.numel())
        if key in norms:
            expected = references.wanda(old, norms[key], SHARE)  # type: ignore[index]
            wrong = int(((expected == 0) != (new == 0)).sum())
            # Sums in another order: of two scores that are alike to the last place either may go.
            if wrong > 2e-3 * old.numel():
                raise Wrong(f"{name}: {wrong} of {old.numel()} mask entries differ from the reference")
            compared += 1
        elif int((new == 0).sum()) < old.shape[0] * int(old.shape[1] * SHARE):
            raise Wrong(f"{name} has {int((new == 0).sum())} zeros of {old.numel()}")
        old.copy_(new)  # the next block's reference runs behind this one as it was pruned
    return f"{compared} of {len(evidence.matrices)} masks compared"


def _lm(family: str, tokenizer: Any, **keys: Any) -> Any:
    from lm_eval_ext.models.compressed_hf import CompressedHFLM

    return CompressedHFLM(
        pretrained=tiny(family), tokenizer=tokenizer, device="cpu", batch_size=4, backend="causal", **keys
    )


def _instances(kind: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, args, 0, metadata=("families", 0, 1)) for args in arguments]  # type: ignore[arg-type]


def _scores(family: str, tokenizer: Any, continuations: Sequence[str]) -> str:
    lm, plain = _lm(family, tokenizer), tiny(family)
    pairs = [(prompt, text) for prompt in PROMPTS for text in continuations]
    found = lm.loglikelihood(_instances("loglikelihood", pairs), disable_tqdm=True)
    for (prompt, text), (value, greedy) in zip(pairs, found, strict=True):
        context = tokenizer(prompt)["input_ids"]
        expected, flag = references.score(plain, context, tokenizer(prompt + text)["input_ids"][len(context) :])
        if not abs(value - expected) <= _CLOSE * max(1.0, abs(expected)) or greedy != flag:
            raise Wrong(f"{text!r} after {prompt[-20:]!r}: {value:.5f}, by plain passes {expected:.5f}")
    return "prefix trees" if lm._trees.trust.settled else "every prompt on its own"


def letters(family: str, tokenizer: Any) -> str:
    """Log-likelihoods of three letters after three prompts."""
    return _scores(family, tokenizer, LETTERS)


def texts(family: str, tokenizer: Any) -> str:
    """Log-likelihoods of texts of several tokens, a pass for each of them."""
    return _scores(family, tokenizer, TEXTS)


def sampling(family: str, tokenizer: Any) -> str:
    """Texts of two seeds at two temperatures, and the letters' probabilities as first token."""
    from lm_eval_ext.models.scoring.draws import gumbel, stream

    lm, plain = _lm(family, tokenizer), tiny(family)
    vocabulary = torch.arange(plain.get_output_embeddings().weight.shape[0]).numpy()
    for temperature in (0.0, 0.8):
        kwargs = {"seeds": [1, 2], "temperature": temperature, "max_gen_toks": 4, "until": []}
        asked = [(prompt, dict(kwargs)) for prompt in PROMPTS for _ in range(2)]
        found = lm.generate_until(_instances("generate_until", asked), disable_tqdm=True)
        for (prompt, _), text, seed in zip(asked, found, [1, 2] * len(PROMPTS), strict=True):
            tokens, drawn = tokenizer(prompt)["input_ids"], []
            for position in range(4):
                values = references.next_token(plain, [*tokens, *drawn]).double().numpy()
                if temperature:
                    values = values / temperature + gumbel(stream(prompt, seed, position), vocabulary)
                drawn.append(int(values.argmax()))
                if drawn[-1] == tokenizer.eos_token_id:
                    drawn.pop()
                    break
            expected = tokenizer.decode(drawn, skip_special_tokens=True)
            if text != expected:
                raise Wrong(f"seed {seed}, temperature {temperature}: {text!r}, by plain passes {expected!r}")
    return ""


def saving(family: str, tokenizer: Any) -> str:
    """A saved and reloaded checkpoint gives the logits of the model in memory."""
    from transformers import AutoModelForCausalLM

    with tempfile.TemporaryDirectory() as folder:
        tokens, dense = tokenizer(PROMPTS[0])["input_ids"], tiny(family)
        dense.save_pretrained(f"{folder}/dense")
        plain = AutoModelForCausalLM.from_pretrained(f"{folder}/dense", dtype=torch.float32).eval()
        if not torch.allclose(references.next_token(plain, tokens), references.next_token(dense, tokens), atol=_CLOSE):
            raise NoReference("transformers' own reload of the dense model gives other logits")
        lm = _lm(family, tokenizer, method="magnitude", sparsity=SHARE, save_compressed=f"{folder}/saved")
        again = AutoModelForCausalLM.from_pretrained(f"{folder}/saved", dtype=torch.float32).eval()
        apart = float((references.next_token(again, tokens) - references.next_token(lm.model, tokens)).abs().max())
    if not apart <= _CLOSE or math.isnan(apart):
        raise Wrong(f"logits differ by {apart:.3g} after saving and loading")
    return ""


CHECKS: dict[str, Callable[[str, Any], str]] = {
    "random": random,
    "magnitude": magnitude,
    "wanda": wanda,
    "wanda, sequential=False": wanda_dense,
    "rtn": rtn,
    "mlx_affine": mlx_affine,
    "letters": letters,
    "texts": texts,
    "sampling": sampling,
    "saving": saving,
}
