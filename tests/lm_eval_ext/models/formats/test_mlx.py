"""MLX's checkpoints: the values of mlx.core.dequantize to the last bit, the logits of mlx_lm, and the evidence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.evidence.canary import CANARY
from lm_eval_ext.models.formats.mlx import Packing, decode
from lm_eval_ext.models.formats.mlx_files import read_mlx
from tests.helpers.tiny import tiny_model, write_tiny

mx: Any = pytest.importorskip("mlx.core")

WIDE = {"hidden_size": 128, "intermediate_size": 256}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])
def test_values_are_those_of_mlx(bits: int, dtype: str) -> None:
    numbers = torch.randn(24, 256, generator=torch.Generator().manual_seed(bits)).to(getattr(torch, dtype))
    given = mx.array(numbers.float().numpy()).astype(getattr(mx, dtype))
    words, scales, biases = mx.quantize(given, group_size=64, bits=bits)
    theirs = mx.dequantize(words, scales, biases, group_size=64, bits=bits).astype(mx.float32)

    def torched(array: Any) -> torch.Tensor:
        import numpy as np

        return torch.from_numpy(np.array(array.astype(mx.float32))).to(getattr(torch, dtype))

    import numpy as np

    packed = torch.from_numpy(np.array(words).view(np.int32))
    ours, form = decode("w", packed, torched(scales), torched(biases), Packing(bits=bits, group_size=64))
    assert torch.equal(ours.float(), torch.from_numpy(np.array(theirs)))
    assert (form.shape, form.bits) == ((24, 256), bits)
    assert 2**bits - 2 < form.levels <= 2**bits  # 6,144 weights meet all codes, or all but one
    # A scale and a bias a group of 64.
    assert form.bits_per_weight == bits + 2 * (32 if dtype == "float32" else 16) / 64


def mlx_logits(folder: Path, ids: list[int]) -> torch.Tensor:
    """What mlx_lm answers to a prompt, [vocab]."""
    from mlx_lm.utils import load_model

    model, _ = load_model(folder)
    return torch.tensor(model(mx.array([ids]))[0, -1].astype(mx.float32).tolist())


def our_logits(run: CompressedHFLM, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = run.model(input_ids=torch.tensor([ids])).logits[0, -1].float()
    return logits


@pytest.mark.slow
def test_smollm2_by_mlx_lm(tmp_path: Path) -> None:
    """SmolLM2 converted by mlx_lm at 3, 4, 6 and 8 bits: the same logits behind the canary prompt."""
    mlx_lm = pytest.importorskip("mlx_lm")
    from lm_eval_ext.demo.model import demo_model, require_source

    try:
        require_source()
    except UserError as error:
        pytest.skip(str(error))
    source = tmp_path / "source"
    shutil.copytree(demo_model(), source)
    with_theta(source)
    for bits in (3, 4, 6, 8):
        folder = tmp_path / str(bits)
        mlx_lm.convert(str(source), mlx_path=str(folder), quantize=True, q_bits=bits, q_group_size=64, dtype="float32")
        run = CompressedHFLM(pretrained=str(folder), device="cpu")
        ids = run.tok_encode(CANARY)
        # Logits of up to 20 in size.
        torch.testing.assert_close(our_logits(run, ids), mlx_logits(folder, ids), rtol=0, atol=2e-3)
        evidence = run._evidence
        assert (evidence.label, evidence.status, evidence.bits) == (f"mlx-{bits}(group_size=64)", "measured", bits)
        assert len(evidence.matrices) == 211  # 7 in each of 30 blocks, and the embedding, the output layer too
        assert not evidence.skipped
        assert evidence.totals["decoder_bits_per_weight"] == bits + 1  # scale and bias in float32


def with_theta(folder: Path) -> None:
    """Write the base of the rotary frequencies where mlx_lm looks for it.

    Mlx_lm 0.32 does not know `rope_parameters`, in which transformers 5 writes it, and takes 10,000 without a word.
    """
    config = json.loads((folder / "config.json").read_text())
    config["rope_theta"] = config["rope_parameters"]["rope_theta"]
    (folder / "config.json").write_text(json.dumps(config))


# -- tiny checkpoints, packed by mlx.core


def write_mlx(folder: Path, said: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A tiny Llama whose linear maps and embeddings are packed as `said` has it; returns what they stand for."""
    write_tiny("llama", folder, dtype=torch.float32, **(WIDE | changes))
    weights = mx.load(str(folder / "model.safetensors"))
    stored: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name, weight in weights.items():
        module = name.removesuffix(".weight")
        own = said.get(module, said)
        if weight.ndim < 2 or own is False:
            stored[name] = weight
            continue
        how = {"group_size": own["group_size"], "bits": own["bits"]}
        stored[name], stored[f"{module}.scales"], stored[f"{module}.biases"] = mx.quantize(weight, **how)
        values[name] = mx.dequantize(stored[name], stored[f"{module}.scales"], stored[f"{module}.biases"], **how)
    mx.save_safetensors(str(folder / "model.safetensors"), stored, metadata={"format": "mlx"})
    config = json.loads((folder / "config.json").read_text())
    config |= {"quantization": said, "quantization_config": said}
    (folder / "config.json").write_text(json.dumps(config))
    return values


@pytest.mark.parametrize("bits", [3, 4, 6, 8])
def test_logits_are_those_of_mlx_lm(tmp_path: Path, bits: int) -> None:
    pytest.importorskip("mlx_lm")
    write_mlx(tmp_path, {"group_size": 64, "bits": bits, "mode": "affine"}, tie_word_embeddings=bits == 4)
    with_theta(tmp_path)
    run = CompressedHFLM(pretrained=str(tmp_path), device="cpu")
    ids = [5, 17, 250, 4, 90, 11]
    ours = our_logits(run, ids)
    torch.testing.assert_close(ours, mlx_logits(tmp_path, ids), rtol=0, atol=1e-4)
    assert float(ours.std()) > 0.5


def test_mixed_bits(tmp_path: Path) -> None:
    said: dict[str, Any] = {"group_size": 64, "bits": 4, "mode": "affine", "lm_head": False}
    said |= {f"model.layers.{i}.mlp.down_proj": {"group_size": 32, "bits": 6} for i in range(2)}
    values = write_mlx(tmp_path, said)
    run = CompressedHFLM(pretrained=str(tmp_path), device="cpu")
    found = run._evidence
    for name, value in values.items():
        assert run.model.get_parameter(name).tolist() == value.tolist()
    # A block: q, o 128 x 128, k, v 64 x 128, gate, up 256 x 128 at 4 bits; down 128 x 256 at 6.
    four, six = 2 * 128 * 128 + 2 * 64 * 128 + 2 * 256 * 128, 128 * 256
    assert found.bits == pytest.approx((4 * four + 6 * six) / (four + six))
    assert found.label == "mlx-4.44(mixed=4+6)"
    assert found.skipped == [{"name": "lm_head.weight", "reason": "stays float32", "method": "mlx"}]
    assert {entry["name"]: entry["bits"] for entry in found.matrices}["model.layers.0.mlp.down_proj.weight"] == 6


def test_the_card_names_the_original(tmp_path: Path) -> None:
    write_mlx(tmp_path, {"group_size": 64, "bits": 4})
    (tmp_path / "README.md").write_text("---\nbase_model: org/original\ntags:\n- mlx\n---\n# A model\n")
    found = CompressedHFLM(pretrained=str(tmp_path), device="cpu")._evidence
    assert found.base["pretrained"] == "org/original"
    assert found.origin == {"base_model": "org/original", "told_by": "card"}
    assert found.loaded == str(tmp_path)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"group_size": 64, "bits": 3}, "are not 3 bits in groups of 64, as config.json says"),
        ({"group_size": 32, "bits": 4, "mode": "mxfp4"}, "MLX's mode 'mxfp4'; only affine is read here"),
        ({"group_size": 64, "bits": 7}, "bits=7, group_size=64; bits are 2, 3, 4, 5, 6 or 8"),
    ],
)
def test_a_config_that_contradicts_the_words(tmp_path: Path, said: dict[str, Any], message: str) -> None:
    write_mlx(tmp_path, {"group_size": 64, "bits": 4})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"quantization": said}))
    with pytest.raises(UserError, match=message) as caught:
        CompressedHFLM(pretrained=str(tmp_path), device="cpu")
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    write_mlx(tmp_path, {"group_size": 64, "bits": 4})
    weights = mx.load(str(tmp_path / "model.safetensors"))
    weights["model.layers.0.mlp.other.weight"] = weights.pop("model.norm.weight")
    mx.save_safetensors(str(tmp_path / "model.safetensors"), weights, metadata={"format": "mlx"})
    with pytest.raises(
        UserError, match=r"needs model\.norm\.weight; the files have in excess model\.layers\.0\.mlp\.o"
    ):
        CompressedHFLM(pretrained=str(tmp_path), device="cpu")


def test_packed_wider_than_it_was_rounded(tmp_path: Path) -> None:
    import numpy as np

    write_mlx(tmp_path, {"group_size": 64, "bits": 8})
    weights = mx.load(str(tmp_path / "model.safetensors"))
    for name in [name for name in weights if f"{name.removesuffix('.weight')}.scales" in weights]:
        # Eight-bit codes of which the lower four bits are nothing.
        weights[name] = mx.array(np.array(weights[name]) & 0xF0F0F0F0)
    mx.save_safetensors(str(tmp_path / "model.safetensors"), weights, metadata={"format": "mlx"})
    found = CompressedHFLM(pretrained=str(tmp_path), device="cpu")._evidence
    assert (found.label, found.status) == ("mlx-8(group_size=64)(unverified)", "unverified")
    assert found.doubts == ["matrices of 8 bits hold no more than 2^4 different codes"]


def test_plain_floats_by_mlx_and_stacked_experts(tmp_path: Path) -> None:
    model = tiny_model("mixtral")
    write_tiny("mixtral", tmp_path)
    weights = mx.load(str(tmp_path / "model.safetensors"))
    # As mlx_lm sanitizes Mixtral: one tensor of all experts a map.
    for layer in range(2):
        start = f"model.layers.{layer}.block_sparse_moe"
        for theirs, ours in (("w1", "gate_proj"), ("w2", "down_proj"), ("w3", "up_proj")):
            stacked = [weights.pop(f"{start}.experts.{expert}.{theirs}.weight") for expert in range(4)]
            weights[f"{start}.switch_mlp.{ours}.weight"] = mx.stack(stacked)
    mx.save_safetensors(str(tmp_path / "model.safetensors"), weights, metadata={"format": "mlx"})
    run = CompressedHFLM(pretrained=str(tmp_path), device="cpu")
    assert run._evidence.label == "dense"
    for name, value in model.state_dict().items():
        assert torch.equal(run.model.state_dict()[name], value), name


def test_only_one_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "weights.npz").touch()
    with pytest.raises(UserError, match=r"weights\.npz is the form of MLX before 2024"):
        read_mlx(tmp_path, {"quantization": {"bits": 4, "group_size": 64}})
