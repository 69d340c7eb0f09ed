from __future__ import annotations

import pytest

from analysis.logs.engine import hints_in
from analysis.logs.engine.hints import joined

# Names of public checkpoints, as their authors give them.
SUGGESTS = {
    "TheBloke/Mistral-7B-Instruct-v0.2-AWQ": "awq",
    "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4": "gptq int4",
    "unsloth/Llama-3.2-1B-Instruct-bnb-4bit": "bitsandbytes 4bit",
    "mlx-community/Llama-3.2-1B-Instruct-4bit": "4bit",
    "mlx-community/Qwen3-0.6B-3-bit": "3bit",
    "RedHatAI/Llama-3.2-1B-Instruct-FP8-dynamic": "fp8",
    "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16": "quantized w4a16",
    "neuralmagic/Sparse-Llama-3.1-8B-2of4": "2of4 sparse",
    "neuralmagic/Llama-2-7b-pruned50-retrained": "pruned",
    "neuralmagic/SparseLlama-2-7b-ultrachat_200k-pruned_50.2of4": "2of4 pruned",
    "turboderp/Llama-3-8B-exl2-4.0bpw": "exl2 4.0bpw",
    "bartowski/SmolLM2-135M-Instruct-Q4_K_M.gguf": "gguf q4_k_m",
    "SmolLM2-135M-Instruct.Q4_1.gguf": "gguf q4_1",
    "llama3.1:8b-instruct-q8_0": "q8_0",
    "unsloth/x-UD-IQ2_XXS": "iq2_xxs",
    "google/gemma-3-1b-it-qat-int4": "qat int4",
    "nvidia/Llama-3.1-8B-Instruct-NVFP4": "nvfp4",
    "/models/m-gptq/checkpoint-500": "gptq",
    "me/wanda_50": "wanda",
    "M-AwQ": "awq",
}
PLAIN = [
    *(
        "org/m-4b",
        "Qwen/Qwen3-8B",
        "microsoft/phi-3-mini-4k-instruct",
        "meta-llama/Llama-3.2-1B",
        "google/gemma-2-2b-it",
    ),
    *("mistralai/Mixtral-8x7B-v0.1", "org/m-bf16", "org/m-fp16", "org/m-16bit", "org/m-32-bit", "facebook/wav2vec2"),
    *("google/flan-t5-xxl-v1_1", "org/rabbit-8", "org/quantum-7b", "EleutherAI/pythia-70m-deduped", "org/squawk"),
    *(
        "/data/awq/llama-3",
        "org/sparseness-free",
        "microsoft/bitnet-b1.58-2B-4T",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
]


@pytest.mark.parametrize(("name", "said"), SUGGESTS.items())
def test_what_a_name_suggests(name: str, said: str) -> None:
    assert joined(hints_in(name)) == said
    assert sorted(hints_in(name.upper())) == sorted(hints_in(name.lower())) == sorted(hints_in(name))


@pytest.mark.parametrize("name", PLAIN)
def test_sizes_and_other_words_suggest_nothing(name: str) -> None:
    assert hints_in(name) == []


def test_one_form_is_said_once_and_as_exactly_as_it_is_known() -> None:
    assert joined(["bitsandbytes-4", "bitsandbytes", "4bit", "4bit"]) == "bitsandbytes-4 4bit"
    assert joined([]) == ""
