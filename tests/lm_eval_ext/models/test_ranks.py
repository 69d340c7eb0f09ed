"""One checkpoint a run, however many processes compress: the first writes it, the others write nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lm_eval_ext.models import compressed_hf
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from tests.helpers.tiny import write_tiny


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_only_the_first_process_writes(rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny("llama", tmp_path / "model")
    written: list[Any] = []
    honest = compressed_hf.save_checkpoint

    def save(*args: Any) -> Path:
        written.append(args)
        return honest(*args)

    monkeypatch.setattr(compressed_hf, "save_checkpoint", save)
    monkeypatch.setattr(CompressedHFLM, "rank", property(lambda self: rank))
    monkeypatch.setattr(CompressedHFLM, "world_size", property(lambda self: 4))
    options = {"recipe": "magnitude-50", "save_compressed": str(tmp_path / "saved")}
    model = CompressedHFLM(pretrained=str(tmp_path / "model"), device="cpu", **options)
    # Every process has compressed.
    assert model._evidence.totals["achieved_sparsity"] == 0.5
    assert len(written) == (1 if rank == 0 else 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == (["model", "saved"] if rank == 0 else ["model"])
