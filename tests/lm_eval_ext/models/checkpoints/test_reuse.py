"""cache_compressed: the same bits as compressing again, and a run goes on where nothing can be kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.checkpoints.reuse import compressed_once
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.evidence.hashes import weights_hash
from lm_eval_ext.models.evidence.record import Evidence
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.parts.loaded import Loaded
from lm_eval_ext.models.recipe.resolve import resolve
from tests.helpers.tiny import FAMILIES, tiny_model


def wanda(text_file: Path, **keys: Any) -> Any:
    return resolve(
        method="wanda", **({"sparsity": 0.5, "calibration": str(text_file), "samples": 2, "seqlen": 16} | keys)
    )


def run(model: Any, tokenizer: Any, recipe: Any, cache: Path) -> tuple[Evidence, bool]:
    """The evidence, and whether something was compressed."""
    done = []

    def compress(loaded: Loaded) -> Evidence:
        done.append(1)
        return compress_(loaded.model, loaded.tokenizer, recipe, base=loaded.base)

    evidence = compressed_once(
        Loaded(model=model, tokenizer=tokenizer, base={"pretrained": "here"}), recipe, compress, cache
    )
    return evidence, bool(done)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_bits_as_compressing_again(
    family: str, dtype: torch.dtype, tokenizer: Any, text_file: Path, tmp_path: Path
) -> None:
    recipe = wanda(text_file)
    plain = tiny_model(family, dtype=dtype)
    alone = compress_(plain, tokenizer, recipe)
    for again in (False, True):
        model = tiny_model(family, dtype=dtype)
        evidence, compressed = run(model, tokenizer, recipe, tmp_path)
        assert compressed is not again
        assert evidence.kept is not None
        assert evidence.kept["reused"] is again
        state, expected = model.state_dict(), plain.state_dict()
        assert all(torch.equal(state[name], expected[name]) for name in expected)
        changed = {"seconds", "kept", "base"}
        assert {k: v for k, v in evidence.as_dict().items() if k not in changed} == {
            k: v for k, v in json.loads(json.dumps(alone.as_dict())).items() if k not in changed
        }


def test_what_is_another_compression_is_made_anew(tokenizer: Any, text_file: Path, tmp_path: Path) -> None:
    other_text = tmp_path / "other.txt"
    other_text.write_text(text_file.read_text() + " And then it rained for a week.")
    assert run(tiny_model("llama"), tokenizer, wanda(text_file), tmp_path / "c")[1]
    assert run(tiny_model("llama"), tokenizer, wanda(text_file, sparsity=0.4), tmp_path / "c")[1]
    assert run(tiny_model("llama"), tokenizer, wanda(text_file, calibration=str(other_text)), tmp_path / "c")[1]
    assert run(tiny_model("llama", seed=1), tokenizer, wanda(text_file), tmp_path / "c")[1]
    # The same weights under other rotary frequencies see other inputs.
    frequencies = {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
    assert run(tiny_model("llama", **frequencies), tokenizer, wanda(text_file), tmp_path / "c")[1]
    assert not run(tiny_model("llama"), tokenizer, wanda(text_file), tmp_path / "c")[1]


def test_a_flipped_byte_is_seen_and_compressed_anew(
    tokenizer: Any, text_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = wanda(text_file)
    evidence, _ = run(tiny_model("llama"), tokenizer, recipe, tmp_path)
    assert evidence.kept is not None
    (file,) = Path(evidence.kept["path"]).glob("*.safetensors")
    raw = bytearray(file.read_bytes())
    raw[-5] ^= 64
    file.write_bytes(raw)
    model = tiny_model("llama")
    again, compressed = run(model, tokenizer, recipe, tmp_path)
    assert compressed
    assert weights_hash(model) == again.weights_hash_after == evidence.weights_hash_after
    assert "is damaged" in caplog.text


def test_kept_are_only_the_tensors_that_changed(tokenizer: Any, tmp_path: Path) -> None:
    from safetensors import safe_open

    evidence, _ = run(tiny_model("llama"), tokenizer, resolve(method="magnitude", sparsity=0.5), tmp_path)
    assert evidence.kept is not None
    (file,) = Path(evidence.kept["path"]).glob("*.safetensors")
    with safe_open(str(file), framework="pt") as tensors:
        assert set(tensors.keys()) == {record["name"] for record in evidence.matrices}


def test_without_a_cache_the_run_goes_on(tokenizer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    model = tiny_model("llama")
    evidence, compressed = run(model, tokenizer, resolve(method="magnitude", sparsity=0.5), tmp_path / "file")
    assert compressed
    assert evidence.kept is None
    assert weights_hash(model) == evidence.weights_hash_after
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("cache_compressed: nothing can be kept in")
    assert warning.endswith("; the run goes on without")


def test_a_disk_that_is_full_at_the_end_costs_no_second_compression(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    def full(*unused: object, **unused_too: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    evidence, compressed = run(tiny_model("llama"), tokenizer, resolve(method="magnitude", sparsity=0.5), tmp_path)
    assert compressed
    assert evidence.kept is None
    assert [path.name for path in tmp_path.iterdir()] == [".locks"]


def test_as_a_model_argument(tiny_checkpoint: Path, own_cache: Path) -> None:
    arguments: dict[str, Any] = {"pretrained": str(tiny_checkpoint), "recipe": "magnitude-50", "device": "cpu"}
    models = [CompressedHFLM(**arguments, cache_compressed=True) for _ in range(2)]
    found = [model.get_model_info()["compression"] for model in models]
    assert [evidence["kept"]["reused"] for evidence in found] == [False, True]
    assert Path(found[0]["kept"]["path"]).parent == own_cache / "checkpoints"
    assert found[1]["weights_hash_after"] == found[0]["weights_hash_after"] == weights_hash(models[1].model)
    assert CompressedHFLM(**arguments).get_model_info()["compression"]["kept"] is None


def test_a_value_that_is_no_flag_is_refused(tiny_checkpoint: Path) -> None:
    with pytest.raises(UserError, match="cache_compressed='often': expected true or false"):
        CompressedHFLM(pretrained=str(tiny_checkpoint), recipe="dense", cache_compressed="often", device="cpu")
