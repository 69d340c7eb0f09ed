"""What a table holds: the one declaration that code, tests and docs/tables.md share."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from pandas.api.types import pandas_dtype

__all__ = ["ITEMS", "Column", "Table", "TableError", "count", "number", "text"]

_DTYPES = {
    "string": "string",
    "integer": "Int64",
    "float": "Float64",
    "boolean": "boolean",
    "list": "object",
}


class TableError(ValueError):
    """A frame does not hold what its table declares."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table."""

    name: str
    """Lower snake case, the same wherever the quantity appears."""
    kind: str
    """One of string, integer, float, boolean, list."""
    doc: str
    """Meaning, unit and range, in one sentence."""
    nullable: bool = False
    """Whether a missing value is legal; the doc says what missing means."""

    @property
    def dtype(self) -> str:
        """The pandas dtype that holds this kind, nullable in every case."""
        return _DTYPES[self.kind]


def text(name: str, doc: str, *, nullable: bool = False) -> Column:
    """A column of words."""
    return Column(name=name, kind="string", doc=doc, nullable=nullable)


def count(name: str, doc: str, *, nullable: bool = False) -> Column:
    """A column of whole numbers."""
    return Column(name=name, kind="integer", doc=doc, nullable=nullable)


def number(name: str, doc: str) -> Column:
    """A column of real numbers, missing where they are not defined: never NaN, and never 0 instead."""
    return Column(name=name, kind="float", doc=doc, nullable=True)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A named list of columns: what a frame of this name must hold, in this order."""

    name: str
    doc: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    def conform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Check a frame against this table and give it the declared order and dtypes.

        Args:
            frame: Rows to check; it is not changed.

        Returns:
            A new frame with exactly the declared columns. An empty frame (no rows) conforms.

        Raises:
            TableError: On a missing or undeclared column, a missing value where none is legal, or a
                value that its kind cannot hold; the message names table and column.
        """
        missing = [name for name in self.names if name not in frame.columns]
        extra = [str(name) for name in frame.columns if name not in self.names]
        if missing or extra:
            raise TableError(f"table {self.name!r}: missing columns {missing}, undeclared columns {extra}")
        out = {}
        for column in self.columns:
            try:
                values = frame[column.name].astype(pandas_dtype(column.dtype))
            except (TypeError, ValueError) as error:
                raise TableError(f"table {self.name!r}, column {column.name!r}: {error}") from error
            if not column.nullable and bool(values.isna().any()):
                raise TableError(
                    f"table {self.name!r}, column {column.name!r}: missing value in a column that needs one"
                )
            out[column.name] = values
        return pd.DataFrame(out, index=frame.index).reset_index(drop=True)

    def empty(self) -> pd.DataFrame:
        """A frame with the declared columns and no rows."""
        return self.conform(pd.DataFrame({name: [] for name in self.names}))


ITEMS = Table(
    name="items",
    doc="One row per answer: one per item for scored protocols, one per item and seed for sampled ones.",
    columns=(
        Column(name="run", kind="string", doc="Label of the run, unique within one analysis."),
        Column(name="task", kind="string", doc="lm-eval task name."),
        Column(name="filter", kind="string", doc="lm-eval filter of the answer; 'none' where there is none."),
        Column(name="item_id", kind="string", doc="Identity of the item, stable across runs."),
        Column(name="doc_id", kind="integer", doc="lm-eval's position of the document; never used to join."),
        Column(name="benchmark", kind="string", doc="Benchmark of the item, or the task's name for plain tasks."),
        Column(name="category", kind="string", doc="Category of the item; the task's name for plain tasks."),
        Column(
            name="condition",
            kind="string",
            nullable=True,
            doc="ambig or disambig; missing where the benchmark has none.",
        ),
        Column(
            name="polarity",
            kind="string",
            nullable=True,
            doc="neg or nonneg; missing where the benchmark has none.",
        ),
        Column(
            name="cluster",
            kind="string",
            doc="Template that the item was made from: the unit of independence.",
        ),
        Column(
            name="stereotyped_groups",
            kind="string",
            nullable=True,
            doc="Groups that the item's stereotype is about, sorted and joined by ' | '; missing where there are "
            "none or the task has no items.",
        ),
        Column(
            name="option_groups",
            kind="string",
            nullable=True,
            doc="Groups that each option names, joined by ' | ', the options joined by ' || ' in their order (an "
            "option without groups is an empty string); missing where no option has groups or the task has no items.",
        ),
        Column(
            name="protocol",
            kind="string",
            doc="How the answer was got: letters, text, cyclic, sampled, sampled by another model than compressed_hf "
            "('sampled by VLLM'; 'sampled by HFLM, unseeded'), or lm-eval's output type.",
        ),
        Column(
            name="seed",
            kind="integer",
            nullable=True,
            doc="Seed of a sampled answer, or its place among the item's where the model took no seeds; missing for "
            "scored protocols.",
        ),
        Column(
            name="status",
            kind="string",
            doc="answered, unparsed (text without an answer) or unscored (no usable score).",
        ),
        Column(
            name="choice",
            kind="integer",
            nullable=True,
            doc="0-based index of the chosen option; missing unless answered.",
        ),
        Column(
            name="role",
            kind="string",
            nullable=True,
            doc="Role of the chosen option: stereotype, anti_stereotype, unknown, undetermined; missing "
            "unless answered, or where options have no roles.",
        ),
        Column(
            name="determined",
            kind="boolean",
            nullable=True,
            doc="Whether the item's stereotype is told: its options' roles hold a stereotype and none is "
            "undetermined, whatever was answered; missing where options have no roles.",
        ),
        Column(
            name="correct",
            kind="boolean",
            nullable=True,
            doc="Whether the answer is the keyed one; missing where the item has no key. An unanswered item is false.",
        ),
        Column(
            name="p_stereotype",
            kind="float",
            nullable=True,
            doc="Probability of the stereotype-consistent option among the options, in [0, 1].",
        ),
        Column(
            name="p_anti_stereotype",
            kind="float",
            nullable=True,
            doc="Likewise for the anti-stereotypical option.",
        ),
        Column(name="p_unknown", kind="float", nullable=True, doc="Likewise for the unknown option."),
        Column(
            name="letter_mass",
            kind="float",
            nullable=True,
            doc="Probability that the model gives to the option letters among all tokens, in [0, 1].",
        ),
        Column(
            name="drawn_letter_mass",
            kind="float",
            nullable=True,
            doc="Probability, at the protocol's temperature and over the whole vocabulary, that the first token drawn "
            "is one of the option letters; missing for scored protocols.",
        ),
        Column(
            name="entropy",
            kind="float",
            nullable=True,
            doc="Shannon entropy of the options' probabilities in bits.",
        ),
        Column(
            name="margin",
            kind="float",
            nullable=True,
            doc="Highest minus second highest option probability, in [0, 1].",
        ),
        Column(
            name="text",
            kind="string",
            nullable=True,
            doc="Text of a generated answer: raw for a sampled answer, what the filter left for other tasks.",
        ),
        Column(name="doc_hash", kind="string", doc="lm-eval's hash of the document."),
        Column(name="prompt_hash", kind="string", doc="lm-eval's hash of the first prompt."),
        Column(name="target_hash", kind="string", doc="lm-eval's hash of the target."),
        Column(
            name="request_hash",
            kind="string",
            doc="sha256 of everything sent to the model for the item, every context and continuation, or the "
            "generation arguments: lm-eval's `arguments` as UTF-8 JSON with sorted keys and without spaces.",
        ),
    ),
)
