"""Checkpoints: the same logits after loading, recipe and evidence beside the weights, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.checkpoints import write as checkpoints
from lm_eval_ext.models.checkpoints.trial import refuse_occupied, refuse_unsaveable
from lm_eval_ext.models.checkpoints.write import save_checkpoint
from lm_eval_ext.models.evidence.hashes import weights_hash
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.recipe.files import load_recipe
from lm_eval_ext.models.recipe.resolve import resolve
from tests.helpers.tiny import FAMILIES, tiny_model, write_tiny

IDS = torch.randint(3, 300, (2, 21), generator=torch.Generator().manual_seed(7))


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        result = model(input_ids=IDS).logits
    assert isinstance(result, Tensor)
    return result


def load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).eval()


def compressed(
    tokenizer: Any, family: str = "llama", dtype: torch.dtype = torch.float32, **keys: Any
) -> tuple[Any, Any, Any]:
    model = tiny_model(family, dtype=dtype)
    recipe = resolve(**(keys or {"method": "magnitude", "sparsity": 0.5}))
    return model, recipe, compress_(model, tokenizer, recipe)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("method", ["magnitude", "wanda", "rtn"])
@pytest.mark.parametrize("family", FAMILIES)
def test_reloads_to_the_same_logits(
    family: str, method: str, dtype: torch.dtype, tokenizer: Any, text_file: Path, tmp_path: Path
) -> None:
    keys: dict[str, Any] = {"method": method, "sparsity": 0.5}
    if method == "rtn":
        keys = {"method": "rtn", "bits": 4, "group_size": 32, "lm_head": True, "embeddings": True}
    if method == "wanda":
        keys |= {"calibration": str(text_file), "samples": 2, "seqlen": 16}
    model, recipe, evidence = compressed(tokenizer, family, dtype, **keys)
    folder = save_checkpoint(model, tokenizer, tmp_path / "saved", recipe, evidence)
    again = load(folder)
    assert again.dtype == dtype
    assert torch.equal(logits(again), logits(model))
    assert weights_hash(again) == evidence.weights_hash_after
    assert load_recipe(str(folder / "compression_recipe.yaml")) == recipe
    assert json.loads((folder / "compression_evidence.json").read_text(encoding="utf-8")) == evidence.as_dict()


def test_what_lies_in_the_folder(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    model, recipe, evidence = compressed(tokenizer)
    folder = save_checkpoint(model, tokenizer, tmp_path / "new" / "folder", recipe, evidence)
    assert folder == tmp_path / "new" / "folder"
    assert {"config.json", "model.safetensors", "compression_recipe.yaml"} <= {path.name for path in folder.iterdir()}
    assert not list(folder.glob("*.bin"))
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]
    text = "Who kept the key?"
    assert AutoTokenizer.from_pretrained(folder)(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_dense_recipe_saves_too(tokenizer: Any, tmp_path: Path) -> None:
    model = tiny_model("llama")
    recipe = resolve()
    folder = save_checkpoint(model, tokenizer, tmp_path / "dense", recipe, compress_(model, tokenizer, recipe))
    assert load_recipe(str(folder / "compression_recipe.yaml")) == recipe


def test_tied_weights_stay_tied(tokenizer: Any, tmp_path: Path) -> None:
    keys = {"method": "magnitude", "sparsity": 0.5, "lm_head": True, "embeddings": True}
    model, recipe, evidence = compressed(tokenizer, "gemma2", **keys)
    again = load(save_checkpoint(model, tokenizer, tmp_path / "tied", recipe, evidence))
    assert again.lm_head.weight is again.model.embed_tokens.weight
    assert int((again.lm_head.weight == 0).sum()) == 300 * 64 // 2


def test_occupied_folder_is_refused_before_anything(tokenizer: Any, tmp_path: Path) -> None:
    model, recipe, evidence = compressed(tokenizer)
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    for target in (folder, folder / "notes.txt"):
        with pytest.raises(UserError, match="exists already; give a new folder or remove it"):
            refuse_occupied(target)
        with pytest.raises(UserError, match="exists already; give a new folder or remove it"):
            save_checkpoint(model, tokenizer, target, recipe, evidence)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_empty_folder_is_used(tokenizer: Any, tmp_path: Path) -> None:
    model, recipe, evidence = compressed(tokenizer)
    (tmp_path / "empty").mkdir()
    refuse_occupied(tmp_path / "empty")
    refuse_occupied(tmp_path / "new")
    save_checkpoint(model, tokenizer, tmp_path / "empty", recipe, evidence)
    assert (tmp_path / "empty" / "config.json").is_file()


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("part", ["weights", "tokenizer", "check"])
def test_a_failure_on_the_way_leaves_nothing(
    part: str, error: BaseException, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, recipe, evidence = compressed(tokenizer)
    honest = model.save_pretrained

    def fail(*args: Any, **keys: Any) -> None:
        if part == "weights":
            honest(*args, **keys)
        raise error

    where = {"weights": (model, "save_pretrained"), "tokenizer": (type(tokenizer), "save_pretrained")}
    target, name = where.get(part, (checkpoints, "check_saved"))
    monkeypatch.setattr(target, name, fail)
    with pytest.raises(type(error)):
        save_checkpoint(model, tokenizer, tmp_path / "saved", recipe, evidence)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_what_is_on_disk_is_compared(
    family: str, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, recipe, evidence = compressed(tokenizer, family)
    honest = model.save_pretrained

    def other_values(folder: Path, **keys: Any) -> None:
        honest(folder, **keys)
        model.model.layers[1].self_attn.o_proj.weight.data[0, 0] += 1

    monkeypatch.setattr(model, "save_pretrained", other_values)
    with pytest.raises(
        UserError, match=r"saved tensor model.layers.1.self_attn.o_proj.weight differs from the one in memory"
    ):
        save_checkpoint(model, tokenizer, tmp_path / "saved", recipe, evidence)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("family", ["llama", "gemma2", "mixtral"])
def test_a_tensor_that_was_not_saved(
    family: str, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file, save_file

    model, recipe, evidence = compressed(tokenizer, family)
    honest = model.save_pretrained

    def lossy(folder: Path, **keys: Any) -> None:
        honest(folder, **keys)
        tensors = load_file(folder / "model.safetensors")
        del tensors["model.layers.1.self_attn.o_proj.weight"]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(model, "save_pretrained", lossy)
    with pytest.raises(UserError, match="4096 weights of the model are missing on disk; nothing was kept"):
        save_checkpoint(model, tokenizer, tmp_path / "saved", recipe, evidence)
    assert not list(tmp_path.iterdir())


def test_model_under_an_adapter_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny_model("llama"), LoraConfig(r=4, target_modules=["q_proj"]))
    recipe = resolve(method="magnitude", sparsity=0.5)
    evidence = compress_(model, tokenizer, recipe)
    with pytest.raises(UserError, match="under a PEFT adapter; merge the adapter first"):
        save_checkpoint(model, tokenizer, tmp_path / "saved", recipe, evidence)
    assert not list(tmp_path.iterdir())
    merged = model.merge_and_unload()
    save_checkpoint(merged, tokenizer, tmp_path / "merged", recipe, evidence)
    assert torch.equal(logits(load(tmp_path / "merged")), logits(merged))


def mark_as_gguf(model: Any) -> Any:
    """What transformers leaves on a model that it dequantized from a GGUF file."""
    from transformers import GgufConfig
    from transformers.quantizers.quantizer_gguf import GgufHfQuantizer

    config = GgufConfig(dequantize=False)
    model.hf_quantizer = GgufHfQuantizer(config)
    model.config.quantization_config = config
    model.is_quantized = True
    return model


def test_dequantized_model_that_is_marked_as_quantized(tokenizer: Any, tmp_path: Path) -> None:
    model = mark_as_gguf(tiny_model("llama"))
    recipe = resolve(method="magnitude", sparsity=0.5)
    evidence = compress_(model, tokenizer, recipe)
    folder = save_checkpoint(model, tokenizer, tmp_path / "saved", recipe, evidence)
    assert "quantization_config" not in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert torch.equal(logits(load(folder)), logits(model))


def test_model_that_is_quantized_indeed(tokenizer: Any, tmp_path: Path) -> None:
    # Without its marks, packed integers would be read back as weights.
    model = tiny_model("llama")
    recipe = resolve()
    evidence = compress_(model, tokenizer, recipe)
    packed = nn.Parameter(torch.zeros(64, 32, dtype=torch.uint8), requires_grad=False)
    mark_as_gguf(model).model.layers[0].mlp.down_proj.weight = packed
    with pytest.raises(
        UserError, match=r"can't write model.layers.0.mlp.down_proj.weight \(torch.uint8\): the model is quantized"
    ):
        save_checkpoint(model, tokenizer, tmp_path / "saved", recipe, evidence)
    assert not list(tmp_path.iterdir())
    assert model.config.quantization_config is not None


def test_a_checkpoint_compresses_again(tokenizer: Any, tmp_path: Path) -> None:
    model = load(write_tiny("llama", tmp_path / "model"))
    recipe = resolve(method="magnitude", sparsity=0.3)
    folder = save_checkpoint(model, tokenizer, tmp_path / "30", recipe, compress_(model, tokenizer, recipe))
    more = compress_(load(folder), tokenizer, resolve(method="magnitude", sparsity=0.5))
    at_once = compress_(load(tmp_path / "model"), tokenizer, resolve(method="magnitude", sparsity=0.5))
    assert more.weights_hash_after == at_once.weights_hash_after


@pytest.mark.parametrize("sign", [False, True])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_one_bit_on_disk(
    family: str, sign: bool, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file, save_file

    model, recipe, evidence = compressed(tokenizer, family, torch.bfloat16)
    name = {"llama": "model.layers.1.mlp.down_proj.weight", "gpt2": "transformer.h.1.mlp.c_proj.bias"}[family]
    honest = model.save_pretrained
    if sign:
        model.get_parameter(name).data.reshape(-1)[-1] = 0.0

    def flip(folder: Path, **keys: Any) -> None:
        honest(folder, **keys)
        tensors = load_file(folder / "model.safetensors")
        # The last bit of a number, or the sign of a zero, which == does not tell from the other zero.
        if sign:
            tensors[name].reshape(-1)[-1] = -0.0
        else:
            tensors[name].view(torch.int16).reshape(-1)[-1] ^= 1
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    monkeypatch.setattr(model, "save_pretrained", flip)
    with pytest.raises(UserError, match=f"saved tensor {name} differs from the one in memory"):
        save_checkpoint(model, tokenizer, tmp_path / "saved", recipe, evidence)
    assert not list(tmp_path.iterdir())


def test_a_generation_config_that_transformers_refuses_to_save(
    tokenizer: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, recipe, evidence = compressed(tokenizer)
    model.generation_config.do_sample, model.generation_config.temperature = False, 0.9
    mine = model.generation_config
    with pytest.raises(ValueError, match="temperature"):
        mine.save_pretrained(tmp_path)
    refuse_unsaveable(model, tokenizer, tmp_path / "saved")
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("lm_eval_ext")]
    assert "generation config is not valid and will be saved as it is" in line
    assert "temperature" in line
    assert "\n" not in line
    folder = save_checkpoint(model, tokenizer, tmp_path / "saved", recipe, evidence)
    assert model.generation_config is mine
    saved = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    assert (saved["do_sample"], saved["temperature"]) == (False, 0.9)
    assert load(folder).generation_config.temperature == 0.9


def test_a_valid_generation_config_is_saved_as_ever(tokenizer: Any, tmp_path: Path) -> None:
    model, recipe, evidence = compressed(tokenizer)
    model.generation_config.do_sample, model.generation_config.temperature = True, 0.7
    folder = save_checkpoint(model, tokenizer, tmp_path / "saved", recipe, evidence)
    model.generation_config.save_pretrained(tmp_path / "by hand")
    texts = [(path / "generation_config.json").read_text(encoding="utf-8") for path in (folder, tmp_path / "by hand")]
    assert texts[0] == texts[1]


def test_preconditions_leave_nothing(tokenizer: Any, tmp_path: Path) -> None:
    refuse_unsaveable(tiny_model("llama"), tokenizer, tmp_path / "new" / "folder")
    assert not list(tmp_path.iterdir())


def peft_by_transformers(folder: Path) -> Any:
    """A model whose adapter transformers loaded by itself: no wrapper around it, and only the adapter is saved."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    write_tiny("llama", folder / "base")
    base = AutoModelForCausalLM.from_pretrained(folder / "base")
    get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"])).save_pretrained(folder / "adapter")
    return AutoModelForCausalLM.from_pretrained(folder / "adapter")


@pytest.mark.parametrize("case", ["no folder", "tokenizer", "config", "disk", "adapter", "adapter inside", "occupied"])
def test_preconditions_of_a_save(
    case: str, tokenizer: Any, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections import namedtuple

    from peft import LoraConfig, get_peft_model

    model, folder = tiny_model("llama"), tmp_path / "saved"

    def fail(*args: Any, **keys: Any) -> None:
        raise TypeError("Object of type set is not JSON serializable")

    if case == "no folder":
        (tmp_path / "file").write_text("mine", encoding="utf-8")
        folder = tmp_path / "file" / "saved"
    elif case == "tokenizer":
        monkeypatch.setattr(type(tokenizer), "save_pretrained", fail)
    elif case == "config":
        monkeypatch.setattr(type(model.config), "save_pretrained", fail)
    elif case == "disk":
        # One byte less than the weights take in float32.
        size = 4 * sum(parameter.numel() for parameter in model.parameters())
        usage = namedtuple("usage", ["total", "used", "free"])
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage(size, 0, size))
        refuse_unsaveable(model, tokenizer, folder)
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage(size, 0, size - 1))
    elif case == "adapter":
        model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj"]))
    elif case == "adapter inside":
        model = peft_by_transformers(tmp_path_factory.mktemp("peft"))
    else:
        folder.mkdir()
        (folder / "file").touch()
    message = {
        "no folder": "can't write a file there: .*Not a directory",
        "tokenizer": "can't write the tokenizer: Object of type set",
        "config": "can't write the model's config: Object of type set",
        "disk": r"the weights take 0.0 GB, the disk has 0.0 GB free",
        "adapter": "under a PEFT adapter; merge the adapter first",
        "adapter inside": "under a PEFT adapter; merge the adapter first",
        "occupied": "exists already",
    }[case]
    with pytest.raises(UserError, match=message) as error:
        refuse_unsaveable(model, tokenizer, folder)
    assert "\n" not in str(error.value)
    left = {"no folder": ["file"], "occupied": ["saved"]}.get(case, [])
    assert [path.name for path in tmp_path.iterdir()] == left
