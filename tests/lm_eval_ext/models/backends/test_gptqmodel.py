"""GPTQModel: what is refused before any work, how its formats are unpacked, and one whole run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends.backend import Source
from lm_eval_ext.models.backends.gptqmodel.backend import refuse_unloadable
from lm_eval_ext.models.backends.gptqmodel.steps import GptqModelStep
from lm_eval_ext.models.backends.making import SCRIPTS
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.recipe.build import make_step
from tests.helpers.compress import write_text
from tests.helpers.tiny import write_tiny

CALIBRATED = {"samples": 4, "seqlen": 64}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module; it imports GPTQModel only when it quantizes."""
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.setenv("GPTQMODEL_CPU_WORKERS", "2")
    import run_gptqmodel

    yield run_gptqmodel
    for name in ("run_gptqmodel", "script_parts"):
        sys.modules.pop(name, None)


def step(**values: Any) -> GptqModelStep:
    made = make_step(values)
    assert isinstance(made, GptqModelStep)
    return made


def packed(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """[n, m] codes into 32-bit words down the first dimension, lowest bits first: by Python's own whole numbers."""
    words = []
    for column in codes.t().tolist():
        number = sum(code << (bits * place) for place, code in enumerate(column))
        count = len(column) * bits // 32
        words.append([(number >> (32 * place)) & 0xFFFFFFFF for place in range(count)])
    return torch.tensor(words, dtype=torch.int64).t().to(torch.int32)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_gptq_words_are_unpacked(bits: int, script: Any) -> None:
    draw = torch.Generator().manual_seed(bits)
    codes = torch.randint(0, 2**bits, (64, 32), generator=draw)
    zeros = torch.randint(1, 2**bits, (2, 32), generator=draw)
    scales = torch.rand(2, 32, generator=draw)
    parts = {
        "qweight": packed(codes, bits),
        # The format keeps zero points one less, along the outputs.
        "qzeros": packed((zeros - 1).t(), bits).t().contiguous(),
        "scales": scales,
    }
    asked = {"bits": bits, "group_size": 32}
    found = script.gptq_values(parts, None, asked, {"checkpoint_format": "gptq"})
    group = torch.arange(64) // 32
    by_hand = ((codes - zeros[group]) * scales[group]).t()
    assert torch.equal(found, by_hand)


def test_awq_words_are_unpacked(script: Any) -> None:
    # One word of eight outputs: the nibbles, lowest first, are outputs 0 2 4 6 1 3 5 7.
    word = sum(output << (4 * place) for place, output in enumerate((0, 2, 4, 6, 1, 3, 5, 7)))
    parts = {
        "qweight": torch.tensor([[word]], dtype=torch.int32),
        "qzeros": torch.tensor([[0]], dtype=torch.int32),
        "scales": torch.ones(1, 8),
    }
    found = script.awq_values(parts, None, {"bits": 4, "group_size": -1}, {})
    assert found.t().tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]


@pytest.mark.parametrize(
    ("family", "changes", "line"),
    [
        ("gpt2", {}, r"attn\.c_attn is a Conv1D: transformers can't load what GPTQModel makes of it"),
        ("mixtral", {}, r"mlp\.experts holds the experts of a mixture in one tensor"),
        ("llama", {"group_size": 128}, r"group_size 128 does not divide the columns \(64\) of 12 of 14 matrices"),
        ("llama", {"name": "awq"}, r"AWQ takes outputs that 64 divides; model\.layers\.0\.self_attn\.k_proj"),
        ("llama", {"exclude": ["*.wq"]}, r"exclude='\*\.wq' removes no matrix"),
    ],
)
def test_what_would_fail_late_is_refused_early(
    family: str, changes: dict[str, Any], line: str, script: Any, tmp_path: Path
) -> None:
    request = {"source": str(write_tiny(family, tmp_path / family)), "trust_remote_code": False}
    with pytest.raises(Exception, match=line) as caught:
        script.matrices(request, {"exclude": [], "group_size": 32} | changes)
    assert type(caught.value).__name__ == "RefusedError"


def test_the_matrices_that_are_meant(script: Any, tmp_path: Path) -> None:
    request = {"source": str(write_tiny("llama", tmp_path / "llama")), "trust_remote_code": False}
    names, left, tied = script.matrices(request, {"exclude": ["*.o_proj"], "group_size": 32})
    assert len(names) == 12
    assert left == ["model.layers.0.self_attn.o_proj", "model.layers.1.self_attn.o_proj"]
    assert tied is False


@pytest.mark.parametrize(
    ("values", "loader", "config", "line"),
    [
        (
            {"symmetric": False},
            {"dtype": "float32"},
            {},
            r"symmetric=False in float32 on a CPU runs in a kernel of GPTQ",
        ),
        ({"symmetric": False}, {}, {"dtype": torch.float32}, "give dtype=bfloat16, symmetric=True, or checkpoint=deq"),
        ({"symmetric": False}, {"dtype": "bfloat16"}, {}, None),
        ({"symmetric": False}, {"dtype": "float32", "device": "cuda:0"}, {}, None),
        ({}, {"dtype": "float32"}, {}, None),
        ({}, {}, {"model_type": "phi3"}, "transformers can't load a packed phi3 of GPTQModel; checkpoint=dequantized"),
    ],
)
def test_the_wrong_kernel_is_refused(
    values: dict[str, Any], loader: dict[str, Any], config: dict[str, Any], line: str | None
) -> None:
    asked = step(method="gptq", bits=4, **values)
    source = Source(pretrained="m", loader={"device": "cpu"} | loader)
    its = SimpleNamespace(**({"model_type": "llama", "dtype": torch.bfloat16} | config))
    if line is None:
        refuse_unloadable(asked, source, its)
        return
    with pytest.raises(UserError, match=line):
        refuse_unloadable(asked, source, its)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"method": "gptq", "bits": 5}, "got 5, but gptq takes 2, 3, 4, 8"),
        ({"method": "awq", "bits": 3}, "got 3, but awq takes 4"),
        ({"method": "gptq", "bits": 4, "group_size": -1}, "one scale a row is granularity=channel"),
        ({"method": "gptq", "bits": 4, "granularity": "channel", "group_size": 64}, "which has no groups"),
    ],
)
def test_values_out_of_range(values: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        make_step(values)


def test_a_missing_library_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lm_eval_ext.errors.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"method gptq needs gptqmodel, which is not installed here\. Run: pip install"):
        step(method="gptq", bits=4).check_installed()
    elsewhere = {"method": "gptq", "bits": 4, "options": {"python": "/envs/gptq/bin/python"}}
    with pytest.raises(UserError, match=r"checkpoint=dequantized needs no library here"):
        step(**elsewhere).check_installed()
    step(**elsewhere, checkpoint="dequantized").check_installed()


@pytest.mark.slow
def test_a_whole_run(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first one on a machine compiles a kernel of a minute.
    pytest.importorskip("gptqmodel", reason="GPTQModel is an extra")
    monkeypatch.setenv("MAX_JOBS", os.environ.get("MAX_JOBS", "1"))
    source = write_tiny("llama", tmp_path / "llama")
    text = write_text(tmp_path / "text.txt")
    model = CompressedHFLM(
        pretrained=str(source),
        device="cpu",
        method="wanda+gptq",
        sparsity=0.5,
        bits=4,
        group_size=32,
        allow_regrowth=True,
        checkpoint="dequantized",
        calibration=str(text),
        **CALIBRATED,
    )
    found = model.get_model_info()["compression"]
    assert (found["status"], found["bits"], found["backend"]) == ("proved", 4.0, "native+gptqmodel")
    assert [stage["label"] for stage in found["stages"]] == ["wanda-50"]
    # By hand from the file: at most 16 values in each group of 32, zeros that came back, ends as they were.
    saved, before = load_file(Path(found["loaded"]) / "model.safetensors"), load_file(source / "model.safetensors")
    weights = [saved[record["name"]] for record in found["matrices"] if record["method"] == "gptq"]
    assert len(weights) == 14
    assert all(len(group.unique()) <= 16 for weight in weights for group in weight.reshape(-1, 32))
    zeros = sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)
    assert found["sparsity"] == pytest.approx(zeros, abs=0.005)
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        assert torch.equal(saved[name], before[name])
