"""Checkpoints that came compressed: looked at before transformers loads them, and read by us where it can't."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from lm_eval.models.huggingface import HFLM

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.formats.dequantized import check_loaded, read_fp8
from lm_eval_ext.models.formats.form import Came
from lm_eval_ext.models.formats.gguf_file import read_gguf
from lm_eval_ext.models.formats.mlx import is_mlx
from lm_eval_ext.models.formats.mlx_files import MlxWeights, made_by_mlx, read_mlx
from lm_eval_ext.models.formats.mlx_names import text_only
from lm_eval_ext.models.hf.files import local_file, weight_files
from lm_eval_ext.models.hf.unloadable import refuse_unloadable
from lm_eval_ext.models.parts.decoder import unwrap
from lm_eval_ext.models.targets.packed import packed_weights

__all__ = ["ShippedHFLM"]

log = logging.getLogger(__name__)

_FILES = ("*.json", "model*.safetensors", "README.md")


class ShippedHFLM(HFLM):
    """HFLM that knows which checkpoints transformers can't load here, and reads MLX's itself."""

    _came: Came | None = None
    """What the files of a checkpoint told that is dequantized on load."""
    _mlx: Path | None = None
    """Folder of MLX's weights, if it is one."""
    _said: Mapping[str, Any]
    """The checkpoint's config.json."""

    def __init__(self, *args: Any, gptqmodel: bool | None = False, **kwargs: Any) -> None:
        """As HFLM's."""
        self._by_gptqmodel = bool(gptqmodel)
        super().__init__(*args, gptqmodel=gptqmodel, **kwargs)

    def _get_config(
        self,
        pretrained: str,
        *,
        revision: str = "main",
        gguf_file: str | None = None,
        subfolder: str = "",
        **kwargs: Any,
    ) -> None:
        """HFLM's, behind a look at config.json.

        Raises:
            UserError: For a checkpoint that can't be loaded here; see `refuse_unloadable`.
        """
        self._said = {}
        if not gguf_file:
            self._said, _ = transformers.PreTrainedConfig.get_config_dict(
                pretrained, revision=revision, subfolder=subfolder
            )
            refuse_unloadable(self._said, torch.device(self._device), by_gptqmodel=self._by_gptqmodel)
            self._mlx = _mlx_folder(pretrained, self._said, revision, subfolder)
        super()._get_config(pretrained, revision=revision, gguf_file=gguf_file, subfolder=subfolder, **kwargs)
        if self._mlx is not None:
            for mark in ("quantization", "quantization_config"):
                if hasattr(self._config, mark):
                    delattr(self._config, mark)

    def _create_model(self, pretrained: str, **kwargs: Any) -> None:
        """HFLM's, with MLX's weights in the place of a checkpoint."""
        if self._mlx is None:
            with self._loaded_by(_Whole(self.AUTO_MODEL_CLASS)):
                super()._create_model(pretrained, **kwargs)
            self._came = self._dequantized(pretrained, **kwargs)
            return
        if self.backend != "causal":
            raise UserError(f"{pretrained} holds MLX's weights, which are read for causal models alone")
        read = read_mlx(self._mlx, self._said)
        own: Any = self
        with self._loaded_by(_FromMlx(own._config, read)):
            super()._create_model(pretrained, **kwargs)
        self._config = self._model.config
        self._came = read.came

    @contextmanager
    def _loaded_by(self, loader: Any) -> Iterator[None]:
        """Put something else where HFLM calls a class of transformers."""
        own: Any = self
        before, own.AUTO_MODEL_CLASS = own.AUTO_MODEL_CLASS, loader
        try:
            yield
        finally:
            own.AUTO_MODEL_CLASS = before

    def _dequantized(
        self, pretrained: str, *, revision: str = "main", gguf_file: str | None = None, subfolder: str = "", **_: Any
    ) -> Came | None:
        """What the files of a checkpoint told whose weights are plain once they are loaded; None for all others."""
        method = (self._said.get("quantization_config") or {}).get("quant_method")
        if not gguf_file and method != "fp8":
            return None
        if packed_weights(unwrap(self._model)) is not None:
            return None
        if gguf_file:
            expected = read_gguf(local_file(pretrained, gguf_file, revision, subfolder))
        else:
            expected = read_fp8(weight_files(pretrained, revision, subfolder))
        check_loaded(unwrap(self._model), expected)
        return expected.came if expected.came.forms else None


class _Whole:
    """A class of transformers whose models have every weight from the checkpoint, or are refused."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def from_pretrained(self, pretrained: str, **options: Any) -> Any:
        """The model.

        Raises:
            UserError: If the checkpoint lacks a weight: transformers warns, and fills it with random numbers.
        """
        model, info = self._kind.from_pretrained(pretrained, **options, output_loading_info=True)
        # Fused experts are parameters of other names; buffers are made, not loaded.
        own = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        lost = sorted(n for n in info.get("missing_keys") or () if n in own or n.endswith(("weight", "bias")))
        if lost:
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            raise UserError(
                f"{pretrained}: {len(lost)} weights of {type(model).__name__} are not in the checkpoint, and "
                f"transformers fills them with random numbers: {', '.join(lost[:3])}{more}"
            )
        return model


class _FromMlx:
    """Stands where HFLM calls a class of transformers to load a checkpoint."""

    def __init__(self, config: Any, read: MlxWeights) -> None:
        self._config, self._read = config, read

    def from_pretrained(self, pretrained: str, revision: str = "main", subfolder: str = "", **options: Any) -> Any:
        """The model of the config's architecture with MLX's weights.

        Raises:
            UserError: If the weights don't fit the architecture, with the names.
        """
        options = {key: value for key, value in options.items() if value is not None}
        options.pop("trust_remote_code", None)
        config, weights = self._config, self._read.weights
        alone = text_only(weights)
        if alone is not None and config.get_text_config() is not config:
            config, weights = config.get_text_config(), alone
        known = transformers.AutoModelForCausalLM._model_mapping
        if type(config) not in known:
            raise UserError(f"{pretrained}: transformers has no causal model of type {config.model_type!r}")
        kind = known[type(config)]
        if config.tie_word_embeddings:
            weights = {name: weight for name, weight in weights.items() if name != "lm_head.weight"}
        weights = {name: weight for name, weight in weights.items() if "rotary_emb.inv_freq" not in name}
        model, info = kind.from_pretrained(None, config=config, state_dict=weights, output_loading_info=True, **options)
        _refuse_misfits(pretrained, info)
        model.config._name_or_path = pretrained
        model.name_or_path = pretrained
        try:
            model.generation_config = transformers.GenerationConfig.from_pretrained(
                pretrained, revision=revision, subfolder=subfolder
            )
        except OSError:
            log.debug("%s has no generation_config.json", pretrained)
        return model


def _refuse_misfits(pretrained: str, info: Mapping[str, Any]) -> None:
    """Raise UserError if a weight of the model was not in the files, or the other way round."""
    faults = []
    for key, what in (
        ("missing_keys", "the model needs"),
        ("unexpected_keys", "the files have in excess"),
        ("mismatched_keys", "have another shape"),
    ):
        names = sorted(name if isinstance(name, str) else str(name[0]) for name in info.get(key) or ())
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            faults.append(f"{what} {', '.join(names[:3])}{more}")
    if faults:
        raise UserError(
            f"{pretrained}: MLX's weights don't fit transformers' model of this architecture: {'; '.join(faults)}; "
            "mlx_lm rearranges the weights of this family"
        )


def _mlx_folder(pretrained: str, said: Mapping[str, Any], revision: str, subfolder: str) -> Path | None:
    """The folder of weights that MLX wrote, fetched from the hub where it is a name there; None for all others."""
    if Path(pretrained).is_dir():
        folder = Path(pretrained) / subfolder
        return folder if is_mlx(said) or made_by_mlx(folder) else None
    if not is_mlx(said):
        return None
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(pretrained, revision=revision, allow_patterns=list(_FILES))) / subfolder
