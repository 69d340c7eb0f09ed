"""Our Wanda masks equal llm-compressor's, bit for bit in float32, on the same token ids of equal length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.recipe.calibration import load_calibration
from lm_eval_ext.models.recipe.resolve import resolve
from tests.helpers.compress import expected
from tests.helpers.tiny import write_tiny

pytest.importorskip("llmcompressor", reason="llm-compressor is an extra")


def load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def theirs(folder: Path, samples: list[Tensor], **modifier: Any) -> Any:
    """llm-compressor 0.14.0.1:

    oneshot(model=..., dataset=<token ids>, recipe=WandaPruningModifier(sparsity=0.5, targets=["Linear"],
    ignore=["re:.*lm_head"]), num_calibration_samples=8, shuffle_calibration_samples=False)

    'lm_head' without 're:' would be pruned in spite of the ignore list.
    """
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.pruning import WandaPruningModifier

    model = load(folder)
    rows = [sample[0].tolist() for sample in samples]
    oneshot(
        model=model,
        dataset=Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}),
        recipe=WandaPruningModifier(targets=["Linear"], ignore=["re:.*lm_head"], **modifier),
        num_calibration_samples=len(samples),
        max_seq_length=len(rows[0]),
        shuffle_calibration_samples=False,
    )
    return model


@pytest.mark.parametrize(
    ("ask", "modifier"),
    [
        ({"sparsity": 0.5}, {"sparsity": 0.5}),
        ({"sparsity": 0.7}, {"sparsity": 0.7}),
        ({"pattern": "2:4"}, {"sparsity": 0.5, "mask_structure": "2:4"}),
    ],
)
def test_masks_are_equal(
    ask: dict[str, Any], modifier: dict[str, Any], tmp_path: Path, text_file: Path, tokenizer: Any
) -> None:
    folder = write_tiny("llama", tmp_path / "model")
    recipe = resolve(method="wanda", calibration=str(text_file), samples=8, seqlen=64, **ask)
    assert recipe.calibration is not None
    samples, record = load_calibration(recipe.calibration, tokenizer, 512)
    model = load(folder)
    evidence = compress_(model, tokenizer, recipe)
    assert evidence.calibration is not None
    assert evidence.calibration["token_hash"] == record.token_hash
    other = theirs(folder, samples, **modifier)
    wanted = dict(other.named_parameters())
    differing = {
        name: int(((weight == 0) != (wanted[name] == 0)).sum())
        for name, weight in model.named_parameters() if name in expected("llama")
    }  # fmt: skip
    assert len(differing) == 14
    assert sum(differing.values()) == 0, differing
    assert all(torch.equal(weight, wanted[name]) for name, weight in model.named_parameters())
