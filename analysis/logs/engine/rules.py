"""Tables of what lm_eval's models and their arguments mean. Read from the models of lm_eval 0.4.13.

An argument counts for every model type: a setting that one engine ignores is rare, and one that is overlooked makes a
quantized run look untouched.
"""

from __future__ import annotations

import re

__all__ = [
    "ADDED",
    "BLIND",
    "EMPTY",
    "INVARIANT",
    "KV_CACHE",
    "OURS",
    "PARALLEL",
    "PLAIN_CACHE",
    "PLAIN_DTYPE",
    "PLAIN_FORMATS",
    "QUANTIZED",
    "QUANTIZED_LIKE",
    "RUNTIMES",
    "VERSIONS",
]

RUNTIMES: dict[str, str] = {
    **dict.fromkeys(
        ("hf", "hf-auto", "huggingface", "compressed_hf", "hf-multimodal", "hf-mistral3", "hf-audiolm-qwen", "steered"),
        "transformers",
    ),
    **dict.fromkeys(("vllm", "vllm-vlm"), "vllm"),
    **dict.fromkeys(("sglang", "sglang-generate"), "sglang"),
    **dict.fromkeys(("gguf", "ggml", "llama.cpp", "llamacpp", "llama-server"), "llama.cpp"),
    "local-completions": "completions server",
    "local-chat-completions": "chat server",
    **dict.fromkeys(("openai-completions", "openai-chat-completions", "openai"), "OpenAI's API"),
    "azure-openai-chat-completions": "Azure's API",
    **dict.fromkeys(
        ("anthropic-completions", "anthropic-chat", "anthropic-chat-completions", "anthropic"), "Anthropic's API"
    ),
    **dict.fromkeys(("litellm", "litellm-chat", "litellm-chat-completions"), "litellm"),
    "watsonx_llm": "watsonx",
    "ipex": "optimum-intel",
    "openvino": "openvino",
    "neuronx": "optimum-neuron",
    "habana": "optimum-habana",
    "trtllm": "tensorrt-llm",
}
"""What computes, by lm_eval's model type or the name that an engine gives itself; any other stands for itself."""

VERSIONS: dict[str, str] = {"transformers": "transformers_version"}
"""Fact of a results file that holds the version of what computes. lm_eval logs no other."""

BLIND = ("llama.cpp",)
"""Runtimes that serve quantized files as a rule, and do not tell which."""

ADDED = ("gguf_file", "peft", "delta", "lora_local_path", "steer_path")
"""Arguments with which another file changes the model: it is part of the model's name."""

EMPTY = ("", "none", "null", "false", "no", "off", "0")
"""Values of an argument that ask for nothing, in lower case."""

QUANTIZED: dict[str, str | None] = {
    "load_in_4bit": "bitsandbytes-4",
    "load_in_8bit": "bitsandbytes-8",
    "autogptq": "gptq",
    "gptqmodel": "gptq",
    "gguf_file": "gguf",
    "quantization": None,
    "quantize": None,
    "quantization_config": None,
    "torchao_config": None,
    "load_format": None,
    "recipe": None,
    "method": None,
    "bits": "bits",
    "sparsity": "sparse",
}
"""Arguments that say how weights are stored, with the form's name; None takes the value."""

OURS = ("recipe", "method", "bits", "sparsity")
"""Arguments of compressed_hf, whose evidence says what came of them."""

PLAIN_FORMATS = (
    *(
        "auto",
        "pt",
        "safetensors",
        "npcache",
        "dummy",
        "tensorizer",
        "runai_streamer",
        "sharded_state",
        "fastsafetensors",
    ),
    *("dense", "mistral", "hf", "layered", "remote"),
)
"""Values of load_format, recipe and method that leave weights as they are."""

QUANTIZED_LIKE = re.compile(r"bit|quant|gptq|awq|hqq|gguf|torchao")
"""Any other argument of such a name that is on makes a run one that may be quantized."""

PLAIN_DTYPE = re.compile(r"(torch\.)?(auto|default|half|float|double|b?fp?(16|32|64)|b?float(16|32|64)|tf32)")
"""Dtypes of plain weights."""

KV_CACHE = ("kv_cache_dtype", "kv_cache", "cache_dtype", "cache_type_k", "cache_type_v", "ctk", "ctv", "kv")
"""Arguments that say in what form keys and values are kept."""

PLAIN_CACHE = re.compile(r"auto|default|model|b?f(p|loat)?(16|32|64)|half|float|unquantized|dynamic|static")
"""Forms of a cache that is not quantized."""

PARALLEL: dict[str, str] = {
    "tensor_parallel_size": "tp",
    "tp_size": "tp",
    "tp": "tp",
    "tensor_model_parallel_size": "tp",
    "tp_plan": "tp",
    "pipeline_parallel_size": "pp",
    "pipeline_model_parallel_size": "pp",
    "pp_size": "pp",
    "expert_parallel_size": "ep",
    "ep_size": "ep",
    "enable_expert_parallel": "ep",
    "decode_context_parallel_size": "dcp",
    "data_parallel_size": "dp",
    "dp_size": "dp",
    "parallelize": "layers",
}
"""Arguments that spread a model over devices, with the short name of the way; a size of 1 asks for nothing."""

INVARIANT = ("batch_invariant", "enable_deterministic_inference")
"""Arguments that make scores independent of what else is in the batch."""
