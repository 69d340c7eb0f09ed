"""One run, one model: what changes a forward pass acts on scores, draws, calibration and the canary prompt alike.

The right values come from passes written out here: virtual tokens set before the prompt's embeddings, a prefix as a
cache, adapters multiplied into the weights, an autocast around the bare model.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from torch import Tensor
from transformers import DynamicCache

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.compressed_hf import CompressedHFLM
from lm_eval_ext.models.evidence.canary import CANARY, canary_logits
from lm_eval_ext.models.native.methods.wanda import Wanda
from lm_eval_ext.models.native.workbench import Workbench
from lm_eval_ext.models.parts.calling import Calling
from lm_eval_ext.models.targets.find import find_targets
from tests.helpers.tiny import tiny_model, tiny_tokenizer
from tests.lm_eval_ext.models.scoring.test_sampling import KWARGS, SEEDS, slow, texts

PROMPTS = [
    "Who kept the key, and who lost it? Answer:",
    "Who kept the key? Answer:",
    "The bakery closes before noon, and the ferry leaves at noon",
]
VIRTUAL = 4
By_hand = Callable[[Tensor], Tensor]


def adapted(kind: str) -> tuple[Any, By_hand]:
    """A PEFT model, and a function from token ids [1, length] to logits that uses nothing of PEFT's forward pass."""
    import peft

    base = tiny_model("llama")
    bare = copy.deepcopy(base)
    task = {"task_type": "CAUSAL_LM"}
    configs: dict[str, Callable[[], Any]] = {
        "prompt tuning": lambda: peft.PromptTuningConfig(**task, num_virtual_tokens=VIRTUAL),
        "p-tuning": lambda: peft.PromptEncoderConfig(**task, num_virtual_tokens=VIRTUAL, encoder_hidden_size=32),
        "prefix tuning": lambda: peft.PrefixTuningConfig(**task, num_virtual_tokens=VIRTUAL),
        "LoRA": lambda: peft.LoraConfig(**task, r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False),
        "IA3": lambda: peft.IA3Config(**task, target_modules=["v_proj"], feedforward_modules=[]),
    }
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model: Any = peft.get_peft_model(base, configs[kind]())
        encoder = getattr(model, "prompt_encoder", None)
        for name, parameter in model.named_parameters():
            if encoder is not None and name.startswith("prompt_encoder"):
                parameter.data.normal_(std=0.5)
            if "ia3" in name:
                parameter.data.uniform_(0.2, 3.0)
    model.eval()
    hands: dict[str, Callable[[], By_hand]] = {
        "prompt tuning": lambda: _virtual(bare, encoder["default"].embedding.weight),
        "p-tuning": lambda: _virtual(bare, encoder["default"].mlp_head(encoder["default"].embedding.weight)),
        "prefix tuning": lambda: _prefix(bare, encoder["default"].embedding.weight),
        "LoRA": lambda: _multiplied(
            bare, base, lambda m, w: w + 8 / 4 * m.lora_B.default.weight @ m.lora_A.default.weight
        ),
        "IA3": lambda: _multiplied(bare, base, lambda m, w: w * m.ia3_l.default.reshape(-1, 1)),
    }
    return model, hands[kind]()


def _virtual(bare: Any, virtual: Tensor) -> By_hand:
    def logits(ids: Tensor) -> Tensor:
        embeddings = torch.cat([virtual.detach(), bare.get_input_embeddings()(ids[0])])[None]
        found: Tensor = bare(inputs_embeds=embeddings, use_cache=False).logits[:, VIRTUAL:]
        return found

    return logits


def _prefix(bare: Any, weight: Tensor) -> By_hand:
    # [virtual tokens, layers x (key, value) x heads x channels]: tiny Llama has 2 layers, 2 key heads of 16 channels.
    parts = weight.detach().view(VIRTUAL, 2, 2, 2, 16).permute(1, 2, 3, 0, 4)[:, :, None]

    def logits(ids: Tensor) -> Tensor:
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(parts):
            cache.update(keys, values, layer)
        found: Tensor = bare(ids, past_key_values=cache).logits
        return found

    return logits


def _multiplied(bare: Any, base: Any, product: Callable[[Any, Tensor], Tensor]) -> By_hand:
    for name, module in base.named_modules():
        if hasattr(module, "base_layer") and hasattr(module, "weight"):
            bare.get_submodule(name).weight.data = product(module, module.base_layer.weight).detach()
    return lambda ids: bare(ids, use_cache=False).logits


@torch.no_grad()
def last(by_hand: By_hand, tokens: list[int]) -> Tensor:
    return by_hand(torch.tensor([tokens]))[0, -1].float().log_softmax(-1)


def _rolled(lm: Any) -> list[float]:
    asks = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in PROMPTS]
    found: list[float] = lm.loglikelihood_rolling(asks, disable_tqdm=True)
    return found


def everything_is_by_hand(lm: Any, by_hand: By_hand, tolerance: float = 2e-4, *, rolling: bool = True) -> None:
    pairs = [(prompt, letter) for prompt in PROMPTS for letter in ("A", "B")]
    expected = [float(last(by_hand, lm.tok_encode(prompt))[lm.tok_encode(letter)[0]]) for prompt, letter in pairs]
    scores = lm.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in pairs], disable_tqdm=True)
    assert [value for value, _ in scores] == pytest.approx(expected, abs=tolerance)
    if rolling:
        for text, value in zip(PROMPTS, _rolled(lm), strict=True):
            whole = [lm.prefix_token_id, *lm.tok_encode(text)]
            with torch.no_grad():
                logits = by_hand(torch.tensor([whole[:-1]]))[0].float().log_softmax(-1)
            assert value == pytest.approx(float(logits[range(len(whole) - 1), whole[1:]].sum()), abs=10 * tolerance)
    words = KWARGS | {"first_token": ["A", "B"]}
    asked = [Instance("generate_until", {}, (prompt, dict(words)), 0) for prompt in PROMPTS]
    first = [json.loads(text)["plain"] for text in lm.generate_until(asked, disable_tqdm=True)]
    spelt = {word: [n for n in range(300) if lm.tok_decode([n]).strip() == word] for word in ("A", "B")}
    for prompt, plain in zip(PROMPTS, first, strict=True):
        values = last(by_hand, lm.tok_encode(prompt))
        assert plain == pytest.approx([float(values[spelt[word]].logsumexp(0)) for word in "AB"], abs=tolerance)
    if tolerance < 1e-3:
        assert texts(lm, PROMPTS, KWARGS) == {
            prompt: slow(lm, prompt, KWARGS | {"seeds": SEEDS}, by_hand) for prompt in PROMPTS
        }


@pytest.mark.parametrize("kind", ["prompt tuning", "p-tuning", "prefix tuning", "LoRA", "IA3"])
def test_an_adapter_acts_on_all(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    model, by_hand = adapted(kind)
    bare = tiny_model("llama")
    lm = CompressedHFLM(pretrained=model, tokenizer=tiny_tokenizer(), max_length=512)
    ids = lm.tok_encode(PROMPTS[0])
    off = last(by_hand, ids) - last(lambda ids: bare(ids).logits, ids)
    assert float(off.abs().max()) > 0.1  # the adapter is heard
    with caplog.at_level(logging.WARNING, logger="lm_eval_ext"):
        everything_is_by_hand(lm, by_hand)
    assert ("has virtual tokens before every prompt" in caplog.text) == (kind not in ("LoRA", "IA3"))
    canary = canary_logits(model, lm.tokenizer).log_softmax(-1)
    torch.testing.assert_close(canary, last(by_hand, lm.tokenizer(CANARY)["input_ids"]), atol=2e-4, rtol=0)


def test_an_adapter_that_needs_the_number_of_a_task() -> None:
    import peft

    config = peft.MultitaskPromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4, num_tasks=2, num_ranks=1)
    model = peft.get_peft_model(tiny_model("llama"), config)
    with pytest.raises(UserError, match=r"\(MULTITASK_PROMPT_TUNING\) needs the number of a task with every prompt"):
        CompressedHFLM(pretrained=model, tokenizer=tiny_tokenizer(), max_length=512)


def test_an_adapter_that_begins_behind_certain_tokens() -> None:
    """Activated LoRA: by hand, the bare model up to its tokens, and the merged one behind them."""
    import peft

    tokenizer = tiny_tokenizer()
    start = tokenizer(" Answer:")["input_ids"]
    base = tiny_model("llama")
    plain = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        config = peft.LoraConfig(
            task_type="CAUSAL_LM",
            r=4,
            target_modules=["q_proj"],
            init_lora_weights=False,
            alora_invocation_tokens=start,
        )
        model: Any = peft.get_peft_model(base, config)
    bare, turned = tiny_model("llama"), tiny_model("llama")
    for block, merged in zip(base.model.layers, turned.model.layers, strict=True):
        q = block.self_attn.q_proj
        merged.self_attn.q_proj.weight.data += (2 * q.lora_B.default.weight @ q.lora_A.default.weight).detach()

    def by_hand(ids: Tensor) -> Tensor:
        tokens = ids[0].tolist()
        found = [i for i in range(len(tokens)) if tokens[i : i + len(start)] == start]
        if not found:
            logits: Tensor = bare(ids).logits
            return logits
        # Queries alone are adapted, so what stands before is as the bare model has it.
        cache = bare(ids[:, : found[-1]], use_cache=True).past_key_values
        behind: Tensor = turned(ids[:, found[-1] :], past_key_values=cache).logits
        return behind

    assert [any(ids[i : i + len(start)] == start for i in range(len(ids))) for ids in plain] == [True, True, False]
    lm = CompressedHFLM(pretrained=model.eval(), tokenizer=tokenizer, max_length=512)
    everything_is_by_hand(lm, by_hand, rolling=False)


@pytest.mark.parametrize("sequential", [True, False])
@pytest.mark.parametrize("kind", ["prompt tuning", "prefix tuning"])
def test_virtual_tokens_act_on_calibration(kind: str, sequential: bool) -> None:
    model, by_hand = adapted(kind)
    bare = next(cell.cell_contents for cell in by_hand.__closure__ or () if hasattr(cell.cell_contents, "lm_head"))
    samples = [torch.tensor([list(range(5, 25))]), torch.tensor([list(range(40, 52))])]
    seen: list[Tensor] = []
    handle = bare.model.layers[1].mlp.down_proj.register_forward_pre_hook(lambda m, args: seen.append(args[0][0]))
    with torch.no_grad():
        for ids in samples:
            by_hand(ids)
    handle.remove()
    step = Wanda(sparsity=0.5, sequential=sequential)
    targets, skips = find_targets(model, step)
    bench = Workbench(Calling(model), step, targets, skips, samples)
    if sequential:
        norms = next(found for group, found in bench.sequential_norms() if group[0].block == 1)
    else:
        norms = bench.dense_norms()
    (target,) = [target for target in targets if target.module_name.endswith("layers.1.mlp.down_proj")]
    # The mean over samples of the squared norms of a channel.
    expected = torch.stack([values.square().sum(0) for values in seen]).mean(0).sqrt()
    found = norms.norm(target)
    assert found is not None
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert norms.tokens(target) == 32 + (2 * VIRTUAL if kind == "prompt tuning" else 0)


def test_an_autocast_acts_on_all() -> None:
    bare, model = tiny_model("llama"), tiny_model("llama")
    seen: dict[str, set[torch.dtype]] = {}
    doing = "loading"
    model.model.layers[1].mlp.down_proj.register_forward_hook(
        # Seven tokens show which matrices route; no number of the run comes from them.
        lambda module, args, output: seen.setdefault(doing, set()).add(output.dtype) if output.shape[1] != 7 else None
    )
    lm = CompressedHFLM(
        pretrained=model,
        tokenizer=tiny_tokenizer(),
        max_length=512,
        mixed_precision_dtype="bfloat16",
        recipe="wanda-50",
        samples=2,
        seqlen=32,
        calibration="demo",
    )
    bare.load_state_dict(model.state_dict())

    def by_hand(ids: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found: Tensor = bare(ids, use_cache=False).logits
        return found

    values = [last(by_hand, lm.tok_encode(prompt)) for prompt in PROMPTS]
    plain = [last(lambda ids: bare(ids).logits, lm.tok_encode(prompt)) for prompt in PROMPTS]
    apart = max(float((one - other).abs().max()) for one, other in zip(values, plain, strict=True))
    doing = "scoring and sampling"
    everything_is_by_hand(lm, by_hand, tolerance=apart / 3)
    doing = "drawing on"
    texts(lm, PROMPTS, KWARGS)
    assert lm._trees.trust.settled
    assert lm._seeded.trust.settled
    # Compressing runs the canary prompt and calibration text: no pass of the run is in float32.
    assert seen == {name: {torch.bfloat16} for name in ("loading", "scoring and sampling", "drawing on")}
    assert lm.get_model_info()["compression"]["dtype"] == "float32 under autocast to bfloat16"
    canary = canary_logits(Calling(model, torch.bfloat16), lm.tokenizer)
    with torch.no_grad():
        own = by_hand(torch.tensor([lm.tokenizer(CANARY)["input_ids"]]))[0, -1]
    torch.testing.assert_close(canary, own.float(), atol=1e-6, rtol=0)


def test_a_hook_acts_on_all() -> None:
    # Steering: a vector added to what the first block gives, and logits that are changed behind the model.
    model = tiny_model("llama")
    bare = copy.deepcopy(model)
    vector = torch.linspace(-1, 1, 64)
    model.model.layers[0].register_forward_hook(lambda module, args, output: output + vector)

    def halve(module: Any, args: Any, output: Any) -> Any:
        output.logits = output.logits / 2
        return output

    model.register_forward_hook(halve)

    def by_hand(ids: Tensor) -> Tensor:
        inner = bare.model
        hidden = inner.embed_tokens(ids)
        places = torch.arange(ids.shape[1])[None]
        turns = inner.rotary_emb(hidden, places)
        mask = torch.full((ids.shape[1], ids.shape[1]), -1e30).triu(1)[None, None]
        for number, block in enumerate(inner.layers):
            hidden = block(hidden, attention_mask=mask, position_embeddings=turns, position_ids=places)
            hidden = hidden + vector if number == 0 else hidden
        found: Tensor = bare.lm_head(inner.norm(hidden)) / 2
        return found

    lm = CompressedHFLM(pretrained=model, tokenizer=tiny_tokenizer(), max_length=512)
    everything_is_by_hand(lm, by_hand)
    canary = canary_logits(model, lm.tokenizer)
    with torch.no_grad():
        own = by_hand(torch.tensor([lm.tokenizer(CANARY)["input_ids"]]))[0, -1]
    torch.testing.assert_close(canary, own, atol=2e-4, rtol=0)
