"""llm-compressor on tiny models, from files to what was loaded: zeros and codes counted, ends untouched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.backends import making
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from tests.helpers.compress import write_text
from tests.helpers.script_server import ScriptServer
from tests.helpers.tiny import write_tiny

pytest.importorskip("llmcompressor", reason="llm-compressor is an extra")

O_PROJ = "model.layers.1.self_attn.o_proj.weight"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llmc")
    write_tiny("llama", folder / "llama")
    write_tiny("qwen2", folder / "tied", tie_word_embeddings=True)
    write_tiny("gpt2", folder / "gpt2")
    write_text(folder / "text.txt")
    return folder


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[ScriptServer]:
    running = ScriptServer(place)
    yield running
    running.close()


@pytest.fixture
def run(place: Path, server: ScriptServer, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(making, "run_isolated", server.run)

    def load(family: str = "llama", *, text: bool = True, **arguments: Any) -> CompressedHFLM:
        data = {"calibration": str(place / "text.txt"), "samples": 4, "seqlen": 64} if text else {}
        return CompressedHFLM(pretrained=str(place / family), device="cpu", **data, **arguments)

    return load


def evidence(model: CompressedHFLM) -> dict[str, Any]:
    found: dict[str, Any] = model.get_model_info()["compression"]
    return found


def source(place: Path, family: str = "llama") -> dict[str, torch.Tensor]:
    return load_file(place / family / "model.safetensors")


def test_half_of_each_matrix_and_nothing_else(run: Any, place: Path) -> None:
    found = evidence(run(method="sparsegpt", pattern="2:4"))
    assert (found["status"], found["sparsity"], found["backend"]) == ("proved", 0.5, "llmcompressor")
    assert found["calibration"]["samples"] == 4
    before, after = source(place), load_file(Path(found["loaded"]) / "model.safetensors")
    for name, weight in after.items():
        if ".layers." in name and weight.ndim == 2:
            assert int((weight == 0).sum()) == weight.numel() // 2, name
            assert int((weight.reshape(-1, 4) != 0).sum(dim=1).max()) == 2, name
        else:
            assert torch.equal(weight, before[name]), name


def test_the_same_again_is_found_kept(run: Any, server: ScriptServer) -> None:
    first = evidence(run(method="llmc_wanda", sparsity=0.25))
    count = server.count
    again = evidence(run(method="llmc_wanda", sparsity=0.25))
    assert server.count == count
    assert (first["claim"]["facts"]["reused"], again["claim"]["facts"]["reused"]) == (False, True)
    assert again["weights_hash_after"] == first["weights_hash_after"]
    evidence(run(method="llmc_wanda", sparsity=0.25, seed=1))
    assert server.count == count + 1


def test_an_ignored_output_layer_is_ignored_and_the_tied_embedding_with_it(run: Any, place: Path) -> None:
    # By itself llm-compressor 0.14.0.1 zeros half of both here: it looks for a module named "lm_head.".
    modifiers = ({"WandaPruningModifier": {"sparsity": 0.5, "ignore": ["lm_head"]}},)
    found = evidence(run("tied", method="llmcompressor", modifiers=modifiers))
    assert (found["status"], found["sparsity"]) == ("proved", 0.5)
    before, after = source(place, "tied"), load_file(Path(found["loaded"]) / "model.safetensors")
    name = "model.embed_tokens.weight"
    assert torch.equal(after[name], before[name])
    assert "lm_head.weight" not in after


def test_what_a_recipe_leaves_out_is_listed(run: Any, place: Path) -> None:
    recipe = place / "theirs.yaml"
    recipe.write_text(
        "prune_stage:\n  pruning_modifiers:\n    SparseGPTModifier:\n      sparsity: 0.5\n"
        "      ignore: ['re:.*o_proj', lm_head]\n",
        encoding="utf-8",
    )
    found = evidence(run(method="llmcompressor", options={"recipe": str(recipe)}))
    left = {skip["name"] for skip in found["skipped"]}
    assert left == {O_PROJ, O_PROJ.replace("1", "0")}
    assert found["recipe"]["steps"][0]["modifiers"][0]["SparseGPTModifier"]["sparsity"] == 0.5
    after = load_file(Path(found["loaded"]) / "model.safetensors")
    assert torch.equal(after[O_PROJ], source(place)[O_PROJ])


def test_shares_of_owl_differ_by_block_and_come_to_what_was_asked(run: Any) -> None:
    options = {"sparsity_profile": "owl", "owl_m": 3, "owl_lmbda": 0.1}
    found = evidence(run(method="llmc_wanda", sparsity=0.5, options=options))
    blocks = [
        [r["achieved_sparsity"] for r in found["matrices"] if f".layers.{index}." in r["name"]] for index in (0, 1)
    ]
    low, high = sorted(sum(block) / len(block) for block in blocks)
    # Two blocks: the one with more outliers keeps lambda more, the other lambda less; a row has 64 or 128 weights.
    assert low == pytest.approx(0.4, abs=1 / 64)
    assert high == pytest.approx(0.6, abs=1 / 64)
    assert found["totals"]["achieved_sparsity"] == pytest.approx(0.5, abs=1 / 64)


@pytest.mark.parametrize(
    "arguments",
    [
        {"method": "llmc_gptq", "bits": 4, "group_size": 32},
        {"method": "llmc_awq", "bits": 4, "group_size": 32},
        {"method": "smoothquant+llmc_rtn", "strength": 0.8, "bits": 3, "group_size": 32},
    ],
)
def test_codes_are_read_from_what_was_loaded(arguments: dict[str, Any], run: Any, place: Path) -> None:
    model = run(**arguments)
    found = evidence(model)
    assert (found["status"], found["bits"], found["doubts"]) == ("proved", float(arguments["bits"]), [])
    assert {(r["bits"], r["group_size"], r["format"]) for r in found["matrices"]} == {
        (arguments["bits"], 32, "compressed_tensors")
    }
    assert len(found["matrices"]) == 14
    saved, before = load_file(Path(found["loaded"]) / "model.safetensors"), source(place)
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        assert torch.equal(saved[name], before[name])


def test_inputs_are_rounded_too(run: Any) -> None:
    arguments = {"bits": 8, "granularity": "channel", "activation_bits": 8}
    found = evidence(run(text=False, method="llmc_rtn", **arguments))
    assert (found["status"], found["bits"], found["calibration"]) == ("proved", 8.0, None)
    assert all(record["group_size"] in (None, record["shape"][1]) for record in found["matrices"])


def test_a_rotation_leaves_the_logits_as_they_were(run: Any) -> None:
    # llm-compressor 0.14.0.1 by itself takes the mean out of the embeddings, which moves them by 0.44 of their range.
    found = evidence(run(text=False, method="spinquant+llmc_rtn", bits=8, group_size=32))
    assert (found["status"], found["bits"]) == ("proved", 8.0)
    moved = found["claim"]["facts"]["steps"][0]["logits_changed"]
    assert moved < 1e-4
    assert all(record["levels"] > 16 for record in found["matrices"])


@pytest.mark.parametrize(
    ("family", "arguments", "line"),
    [
        (
            "gpt2",
            {"method": "sparsegpt", "sparsity": 0.5},
            r"transformer\.h\.0\.attn\.c_attn is a Conv1D, which",
        ),
        (
            "llama",
            {"method": "llmc_gptq", "bits": 4},
            r"group_size 128 does not divide the columns \(64\) of 12 of 14",
        ),
        (
            "llama",
            {"method": "sparsegpt", "pattern": "1:3"},
            r"a pattern's 3 does not divide the columns \(64, 128\)",
        ),
        ("llama", {"method": "sparsegpt", "sparsity": 0.5, "exclude": "*.wq"}, r"exclude='\*\.wq' removes no matrix"),
        (
            "llama",
            {"method": "sparsegpt", "sparsity": 0.5, "options": {"blocksize": 3}},
            r"llm-compressor takes no SparseGPTModifier so: .*blocksize",
        ),
        (
            "llama",
            {"method": "llmcompressor", "modifiers": [{"SparseGPTModifier": {"sparsity": 0.5, "targets": ["Conv2d"]}}]},
            r"SparseGPTModifier targets no matrix of this model",
        ),
    ],
)
def test_what_would_do_nothing_or_else_is_refused(family: str, arguments: dict[str, Any], line: str, run: Any) -> None:
    with pytest.raises(UserError, match=line) as caught:
        run(family, **arguments)
    assert "\n" not in str(caught.value)


def test_ours_then_theirs(run: Any) -> None:
    asked = {"method": "wanda+llmc_gptq", "sparsity": 0.5, "bits": 4, "group_size": 32}
    # GPTQ corrects pruned weights too.
    with pytest.raises(
        UserError, match=r"4\d\.\d+% of the weights are zeros still, asked 50\.0000%; allow_regrowth=True"
    ):
        run(**asked)
    found = evidence(run(**asked, allow_regrowth=True))
    assert (found["status"], found["bits"], found["backend"]) == ("proved", 4.0, "native+llmcompressor")
    assert [(s["label"], s["sparsity"]) for s in found["stages"]] == [("wanda-50", 0.5)]
    assert found["sparsity"] == pytest.approx(found["totals"]["achieved_sparsity"])
    assert 0.3 < found["sparsity"] < 0.495
