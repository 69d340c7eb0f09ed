"""transformers' own quantizers on tiny models: codes read from what was loaded, the rest refused before the load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from tests.helpers.compress import write_text
from tests.helpers.tiny import write_tiny

O_PROJ = {f"model.layers.{block}.self_attn.o_proj.weight" for block in (0, 1)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onload")
    for family in ("llama", "gpt2", "mixtral"):
        write_tiny(family, folder / family)
    write_text(folder / "text.txt")
    return folder


def load(place: Path, family: str = "llama", **arguments: Any) -> CompressedHFLM:
    return CompressedHFLM(pretrained=str(place / family), device="cpu", **arguments)


@pytest.mark.parametrize(
    ("library", "arguments", "group"),
    [
        ("torchao", {"method": "torchao", "bits": 3, "group_size": 32, "symmetric": False}, 32),
        ("bitsandbytes", {"method": "bitsandbytes", "bits": 8}, None),
        ("bitsandbytes", {"method": "bitsandbytes", "bits": 4, "values": "fp4"}, 64),
    ],
)
def test_codes_are_read_and_what_is_left_alone_is(
    library: str, arguments: dict[str, Any], group: int | None, place: Path
) -> None:
    pytest.importorskip(library)
    model = load(place, exclude="*.o_proj", **arguments)
    found = model.get_model_info()["compression"]
    assert (found["status"], found["bits"], found["backend"]) == ("proved", float(arguments["bits"]), "transformers")
    assert found["loaded"] == found["base"]["pretrained"] == str(place / "llama")
    assert len(found["matrices"]) == 12
    assert {record["bits"] for record in found["matrices"]} == {arguments["bits"]}
    assert {record["group_size"] for record in found["matrices"]} <= {group, None}
    assert {skip["name"] for skip in found["skipped"]} == O_PROJ
    before, now = load_file(place / "llama" / "model.safetensors"), dict(model._model.named_parameters())
    for name in {*O_PROJ, "lm_head.weight", "model.embed_tokens.weight"}:
        assert torch.equal(now[name], before[name]), name


def test_sparsity_survives_eight_bits(place: Path) -> None:
    pytest.importorskip("torchao")
    data = {"calibration": str(place / "text.txt"), "samples": 4, "seqlen": 64}
    model = load(place, method="wanda+torchao", sparsity=0.5, bits=8, group_size=32, **data)
    found = model.get_model_info()["compression"]
    assert (found["status"], found["sparsity"], found["bits"]) == ("proved", 0.5, 8.0)
    assert [(stage["backend"], stage["sparsity"]) for stage in found["stages"]] == [("native", 0.5)]
    assert found["calibration"]["samples"] == 4


@pytest.mark.parametrize(
    ("family", "arguments", "line"),
    [
        ("llama", {"method": "fp8"}, "fp8: transformers quantizes to FP8 on a GPU alone"),
        ("llama", {"method": "torchao", "bits": 4}, r"group_size=128 does not divide the columns \(64\) of 12 of 14"),
        (
            "gpt2",
            {"method": "torchao", "bits": 4, "group_size": 32},
            r"c_attn is a Conv1D, which torchao leaves as it is",
        ),
        ("mixtral", {"method": "torchao", "bits": 4, "group_size": 32}, r"mlp\.experts holds the experts of a mixture"),
        ("llama", {"method": "bitsandbytes", "bits": 8, "values": "nf4"}, "got values=nf4 with bits=8, which has none"),
        ("llama", {"method": "bitsandbytes", "bits": 4, "group_size": 32}, "bitsandbytes has blocks of its own"),
        ("llama", {"method": "bitsandbytes", "bits": 6}, "got 6, but bitsandbytes takes 4, 8"),
        ("llama", {"method": "quanto", "bits": 3}, "got 3, but quanto takes 2, 4, 8"),
        ("llama", {"method": "bitsandbytes", "bits": 8, "lm_head": True}, "compresses the decoder blocks alone"),
        ("llama", {"method": "bitsandbytes", "bits": 8, "exclude": "*.wq"}, r"exclude='\*\.wq' removes no target of"),
        (
            "llama",
            {"method": "torchao+rtn", "bits": 4, "group_size": 32},
            "torchao leaves packed weights, which no later step takes; put it last",
        ),
        (
            "llama",
            {"method": "bitsandbytes", "bits": 8, "gguf_file": "m.gguf"},
            "reads a plain checkpoint and knows no gg",
        ),
    ],
)
def test_what_does_not_work_is_refused_before_the_load(
    family: str, arguments: dict[str, Any], line: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchao")
    pytest.importorskip("bitsandbytes")
    pytest.importorskip("optimum.quanto")
    monkeypatch.setattr(CompressedHFLM, "_create_model", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(UserError, match=line) as caught:
        load(place, family, **arguments)
    assert "\n" not in str(caught.value)
