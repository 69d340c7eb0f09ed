"""`served_itemlevel`: a model behind a server of completions, asked once an item."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lm_eval_ext.errors import UserError, require_extra, unknown_name

require_extra(("transformers",), "hf", "model served_itemlevel")

# The check comes first: it turns a missing transformers into one line.
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from tqdm import tqdm

from lm_eval_ext.models.engines.listed import Ask, Prompt, Step
from lm_eval_ext.models.engines.probe import server_at
from lm_eval_ext.models.engines.reference import Reference
from lm_eval_ext.models.engines.scoring import ItemScoring, Row
from lm_eval_ext.models.engines.seeds import settle_seeds
from lm_eval_ext.models.engines.wire import Wire
from lm_eval_ext.tokens.encoding import Encoding

__all__ = ["ServedLM"]

log = logging.getLogger(__name__)

_PROBE = "The key was in the drawer. Who kept it? 12"
_TOKENIZER = ("revision", "trust_remote_code", "subfolder", "use_fast_tokenizer", "gguf_file")
_LENGTH = 2048


@register_model("served_itemlevel")
class ServedLM(ItemScoring):
    """A model that llama.cpp's server, vLLM's or another with OpenAI's completions holds."""

    def __init__(
        self,
        base_url: str | None = None,
        model: str | None = None,
        tokenizer: str | None = None,
        pretrained: str | None = None,
        engine: str = "auto",
        top: int | None = None,
        max_length: int | None = None,
        max_gen_toks: int = 256,
        num_concurrent: int | None = None,
        timeout: float = 300,
        max_retries: int = 3,
        api_key: str | None = None,
        add_bos_token: bool | None = None,
        quantization: str | None = None,
        kv_cache: str | None = None,
        dtype: str | None = None,
        parallel: str | None = None,
        batch_invariant: bool | None = None,
        reference: str | None = None,
        reference_items: int = 8,
        reference_tolerance: float = 0.1,
        batch_size: Any = None,
        max_batch_size: Any = None,
        device: Any = None,
        **kwargs: Any,
    ) -> None:
        """Ask the server what it is and what it can do.

        Args:
            base_url: Its address, such as http://127.0.0.1:8080.
            model: The model's name there; the only one, if it is left out.
            tokenizer: Of the model: a transformers tokenizer by name or folder; `pretrained` or `model` if left out.
            pretrained: The model's weights by name, for the tokenizer and the log.
            engine: "auto", "llama.cpp", "vllm" or "openai".
            top: Next tokens to list; as many as the server lists, if left out (llama.cpp: 1000, and more where needed).
            max_length: Most tokens of prompt and answer; what the server says, if left out, else 2048.
            max_gen_toks: Tokens of a text where a task does not say.
            num_concurrent: Requests at once; as many as the server works on, if left out.
            timeout: Seconds for one answer.
            max_retries: Tries of a request that gets no answer.
            api_key: Token for the server; OPENAI_API_KEY, if left out.
            add_bos_token: As of `compressed_hf`.
            quantization: What the server does not tell, for the log, as the next five.
            kv_cache: Format of its cache of keys and values ("fp8_e5m2").
            dtype: Its dtype.
            parallel: Such as "tp=2".
            batch_invariant: Whether its numbers do not depend on what else it works on.
            reference: Weights to hold the letters against: a folder or name for transformers, or a GGUF file, which is
                dequantized.
            reference_items: How many of the first prompts are held against it.
            reference_tolerance: Most that a letter's probability may differ, 0 to 1.
            batch_size: lm_eval's; requests go one by one.
            max_batch_size: lm_eval's, not used.
            device: lm_eval's, not used: the server has its own.
            **kwargs: revision, trust_remote_code, subfolder, use_fast_tokenizer, gguf_file of the tokenizer.

        Raises:
            UserError: If there is no server, or it can't do what letters need; on an unknown argument.
        """
        super().__init__()
        unknown = sorted(set(kwargs) - set(_TOKENIZER))
        if unknown:
            known = ("base_url", "model", "tokenizer", "engine", "top", "max_length", "num_concurrent", *_TOKENIZER)
            raise unknown_name("argument of served_itemlevel", unknown[0], list(known))
        if base_url is None:
            raise UserError("served_itemlevel needs the server's address: base_url=http://127.0.0.1:8080")
        wire = Wire(
            base_url, timeout=timeout, retries=max_retries, key=api_key or os.environ.get("OPENAI_API_KEY") or None
        )
        self.tokenizer = _load_tokenizer(tokenizer or pretrained or model, kwargs)
        self._encoding = Encoding(self.tokenizer, add_bos_token)
        probe = Prompt(tuple(self._encoding.prompt(_PROBE)), _PROBE)
        self._server = server_at(wire, engine, model, probe=probe, bare=self._bare, top=top)
        self.engine = f"the {self._server.name} server at {wire.root}"
        self.exact, self.lists_all = self._server.exact, self._server.lists_all
        self.samples_by = self._server.name
        self._max_length = int(max_length or self._server.positions or _LENGTH)
        if self._server.positions and self._max_length > self._server.positions:
            raise UserError(f"max_length={self._max_length}, but the server takes {self._server.positions} tokens")
        self._max_gen_toks = int(max_gen_toks)
        self._workers = max(1, int(num_concurrent or self._server.together))
        self._seeds: str | None = None
        self._told = {
            "dtype": dtype,
            "quantization": quantization or self._server.facts.get("quantization"),
            "kv_cache": kv_cache,
            "parallel": parallel,
            "batch_invariant": batch_invariant,
        }
        if reference is not None:
            self.reference = Reference(reference, reference_items, reference_tolerance, self.engine)
        log.info("%s: %s %s, model %s", wire.root, self._server.name, self._server.version, self._server.model)

    @property
    def eot_token_id(self) -> int:
        """End of a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What an empty prompt is replaced by: BOS, or the end of a text."""
        bos = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else int(bos)

    @property
    def max_length(self) -> int:
        """Most tokens of a prompt and its answer."""
        return self._max_length

    @property
    def max_gen_toks(self) -> int:
        """Tokens of a text where a task does not say."""
        return self._max_gen_toks

    @property
    def tokenizer_name(self) -> str:
        """For lm_eval's caches."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The tokenizer's own template, as text."""
        return str(
            self.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )

    def tell(self, asks: Sequence[Ask]) -> Iterator[list[Step]]:
        """The server's answers, several asked at once."""
        return self._at_once(self._server.tell, asks)

    def scored(self, rows: Sequence[Row]) -> Iterable[tuple[float, bool]]:
        """Exact log-likelihoods, several asked at once."""

        def one(row: Row) -> tuple[float, bool]:
            text, before, target = row
            return self._server.scored(Prompt((*before, *target), "".join(text or ())), len(before))

        return self._at_once(one, rows)

    def _at_once(self, call: Any, given: Sequence[Any]) -> Iterator[Any]:
        if self._workers == 1 or len(given) < 2:
            yield from map(call, given)
            return
        pool = ThreadPoolExecutor(self._workers)
        try:
            yield from pool.map(call, given)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def settle_sampling(self, temperature: float) -> None:
        """See that the server draws by the seeds that it is sent; a sampled task calls this before its requests."""
        self._seeds = settle_seeds(self._server, Prompt(tuple(self._encoding.prompt(_PROBE)), _PROBE), temperature)

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Texts by the server's own sampler, with the seeds of the requests."""
        prompts = [Prompt(tuple(self.tok_encode(request.args[0])), request.args[0]) for request in requests]
        settings = [self._settings(request.args[1]) for request in requests]
        for prompt, given in zip(prompts, settings, strict=True):
            if len(prompt.ids) + given["max_tokens"] > self.max_length:
                raise UserError(
                    f"a prompt of {len(prompt.ids)} tokens and {given['max_tokens']} of answer don't fit in "
                    f"max_length={self.max_length}; start the server with more"
                )
        texts = []
        found = self._at_once(lambda pair: self._server.text(*pair), list(zip(prompts, settings, strict=True)))
        with tqdm(total=len(requests), disable=disable_tqdm, desc="Running generate_until requests") as progress:
            for request, given, text in zip(requests, settings, found, strict=True):
                for stop in given["stop"]:
                    text = text.split(stop)[0]
                texts.append(text)
                self.cache_hook.add_partial("generate_until", request.args, text)
                progress.update()
        return texts

    def _settings(self, arguments: dict[str, Any]) -> dict[str, Any]:
        given = dict(normalize_gen_kwargs(arguments, default_max_gen_toks=self.max_gen_toks))
        stops = [stop for stop in given.pop("until", []) or [] if stop]
        given.pop("do_sample", None)
        return {
            "max_tokens": int(given.pop("max_gen_toks")),
            "stop": stops,
            "temperature": float(given.pop("temperature", 0.0)),
            **given,
        }

    def _bare(self, text: str) -> list[str]:
        """A prompt as text: without the BOS that it begins with, as it is, and with what the tokenizer adds."""
        first = self.tokenizer.decode(list(self._encoding.first)) if self._encoding.first else ""
        bare = text[len(first) :] if first and text.startswith(first) else text
        return list(dict.fromkeys((bare, first + bare)))

    def get_model_info(self) -> dict[str, Any]:
        """What is known of the engine, for lm-eval's results["config"]."""
        facts: dict[str, Any] = {
            "name": self._server.name,
            "version": self._server.version,
            **self._told,
            "seeds": self._seeds,
            "model": self._server.model,
            **{key: value for key, value in self._server.facts.items() if key not in self._told},
        }
        if self.reference is not None:
            facts["reference"] = self.reference.facts
        return {"engine": facts, "encoding": self.encoding_facts()}


def _load_tokenizer(name: str | None, options: dict[str, Any]) -> Any:
    from transformers import AutoTokenizer

    if not name:
        raise UserError(
            "served_itemlevel cuts prompts itself, so it needs the model's tokenizer: tokenizer=NAME_OR_FOLDER"
        )
    given = {key: value for key, value in options.items() if key != "use_fast_tokenizer"}
    if "use_fast_tokenizer" in options:
        given["use_fast"] = options["use_fast_tokenizer"]
    try:
        return AutoTokenizer.from_pretrained(name, **given)
    except Exception as fault:  # transformers fails in many ways; to the user they are one
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise UserError(
            f"the tokenizer {name!r} can't be loaded ({reason}); name one that can: tokenizer=NAME"
        ) from None
