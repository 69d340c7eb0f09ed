"""Tiny random models of real architectures, each with a tokenizer and a chat template, made in a second or two."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

TEXT = (
    "The ferry leaves at noon and reaches the island before the bakery closes. Who kept the key, and who lost it? "
    "Context: two neighbours repaired a fence. Question: which of them brought the nails? A) B) C) Answer: A B C "
    "Cannot be determined. Not known. The older one and the younger one wrote letters about rain, bread and trains. "
)
FAMILIES = ("llama", "qwen2", "mistral", "gemma2", "phi3", "opt", "gpt2", "mixtral")
SYSTEM_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
NO_SYSTEM_TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + SYSTEM_TEMPLATE
)

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
"""Config fields of a tiny model, as most families call them."""


@cache
def tokenizer_json() -> str:
    """A byte-level BPE tokenizer of 300 entries, trained on the text above: any text encodes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    return str(tokenizer.to_str())


def tiny_tokenizer(*, system_role: bool = True) -> Any:
    """The tokenizer, with a chat template that knows a system role or refuses it (as Gemma-2's does)."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer_json()),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=512,
        chat_template=SYSTEM_TEMPLATE if system_role else NO_SYSTEM_TEMPLATE,
    )


def tiny_config(family: str, **changes: Any) -> Any:
    """Config of a two-block (gemma2: four) model with 64 channels, 300 tokens and 512 positions."""
    from transformers import AutoConfig

    own: dict[str, dict[str, Any]] = {
        "gemma2": {"num_hidden_layers": 4, "head_dim": 16, "sliding_window": 8, "tie_word_embeddings": True},
        "mistral": {"sliding_window": 16},
        "opt": {"ffn_dim": 128, "word_embed_proj_dim": 64, "tie_word_embeddings": True},
        "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 512, "tie_word_embeddings": True},
        "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    }
    values = SIZES | own.get(family, {}) | changes
    if family == "gpt2":
        for name in (
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "max_position_embeddings",
        ):
            values.pop(name, None)
        values.pop("num_key_value_heads", None)
    if family == "opt":
        values.pop("intermediate_size", None)
        values.pop("num_key_value_heads", None)
    return AutoConfig.for_model(family, **values)


def tiny_model(family: str, *, seed: int = 0, dtype: Any = None, **changes: Any) -> Any:
    """A model of a family with random weights that depend only on the seed, in evaluation mode."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(tiny_config(family, **changes))
        for parameter in model.parameters():
            # The initial weights of most families are so small that a tiny model answers alike to everything.
            if parameter.ndim >= 2:
                parameter.data.normal_(std=0.12)
            # Not model.to(dtype): a model that is loaded in bfloat16 keeps its rotary frequencies in float32.
            parameter.data = parameter.data.to(dtype or torch.float32)
    return model.eval()


def write_tiny(family: str, folder: Path, *, system_role: bool = True, **options: Any) -> Path:
    """Save a tiny model and its tokenizer as a Hugging Face checkpoint; returns the folder."""
    tiny_model(family, **options).save_pretrained(folder)
    tiny_tokenizer(system_role=system_role).save_pretrained(folder)
    return folder
