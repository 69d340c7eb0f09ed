"""From a place in lm-eval's files to a column: the facts of a run, and the general way to the fields of items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..schema.items import ITEM_FIELDS
from .groups import encode_groups, encode_options
from .values import LogError, boolean, integer, lines, mapping, number, numbers, text, words

__all__ = ["OWN_FIELDS", "PLAIN_FIELDS", "RUN_FIELDS", "Field", "take_all"]


@dataclass(frozen=True)
class Field:
    """One column and the keys that lead to its value."""

    column: str
    path: str
    """Keys from the top of the record, joined by dots. A first key with `$` is the reader's own."""
    parse: Callable[[Any], Any]
    required: bool = False
    """Whether a value must be there and not null."""
    keys: tuple[str, ...] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        """Split the path once: it is walked for every line of every log."""
        object.__setattr__(self, "keys", tuple(self.path.split(".")))

    def take(self, record: dict[str, Any]) -> Any:
        """The parsed value of this field in a record.

        Raises:
            LogError: If the value is absent though required, or not of its kind; the message names the path.
        """
        value: Any = record
        for key in self.keys:
            # dict and not Mapping: JSON knows nothing else, and this runs for every column of every line.
            if not isinstance(value, dict):
                value = None
                break
            value = value.get(key)
        try:
            parsed = self.parse(value)
        except LogError as fault:
            raise LogError(f"{self.path}: {fault}") from None
        if parsed is None and self.required:
            raise LogError(f"{self.path}: missing")
        return parsed


def take_all(fields: tuple[Field, ...], record: dict[str, Any]) -> dict[str, Any]:
    """Every field of a record by column name; a fault in any one is raised (LogError)."""
    return {entry.column: entry.take(record) for entry in fields}


_COMPRESSION = "config.compression"

RUN_FIELDS: tuple[Field, ...] = (
    Field("label", f"{_COMPRESSION}.label", text),
    Field("status", f"{_COMPRESSION}.status", text),
    Field("doubts", f"{_COMPRESSION}.doubts", lines),
    Field("origin_base", f"{_COMPRESSION}.origin.base_model", text),
    Field("origin_by", f"{_COMPRESSION}.origin.told_by", text),
    Field("kv", f"{_COMPRESSION}.kv", mapping),
    Field("engine_values", "config.engine", mapping),
    Field("evidence_version", f"{_COMPRESSION}.schema_version", integer),
    Field("model_type", "config.model", text, required=True),
    Field("pretrained", f"{_COMPRESSION}.base.pretrained", text),
    Field("pretrained_args", "$model_args.pretrained", words),
    Field("revision", f"{_COMPRESSION}.base.revision", text),
    Field("revision_args", "config.model_revision", text),
    Field("model_name", "model_name", text),
    Field("base_hash", f"{_COMPRESSION}.weights_hash_before", text),
    Field("method", f"{_COMPRESSION}.method", text),
    Field("recipe_values", f"{_COMPRESSION}.recipe", mapping),
    Field("recipe_args", "$model_args.recipe", words),
    Field("method_args", "$model_args.method", words),
    Field("calibration_values", f"{_COMPRESSION}.calibration", mapping),
    Field("sparsity", f"{_COMPRESSION}.sparsity", number),
    Field("bits", f"{_COMPRESSION}.bits", number),
    Field("achieved_sparsity", f"{_COMPRESSION}.totals.achieved_sparsity", number),
    Field("bits_per_weight", f"{_COMPRESSION}.totals.bits_per_weight", number),
    Field("decoder_sparsity", f"{_COMPRESSION}.totals.decoder_sparsity", number),
    Field("decoder_bits_per_weight", f"{_COMPRESSION}.totals.decoder_bits_per_weight", number),
    Field("weights_hash", f"{_COMPRESSION}.weights_hash_after", text),
    Field("calibration_source", f"{_COMPRESSION}.calibration.source", text),
    Field("calibration_hash", f"{_COMPRESSION}.calibration.token_hash", text),
    Field("dtype", f"{_COMPRESSION}.dtype", text),
    Field("dtype_args", "config.model_dtype", words),
    Field("softmax_dtype", f"{_COMPRESSION}.softmax_dtype", text),
    Field("softmax_dtype_args", "$model_args.softmax_dtype", words),
    Field("batch_size", "config.batch_size", words),
    Field("max_length", "max_length", integer),
    Field("special_tokens", "config.encoding.adds", boolean),
    Field("rolling_bos", "config.encoding.rolling_bos", text),
    Field("chat_template_sha", "chat_template_sha", text),
    Field("system_instruction_sha", "system_instruction_sha", text),
    Field("system_instruction", "system_instruction", text),
    Field("fewshot_as_multiturn", "fewshot_as_multiturn", boolean),
    Field("limit", "config.limit", number),
    Field("use_cache", "config.use_cache", words),
    Field("lm_eval_version", "lm_eval_version", text),
    Field("transformers_version", "transformers_version", text),
)
"""From a results file to the facts of a run. `$model_args` is config.model_args, parsed if it is a string."""

_PARSE: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("string", "value"): text,
    ("string", "groups"): encode_groups,
    ("string", "options"): encode_options,
    ("integer", "value"): integer,
    ("float", "value"): number,
    ("boolean", "value"): boolean,
    ("list", "value"): numbers,
}


def _item_fields(*, ours: bool) -> tuple[Field, ...]:
    """The fields of items as they are found in a line of our tasks, or of any other."""
    found = []
    for entry in ITEM_FIELDS:
        place = entry.ours if ours else entry.plain
        if entry.per != "file":
            column, parse = entry.column, _PARSE[entry.column.kind, entry.coding]
            found.append(Field(entry.name, place or "", parse, required=not column.nullable))
    return tuple(found)


OWN_FIELDS, PLAIN_FIELDS = _item_fields(ours=True), _item_fields(ours=False)
"""From a sample line, with an item record and without, to a row. What a `$` place means is made in samples.py."""
