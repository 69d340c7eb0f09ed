"""`compressed_hf`: lm-eval's Hugging Face model, compressed on load and proved."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from lm_eval_ext.errors import UserError, require_extra

require_extra(("torch", "transformers", "accelerate"), "hf", "model compressed_hf")

# The check comes first: it turns a missing torch into one line.
import torch
from lm_eval.api.registry import register_model
from tqdm import tqdm

from lm_eval_ext.models.arguments import take_recipe_keys
from lm_eval_ext.models.backends.backend import Checkpoint, Source
from lm_eval_ext.models.backends.once import made_once
from lm_eval_ext.models.backends.registry import prepare, proved
from lm_eval_ext.models.checkpoints.cache import checkpoint_cache
from lm_eval_ext.models.checkpoints.trial import refuse_occupied, refuse_unsaveable
from lm_eval_ext.models.checkpoints.write import save_checkpoint
from lm_eval_ext.models.hf.encoded import EncodedHFLM
from lm_eval_ext.models.hf.engine_facts import engine_facts
from lm_eval_ext.models.hf.feeding import fed
from lm_eval_ext.models.hf.loading import load_fault, refuse_no_model
from lm_eval_ext.models.hf.processes import SharedHFLM
from lm_eval_ext.models.hf.shipped import ShippedHFLM
from lm_eval_ext.models.hf.text_models import refuse_no_text_model
from lm_eval_ext.models.kv.attach import attach_kv
from lm_eval_ext.models.parts.loaded import Loaded
from lm_eval_ext.models.recipe.calibration import refuse_unreadable
from lm_eval_ext.models.recipe.resolve import resolve
from lm_eval_ext.models.scoring.ahead import looks_ahead, refuse_texts
from lm_eval_ext.models.scoring.checked import Request, TreeScoring
from lm_eval_ext.models.scoring.memory import stock_rows
from lm_eval_ext.models.scoring.obstacles import calling_of
from lm_eval_ext.models.scoring.padding import Padding
from lm_eval_ext.models.scoring.seeded import SeededSampling
from lm_eval_ext.models.scoring.settings import settings_of

__all__ = ["CompressedHFLM"]

log = logging.getLogger(__name__)


@register_model("compressed_hf")
class CompressedHFLM(SharedHFLM, EncodedHFLM, ShippedHFLM):
    """HFLM with every argument kept, plus a recipe.

    The recipe's backend is asked before the load. Ours compresses after HFLM has loaded the model (HFLM ties weights at
    the end of its construction, which would undo an earlier change of a tied layer), on the device(s) where it lies.
    Another hands back a checkpoint; that is loaded instead, and what was done to it is measured.
    """

    answers_seeds = True
    """Tells sampled tasks that generation requests with `seeds` and `first_token` are answered."""

    def __init__(
        self,
        pretrained: Any = None,
        recipe: str | None = None,
        method: str | None = None,
        save_compressed: str | None = None,
        cache_compressed: bool = False,
        device: str | None = None,
        softmax_dtype: Any = "float32",
        **kwargs: Any,
    ) -> None:
        """Load, compress, and keep the evidence.

        Args:
            pretrained: As HFLM's.
            recipe: Packaged recipe or YAML file; further keys override its values.
            method: Method by name, instead of a recipe, with its keys inline.
            save_compressed: Folder for a plain Hugging Face checkpoint of the compressed model. What it needs is tried
                before the compression. A save that fails all the same (a full disk) does not take the evaluation with
                it: the run goes on and ends with 0, since its results are right; an error is logged at once and at the
                end, and the evidence has it as `save_error`.
            cache_compressed: Keep what the compression changed, by content, and use it again; see `reuse`. A backend
                of another library keeps its checkpoints anyway.
            device: As HFLM's, whose default is cuda even where there is none; None takes a GPU if torch sees one.
            softmax_dtype: Dtype of scoring; float32 by default, since the sums of bfloat16 log-probabilities tie and
                flip answers that nothing else changed.
            **kwargs: Keys of the recipe's methods and calibration, every argument of HFLM, and `rolling_bos` ("once",
                "each" or "hf"; see `EncodedHFLM`).

        Raises:
            UserError: On a faulty recipe or unknown key before the model is loaded; on a model that can't be
                compressed as asked before a weight is changed.
        """
        ours = take_recipe_keys(recipe, method, kwargs)
        refuse_no_model(pretrained, kwargs)
        self._recipe = resolve(recipe=recipe, method=method, **ours)
        for step in self._recipe.steps:
            step.check_installed()
        if self._recipe.needs_calibration:
            refuse_unreadable(self._recipe.calibration)
        if save_compressed is not None:
            refuse_occupied(save_compressed)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        arguments = {**kwargs, "device": device, "softmax_dtype": softmax_dtype}
        source = Source(pretrained=pretrained, loader=arguments)
        prepared = prepare(source, self._recipe.weights, checkpoint_cache())
        prepared = made_once(prepared, self._recipe.weights, checkpoint_cache(), cache_compressed)
        place = pretrained
        if isinstance(prepared, Checkpoint):
            place, arguments = prepared.pretrained, prepared.arguments(source)
            refuse_no_model(place, arguments)
        try:
            super().__init__(pretrained=place, **arguments)
        except Exception as error:
            raise load_fault(error, place) from error
        if (doubt := self._recipe.dtype_warning(str(self._model.dtype).removeprefix("torch."))) is not None:
            log.warning(doubt)
        # HFLM sets its share of the documents only where torch sees more than one GPU. Else every launched process
        # would have all of them and rank 0, and each would write the same files.
        if hasattr(self, "accelerator") and self.world_size == 1:
            self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
        saves = save_compressed is not None and self.rank == 0
        if saves:
            refuse_unsaveable(self._model, self.tokenizer, str(save_compressed))
        calling_of(self).check()
        self._trees = TreeScoring(self)
        self._padding = Padding(self)
        self._settings_told = False
        self._seeded = SeededSampling(self, {"abc": _abc_decided}, self._trees.trust.told)
        loaded = Loaded(
            model=self._model,
            tokenizer=self.tokenizer,
            base={
                "pretrained": pretrained if isinstance(pretrained, str) else type(pretrained).__name__,
                "revision": str(kwargs.get("revision", "main")),
                **{key: kwargs[key] for key in ("peft", "delta", "gguf_file") if kwargs.get(key)},
            },
            softmax_dtype=str(softmax_dtype).removeprefix("torch."),
            autocast=self.mixed_precision_dtype,
            came=self._came,
        )
        with fed(self._model) if self.backend == "seq2seq" else nullcontext():
            self._evidence = proved(loaded, self._recipe.weights, prepared)
        self.looks_ahead = looks_ahead(self)
        log.info("compressed with %s: %s", self._recipe.label, self._evidence.totals)
        if saves:
            self._save(str(save_compressed))
        if self._recipe.kv is not None:
            self._evidence = attach_kv(loaded, self._recipe, self._evidence)

    def _save(self, folder: str) -> None:
        """Write the checkpoint; a failure is logged and kept in the evidence."""
        try:
            save_checkpoint(self._model, self.tokenizer, folder, self._recipe.weights, self._evidence)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            self._evidence.save_error = f"save_compressed={folder} failed, nothing was kept: {reason}"
            log.error("%s; the evaluation goes on with the model in memory", self._evidence.save_error)

    def _loglikelihood_tokens(
        self, requests: list[Request], disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[tuple[float, bool]]:
        """Score requests by prefix trees where this model allows it, otherwise as HFLM does; same order, same kind."""
        answers = None
        if self._trees.usable(requests):
            hidden = disable_tqdm or self.rank != 0
            with (
                tqdm(total=len(requests), disable=hidden, desc="Running loglikelihood requests") as progress,
                self._trees.trust.on(progress),
            ):
                answers = self._trees.answers(requests, progress.update)
        if answers is None:
            return self._by_hflm(requests, disable_tqdm, override_bs)
        for (text, _, _), answer in zip(requests, answers, strict=True):
            self.cache_hook.add_partial("loglikelihood", text, answer)
        return answers

    def _by_hflm(
        self, requests: list[Request], disable_tqdm: bool, override_bs: int | None
    ) -> list[tuple[float, bool]]:
        """HFLM's answers, one prompt a pass where this model's numbers depend on what stands beside them."""
        if self.looks_ahead:
            refuse_texts(self, [target for _, _, target in requests])
        given: int | str = self.batch_size
        # A model that trees suit is causal: it does not see what follows.
        together = (
            given == 1
            or self._trees.trust.settled
            or self._padding.harmless([(context + target)[:-1][-self.max_length :] for _, context, target in requests])
        )
        self.batch_size_per_gpu = given if together else 1
        try:
            answers: list[tuple[float, bool]] = super()._loglikelihood_tokens(requests, disable_tqdm, override_bs)
        finally:
            self.batch_size_per_gpu = given
        return answers

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Generate: requests that name `seeds` by our sampler, from one prefill each; all others as HFLM does."""
        self.must_generate(requests)
        ours = [index for index, request in enumerate(requests) if "seeds" in request.args[1]]
        rest = sorted(set(range(len(requests))) - set(ours))
        texts: list[str] = [""] * len(requests)
        if rest:
            self._tell_settings()
            for index, text in zip(
                rest, super().generate_until([requests[i] for i in rest], disable_tqdm), strict=True
            ):
                texts[index] = text
        if ours:
            hidden = disable_tqdm or self.rank != 0
            with (
                tqdm(total=len(ours), disable=hidden, desc="Running generate_until requests with seeds") as progress,
                self._seeded.trust.on(progress),
            ):
                drawn = self._seeded.answer([requests[i].args for i in ours], progress.update)
            for index, text in zip(ours, drawn, strict=True):
                texts[index] = text
        return texts

    def _tell_settings(self) -> None:
        """Say once that texts are generated otherwise than letters and draws are scored."""
        settings = settings_of(calling_of(self).inner, sampled=False)
        if settings and not self._settings_told:
            log.warning("the model's generation_config changes generated texts, and no score: %s", settings)
        self._settings_told = True

    def _detect_batch_size(self, requests: Sequence[Request] | None = None, pos: int = 0) -> int:
        """Rows of HFLM's own passes with batch_size=auto: on a CPU by their size, elsewhere by its trial passes.

        HFLM tries 64 rows of the longest length first, five times, and fewer where memory is refused. A CPU rarely
        refuses; it swaps.
        """
        if torch.device(self.device).type != "cpu":
            found: int = super()._detect_batch_size(requests, pos)
            return found
        length = max(len(requests[pos][1]), len(requests[pos][2])) if requests else self.max_length
        if requests and self.backend == "causal":
            length = len(requests[pos][1]) + len(requests[pos][2])
        return stock_rows(self, min(length, self.max_length))

    def _get_backend(self, config: Any, backend: Any = "default", trust_remote_code: bool | None = False) -> None:
        """HFLM's choice of a loader; a checkpoint that the loader has no class for ends here, in one line."""
        super()._get_backend(config, backend, trust_remote_code)
        if not hasattr(self, "_model"):
            refuse_no_text_model(config, self.AUTO_MODEL_CLASS, trust_remote_code)

    def get_model_info(self) -> dict[str, Any]:
        """HFLM's facts, under `encoding` what was done with special tokens, `engine` and `compression` (the evidence).

        lm-eval writes them to results["config"].
        """
        info: dict[str, Any] = super().get_model_info()
        if self._evidence.save_error:
            log.error(self._evidence.save_error)  # again: what was said before the evaluation has scrolled away
        facts = {"encoding": self.encoding_facts(), "engine": engine_facts(self, self._evidence)}
        return info | facts | {"compression": self._evidence.as_dict()}

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Refuse lm-eval's response cache, which does not tell a compressed model from its original.

        Raises:
            UserError: If a cache file is behind the hook.
        """
        if getattr(cache_hook, "dbdict", None) is not None:
            raise UserError(
                "--use_cache is refused: lm-eval keys its cache by the prompt alone, so a compressed model would be "
                "given the original's answers; run without --use_cache"
            )
        super().set_cache_hook(cache_hook)


def _abc_decided(text: str) -> bool:
    """`stop_when: abc`: whether both parsers of the BBQ tasks have their letter, whatever follows."""
    from lm_eval_ext.protocols.parsers import decided

    return decided(text)
