"""`vllm_itemlevel`: vLLM in this process, asked once an item."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from lm_eval_ext.errors import UserError

if find_spec("vllm") is None:
    raise UserError("model vllm_itemlevel needs vLLM, which is not installed here. Run: pip install 'lm_eval[vllm]'")

# The check comes first: it turns a missing vLLM into one line.
from lm_eval.api.registry import register_model
from lm_eval.models.vllm_causallms import VLLM

from lm_eval_ext.models.engines.listed import Ask, Listed, Step
from lm_eval_ext.models.engines.reference import Reference
from lm_eval_ext.models.engines.scoring import ItemScoring, Row
from lm_eval_ext.tokens.encoding import Encoding

__all__ = ["InProcessVLLM"]

log = logging.getLogger(__name__)
_LISTED = 20


@register_model("vllm_itemlevel")
class InProcessVLLM(ItemScoring, VLLM):
    """lm_eval's vLLM model, with tokens as `compressed_hf` has them and one prompt for an item's letters."""

    exact = True
    engine = "vLLM"
    samples_by = "vllm"

    def __init__(
        self,
        *args: Any,
        reference: str | None = None,
        reference_items: int = 8,
        reference_tolerance: float = 0.1,
        max_batch_size: Any = None,
        **kwargs: Any,
    ) -> None:
        """Load.

        Args:
            *args: As of lm_eval's `vllm`.
            reference: As of `served_itemlevel`, with the next two.
            reference_items: How many of the first prompts are held against it.
            reference_tolerance: Most that a letter's probability may differ, 0 to 1.
            max_batch_size: lm_eval's.
            **kwargs: As of lm_eval's `vllm`, which hands on what it does not know to vLLM.

        Raises:
            UserError: If vLLM can't load the model as asked.
        """
        if kwargs.get("batch_size") is None:
            kwargs["batch_size"] = "auto"
        try:
            super().__init__(*args, max_batch_size=max_batch_size, **kwargs)
        except (UserError, AssertionError):
            raise
        except Exception as fault:
            reason = " ".join(str(fault).split())[:400] or type(fault).__name__
            raise UserError(f"vLLM can't load this model as asked: {reason}") from fault
        self._encoding = Encoding(self.tokenizer, self.add_bos_token)
        self._seeds: str | None = None
        if reference is not None:
            self.reference = Reference(reference, reference_items, reference_tolerance, self.engine)

    def tell(self, asks: Sequence[Ask]) -> Iterable[list[Step]]:
        """Next tokens; those that are wanted where this vLLM lists by id, else the likeliest."""
        from vllm import SamplingParams

        by_id = hasattr(SamplingParams(), "logprob_token_ids")
        params = [
            SamplingParams(
                temperature=0,
                max_tokens=ask.steps,
                detokenize=False,
                **({"logprob_token_ids": list(ask.wanted)} if by_id else {"logprobs": _LISTED}),
            )
            for ask in asks
        ]
        outputs = self._model_generate([list(ask.prompt.ids) for ask in asks], generate=True, sampling_params=params)
        return [_steps(output.outputs[0], by_id) for output in outputs]

    def scored(self, rows: Sequence[Row]) -> Iterable[tuple[float, bool]]:
        """Exact log-likelihoods by the prompt's own, as lm_eval's vLLM model has them."""
        found: list[tuple[float, bool]] = VLLM._loglikelihood_tokens(self, list(rows), disable_tqdm=True)
        return found

    def settle_sampling(self, temperature: float) -> None:
        """Nothing to settle: each request has a generator of its own seed."""
        self._seeds = "engine"

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Texts by vLLM's sampler; the whole vocabulary, unless the task says otherwise."""
        texts: list[str] = VLLM.generate_until(self, requests, disable_tqdm)
        return texts

    def get_model_info(self) -> dict[str, Any]:
        """What is known of the engine, for lm-eval's results["config"]."""
        config = getattr(self.model.llm_engine, "vllm_config", None) if hasattr(self.model, "llm_engine") else None
        model, cache = getattr(config, "model_config", None), getattr(config, "cache_config", None)
        kv = getattr(cache, "cache_dtype", None)
        dtype = getattr(model, "dtype", None)
        quantization = getattr(model, "quantization", None)
        world = {"tp": self.tensor_parallel_size, "dp": self.data_parallel_size}
        parallel = ",".join(f"{name}={size}" for name, size in world.items() if size > 1)
        facts: dict[str, Any] = {
            "name": "vllm",
            "version": version("vllm"),
            "dtype": None if dtype is None else str(dtype).removeprefix("torch."),
            "quantization": None if quantization is None else str(quantization),
            "kv_cache": None if kv in (None, "auto") else str(kv),
            "parallel": parallel or None,
            "batch_invariant": os.environ.get("VLLM_BATCH_INVARIANT", "0") == "1",
            "seeds": self._seeds,
        }
        if self.reference is not None:
            facts["reference"] = self.reference.facts
        return {"engine": facts, "encoding": self.encoding_facts()}


def _steps(output: Any, by_id: bool) -> list[Step]:
    steps = []
    for token, entries in zip(output.token_ids, output.logprobs or (), strict=True):
        ids = {int(one): min(0.0, float(getattr(value, "logprob", value))) for one, value in entries.items()}
        steps.append(Step(int(token), "", Listed(ids, chosen=by_id)))
    return steps
