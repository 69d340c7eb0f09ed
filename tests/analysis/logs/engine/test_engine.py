"""Engines and standing of runs, from facts: what lm_eval's models take as arguments, in whatever order."""

from __future__ import annotations

from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.logs.engine import Engine, Standing, engine_of, standing_of


def of(model: str, arguments: dict[str, Any] | None = None, **facts: Any) -> tuple[Engine, Standing]:
    known = {"model_type": model, "arguments": arguments or {}, "pretrained_args": (arguments or {}).get("pretrained")}
    known |= {"transformers_version": "5.17.0"} | facts
    engine = engine_of(known)
    return engine, standing_of(known, engine)


def test_the_run_that_was_labelled_dense() -> None:
    arguments = {"pretrained": "org/m-AWQ", "quantization": "awq", "kv_cache_dtype": "fp8"}
    engine, standing = of("vllm", arguments)
    assert (engine.runtime, engine.version, engine.kv_cache, engine.kv_proved) == ("vllm", None, "fp8", False)
    assert (standing.status, standing.method, standing.is_dense) == ("unverified", "unverified awq kv-fp8", False)


@pytest.mark.parametrize(
    ("model", "runtime", "version"),
    [
        ("hf", "transformers", "5.17.0"),
        ("compressed_hf", "transformers", "5.17.0"),
        ("vllm", "vllm", None),
        ("sglang", "sglang", None),
        ("gguf", "llama.cpp", None),
        ("local-completions", "completions server", None),
        ("local-chat-completions", "chat server", None),
        ("openai-completions", "OpenAI's API", None),
        ("anthropic-chat", "Anthropic's API", None),
        ("somebody's own", "somebody's own", None),
    ],
)
def test_what_computes(model: str, runtime: str, version: str | None) -> None:
    engine, standing = of(model, {"pretrained": "org/m"})
    assert (engine.name, engine.runtime, engine.version) == (model, runtime, version)
    # llama.cpp serves what it was started with, which the run does not tell.
    expected = ("unverified", "unverified gguf") if model == "gguf" else ("as named", "none")
    assert (standing.status, standing.method) == expected


@pytest.mark.parametrize(
    ("arguments", "method"),
    [
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "unverified bitsandbytes-4"),
        ({"load_in_8bit": "True"}, "unverified bitsandbytes-8"),
        ({"gptqmodel": True}, "unverified gptq"),
        ({"autogptq": "model.safetensors"}, "unverified gptq"),
        ({"gguf_file": "m.Q4_K_M.gguf"}, "unverified gguf q4_k_m"),
        ({"quantization": "awq_marlin"}, "unverified awq"),
        ({"quantization": "fp8"}, "unverified fp8"),
        ({"quantization_config": {"quant_method": "hqq", "nbits": 4}}, "unverified hqq"),
        ({"torchao_config": "int4wo-128"}, "unverified int4wo-128"),
        ({"load_format": "bitsandbytes"}, "unverified bitsandbytes"),
        ({"dtype": "int8"}, "unverified int8"),
        ({"revision": "gptq-4bit-32g-actorder_True"}, "unverified gptq 4bit"),
        ({"kv_cache_dtype": "fp8_e5m2"}, "unverified kv-fp8_e5m2"),
        ({"cache_implementation": "quantized"}, "unverified kv-quantized"),
        ({"cache_type_k": "q8_0", "cache_type_v": "q4_0"}, "unverified kv-q8_0+q4_0"),
        # What asks for nothing.
        ({"quantization": None, "load_in_4bit": False, "kv_cache_dtype": "auto", "load_format": "auto"}, "none"),
        ({"quantization": "None", "load_in_8bit": "false", "autogptq": "False", "dtype": "bfloat16"}, "none"),
        ({"kv_cache_dtype": "bfloat16", "dtype": "torch.float16", "gpu_memory_utilization": 0.8}, "none"),
    ],
)
def test_what_arguments_say(arguments: dict[str, Any], method: str) -> None:
    _, standing = of("vllm", {"pretrained": "org/m"} | arguments)
    assert standing.method == method
    assert standing.status == ("as named" if method == "none" else "unverified")


@pytest.mark.parametrize(
    ("arguments", "parallel", "sums"),
    [
        ({"tensor_parallel_size": 2, "data_parallel_size": "4"}, "tp=2,dp=4", "tp=2"),
        ({"tp_size": "2", "dp_size": 1}, "tp=2", "tp=2"),
        ({"tensor_parallel_size": 1}, None, ""),
        ({"parallelize": True}, "layers", ""),
        ({"tp_plan": "auto", "enable_expert_parallel": "True"}, "tp=auto,ep", "tp=auto,ep"),
    ],
)
def test_devices(arguments: dict[str, Any], parallel: str | None, sums: str) -> None:
    engine, _ = of("vllm", arguments)
    assert (engine.parallel, engine.sums) == (parallel, sums)


def test_what_an_engine_says_of_itself_goes_before_its_arguments() -> None:
    said = {
        **{"name": "vllm", "version": "0.11.2", "quantization": "fp8", "kv_cache": "fp8_e5m2", "parallel": "tp=2"},
        **{"batch_invariant": True, "seeds": "engine", "threads": 2},
    }
    arguments = {"pretrained": "org/m", "kv_cache_dtype": "auto", "tensor_parallel_size": 4}
    engine, standing = of("bbq_vllm", arguments, engine_values=said)
    assert (engine.runtime, engine.version, engine.parallel, engine.batch_invariant) == ("vllm", "0.11.2", "tp=2", True)
    assert (engine.seeds, engine.threads) == ("engine", 2)
    assert standing.method == "unverified fp8 kv-fp8_e5m2"
    # What is of another kind than the contract is not known, and no fault.
    odd, _ = of("hf", {}, engine_values={"name": 3, "version": ["x"], "threads": "many", "batch_invariant": "yes"})
    assert (odd.runtime, odd.version, odd.threads, odd.batch_invariant) == ("3", None, None, None)


@pytest.mark.parametrize(
    ("said", "status", "method"),
    [
        ({"quantization": "Q4_K_M", "model": "/m/SmolLM2.Q4_K_M.gguf"}, "unverified", "unverified q4_k_m gguf"),
        ({"quantization": "F16", "model": "/m/SmolLM2-F16.gguf"}, "as named", "none"),
        ({"quantization": None, "model": "/m/SmolLM2"}, "unverified", "unverified gguf"),
        ({"quantization": "unknown", "model": "/m/SmolLM2"}, "unverified", "unverified gguf"),
    ],
)
def test_what_a_server_of_llama_cpp_says(said: dict[str, Any], status: str, method: str) -> None:
    engine, standing = of(
        "served_itemlevel", engine_values={"name": "llama.cpp", "version": "b9", **said}, serves=said["model"]
    )
    assert (engine.runtime, engine.version) == ("llama.cpp", "b9")
    assert (standing.status, standing.method) == (status, method)


def test_what_wraps_transformers_is_no_other_version() -> None:
    said = {"name": "compressed_hf", "version": "lm-eval-ext 1, transformers 5.17.0", "parallel": "device_map=auto"}
    engine, _ = of("compressed_hf", engine_values=said)
    assert (engine.runtime, engine.version, engine.sums) == ("transformers", "5.17.0", "")


EVIDENCE = {"label": "wanda-50", "method": "wanda", "evidence_version": 4, "status": "proved"}
NONE = {"label": "dense", "method": "none", "evidence_version": 4, "status": "dense"}
KV = {"kv": {"bits": 8, "format": "int8", "group_size": 64}}


@pytest.mark.parametrize(
    ("facts", "status", "method", "label"),
    [
        (EVIDENCE, "proved", "wanda", "wanda-50"),
        (EVIDENCE | KV, "proved", "wanda+kv-int8", "wanda-50+kv-int8"),
        (EVIDENCE | KV | {"label": "wanda-50+kv-int8"}, "proved", "wanda+kv-int8", "wanda-50+kv-int8"),
        (NONE, "dense", "none", "dense"),
        (NONE | KV, "proved", "kv-int8", "kv-int8"),
        (NONE | {"arguments": {"kv_cache_dtype": "fp8"}}, "unverified", "unverified kv-fp8", "kv-fp8(unverified)"),
        (EVIDENCE | {"status": "measured", "method": "gptq", "label": "gptq-4"}, "measured", "gptq", "gptq-4"),
        # Evidence of before has no word for it.
        ({"label": "w", "method": "wanda", "evidence_version": 1}, "proved", "wanda", "w"),
        ({"label": "dense", "method": "none", "evidence_version": 1}, "dense", "none", "dense"),
        ({"label": "x(unverified)", "method": "x", "evidence_version": 3}, "unverified", "x", "x(unverified)"),
        (EVIDENCE | {"status": "from the future"}, "unverified", "wanda", "wanda-50"),
        ({"label": "unverified", "method": "unverified", "pretrained": "m-AWQ"}, "unverified", "unverified awq", None),
        # Until schema 4 nobody looked what came compressed, as long as it was not packed.
        (NONE | {"evidence_version": 3, "pretrained": "m-2of4"}, "unverified", "unverified 2of4", None),
        (NONE | {"pretrained": "m-2of4"}, "dense", "none", "dense"),
    ],
)
def test_evidence_goes_before_names(facts: dict[str, Any], status: str, method: str, label: str | None) -> None:
    _, standing = of("compressed_hf", **facts)
    assert (standing.status, standing.method, standing.label) == (status, method, label)


QUANTIZING = {
    "load_in_4bit": True,
    "load_in_8bit": "true",
    "autogptq": True,
    "gptqmodel": "True",
    "gguf_file": "m.gguf",
    "quantization": "awq",
    "quantization_config": "{bits:4}",
    "kv_cache_dtype": "fp8",
    "awq_kernel": "gemm",
    "use_hqq": 1,
    "dtype": "float8_e4m3fn",
    "load_format": "gguf",
    "pretrained": "org/m-W4A16",
}
MODELS = ["hf", "vllm", "sglang", "local-completions", "gguf", "openai-chat-completions", "compressed_hf", "mine"]
HARMLESS = {"device": "cpu", "batch_size": 8, "trust_remote_code": True, "max_length": 512, "tensor_parallel_size": 2}


@given(
    st.sampled_from(MODELS),
    st.lists(st.sampled_from(sorted(QUANTIZING)), min_size=1, unique=True),
    st.lists(st.sampled_from(sorted(HARMLESS)), unique=True),
    st.randoms(use_true_random=False),
)
def test_no_argument_that_quantizes_leaves_a_run_dense(
    model: str, asked: list[str], more: list[str], random: Any
) -> None:
    pairs = list(chain(((name, QUANTIZING[name]) for name in asked), ((name, HARMLESS[name]) for name in more)))
    first = of(model, {"pretrained": "org/m"} | dict(pairs))
    random.shuffle(pairs)
    second = of(model, dict(pairs) | ({} if "pretrained" in asked else {"pretrained": "org/m"}))
    for _, standing in (first, second):
        assert (standing.status, standing.is_dense) == ("unverified", False)
        assert standing.method.startswith("unverified ")
    assert first == second
