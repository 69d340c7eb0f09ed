"""A whole model that reads a quantized cache: its evidence, its texts, transformers' own cache, and who is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.kv.attach import attach_kv
from lm_eval_ext.models.kv.attention import register
from lm_eval_ext.models.native.driver import compress_
from lm_eval_ext.models.parts.loaded import Loaded
from lm_eval_ext.models.recipe.kv import KvCache
from lm_eval_ext.models.recipe.resolve import resolve
from tests.helpers.tiny import FAMILIES, tiny_model, tiny_tokenizer

PROMPTS = ["Who kept the key, and who lost it?", "Context: two neighbours repaired a fence.", "Who kept the ferry?"]


def model_of(folder: Path, **arguments: Any) -> CompressedHFLM:
    return CompressedHFLM(pretrained=str(folder), dtype="float32", batch_size=2, **arguments)


def generated(lm: CompressedHFLM, **more: Any) -> list[str]:
    arguments = {"until": ["</s>"], "max_gen_toks": 12, **more}
    asked = [Instance("generate_until", {}, (prompt, arguments), 0) for prompt in PROMPTS]
    return lm.generate_until(asked, disable_tqdm=True)


def test_letters_texts_and_evidence(llama: Path) -> None:
    lm = model_of(llama, kv="int8", kv_residual=4)
    evidence = lm._evidence
    assert (evidence.label, evidence.method, evidence.bits) == ("kv-int8(residual=4)", "kv", 8)
    assert (evidence.status, evidence.sparsity) == ("proved", None)
    assert evidence.kv is not None
    assert {key: evidence.kv[key] for key in ("layers", "group_size", "bits_per_value")} == {
        "layers": 2,
        "group_size": 16,
        "bits_per_value": 8 + 2 * 32 / 16,
    }
    assert evidence.recipe["kv"] == {"format": "int8", "group_size": None, "residual": 4}
    assert evidence.weights_hash_before == evidence.weights_hash_after
    # By prefix trees: every prompt and its letters, each scored as by a pass over it alone.
    asked = [Instance("loglikelihood", {}, (p, f" {c}"), i) for i, p in enumerate(PROMPTS) for c in "ABC"]
    found = [value for value, _ in lm.loglikelihood(asked, disable_tqdm=True)]
    assert lm._trees.trust.settled
    alone = []
    for instance in asked:
        context, target = (lm.tok_encode(text) for text in instance.args)
        logits = lm._model_call(torch.tensor([context + target[:-1]]))[0].log_softmax(-1)
        alone.append(sum(float(logits[len(context) - 1 + i, token]) for i, token in enumerate(target)))
    assert found == pytest.approx(alone, abs=2e-2)
    # The sampler at temperature 0, HFLM's generation, and one pass a token without any cache.
    expected = []
    for prompt in PROMPTS:
        tokens = lm.tok_encode(prompt)
        drawn: list[int] = []
        while len(drawn) < 12 and (not drawn or drawn[-1] != lm.eot_token_id):
            drawn.append(int(lm._model_call(torch.tensor([tokens + drawn]))[0, -1].argmax()))
        expected.append(lm.tok_decode([token for token in drawn if token != lm.eot_token_id]))
    assert generated(lm, seeds=[0], temperature=0.0) == expected
    lm.batch_size_per_gpu = 1  # padding moves sums by an ulp, and rounding makes more of it
    assert generated(lm, do_sample=False) == expected


def test_with_weights_too_and_saved_without_the_cache(llama: Path, tmp_path: Path) -> None:
    lm = model_of(llama, recipe="rtn-4", kv="int4", save_compressed=str(tmp_path / "saved"))
    assert (lm._evidence.label, lm._evidence.method) == ("rtn-4+kv-int4", "rtn+kv_int4")
    assert lm._evidence.bits == 4
    assert lm._evidence.matrices
    saved = (tmp_path / "saved" / "compression_recipe.yaml").read_text(encoding="utf-8")
    assert "name: rtn-4\n" in saved
    assert "kv: null" in saved
    assert "kv-int4" not in (tmp_path / "saved" / "compression_evidence.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("bits", [2, 4])
def test_a_step_behind_a_prompt_is_that_of_transformers_quantized_cache(bits: int) -> None:
    pytest.importorskip("optimum.quanto")
    from transformers import DynamicCache, QuantizedCache

    model = tiny_model("llama", head_dim=64).eval()
    prompt, token = torch.arange(10, 40)[None], torch.tensor([[55]])
    theirs = QuantizedCache("quanto", model.config, nbits=bits, q_group_size=64, residual_length=8)
    ours = DynamicCache(config=model.config)
    with torch.no_grad():
        # Their prompt is read in full precision, and what follows it finds it quantized.
        model(prompt, past_key_values=theirs)
        model(prompt, past_key_values=ours)
        expected = model(token, past_key_values=theirs).logits
        kv = KvCache(format=f"int{bits}", group_size=64, residual=1)  # type: ignore[arg-type]
        model.set_attn_implementation(register(kv, "sdpa").name)
        found = model(token, past_key_values=ours).logits
        model.set_attn_implementation("sdpa")
        exact = model(torch.cat([prompt, token], 1)).logits[:, -1:]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert float((found - exact).abs().max()) > 100 * float((found - expected).abs().max())


@pytest.mark.parametrize("family", [*FAMILIES, "qwen3", "qwen3_moe", "gemma3_text", "gpt_neox"])
@pytest.mark.parametrize("residual", [0, 3])
def test_families(family: str, residual: int) -> None:
    model, tokenizer = tiny_model(family).eval(), tiny_tokenizer()
    recipe = resolve(kv="int4", kv_residual=residual)
    evidence = compress_(model, tokenizer, recipe.weights)
    proved = attach_kv(Loaded(model=model, tokenizer=tokenizer), recipe, evidence)
    assert proved.kv is not None
    assert proved.kv["layers"] == model.config.num_hidden_layers
    assert proved.kv["canary"]["max_abs_change"] > 0


def test_who_is_refused() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    recipe, tokenizer = resolve(kv="int8"), tiny_tokenizer()
    for config, message in (
        (
            AutoConfig.for_model("mamba", vocab_size=300, hidden_size=32, num_hidden_layers=2, state_size=4),
            "mamba|Mamba",
        ),
        (AutoConfig.for_model("bloom", vocab_size=300, hidden_size=32, n_layer=2, n_head=2), "Bloom"),
    ):
        model = AutoModelForCausalLM.from_config(config).eval()
        evidence = compress_(model, tokenizer, recipe.weights)
        with pytest.raises(UserError, match=message):
            attach_kv(Loaded(model=model, tokenizer=tokenizer), recipe, evidence)
    model = tiny_model("llama").eval()
    wide = resolve(kv="int8", kv_group_size=24)
    with pytest.raises(UserError, match="groups of 24 don't divide a head of 16 channels; give kv_group_size=16"):
        attach_kv(Loaded(model=model, tokenizer=tokenizer), wide, compress_(model, tokenizer, wide.weights))
