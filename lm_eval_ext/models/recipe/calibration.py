"""Calibration text as token ids: where it comes from, how it is cut, and a hash of what came out."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

import torch
from torch import Tensor

from lm_eval_ext.errors import UserError, seen
from lm_eval_ext.models.recipe.reading import read_text
from lm_eval_ext.models.recipe.recipe import Calibration
from lm_eval_ext.tokens.encoding import Encoding

__all__ = ["CalibrationRecord", "load_calibration", "refuse_unreadable"]

log = logging.getLogger(__name__)

DEFAULT_SEQLEN = 2048
LARGEST = 10**9
"""Bytes of a calibration file that are read; 128 samples of 2,048 tokens are about one million."""

_INSTEAD = "give the path of a .txt or .jsonl file, c4, wikitext or demo"
_C4 = ("allenai/c4", "en/c4-train.00000-of-01024.json.gz")
_WIKITEXT = ("Salesforce/wikitext", "wikitext-2-raw-v1")


@dataclass(frozen=True)
class CalibrationRecord:
    """What a data-driven method looked at, for the evidence."""

    source: str
    samples: int
    seqlen: int
    seed: int
    tokens: int
    shortest: int
    """Tokens of the shortest sample; equal to seqlen unless short samples were kept."""
    token_hash: str
    """sha256 over all samples' token ids, in order, as little-endian int64 with each sample's length before it."""

    def as_dict(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)


def load_calibration(
    calibration: Calibration, tokenizer: Any, max_length: int | None
) -> tuple[list[Tensor], CalibrationRecord]:
    """Draw the token sequences that a calibration describes.

    Args:
        calibration: Source, number, length and seed.
        tokenizer: The model's tokenizer.
        max_length: Positions that the model has, or None where it has no limit.

    Returns:
        `samples` tensors of token ids, each [1, seqlen] (int64), never padded; and the record of them. From c4 and
        .jsonl each sample is a random piece of another random document; from wikitext, demo and .txt a random piece
        of the one text.

    Raises:
        UserError: If the text is empty, too short, can't be read or can't be had, or seqlen exceeds the model.
    """
    seqlen = _length(calibration.seqlen, max_length)
    draw = random.Random(calibration.seed)
    encoding = Encoding(tokenizer)
    content = _c4_documents() if calibration.source == "c4" else _content(calibration.source)
    if isinstance(content, str):
        samples = _from_text(content, calibration, encoding, seqlen, draw)
    else:
        samples = _from_documents(content, calibration, encoding, seqlen, draw)
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(sample.shape[1].to_bytes(8, "little"))
        digest.update(sample.numpy().astype("<i8").tobytes())
    lengths = [sample.shape[1] for sample in samples]
    record = CalibrationRecord(
        source=calibration.source,
        samples=len(samples),
        seqlen=seqlen,
        seed=calibration.seed,
        tokens=sum(lengths),
        shortest=min(lengths),
        token_hash=digest.hexdigest(),
    )
    log.info(
        "calibration: %d samples, %d tokens of %s, token hash %s",
        *(asdict(record)[k] for k in ("samples", "tokens", "source", "token_hash")),
    )
    return samples, record


def refuse_unreadable(calibration: Calibration | None) -> None:
    """See that the text is there and can be read, before a model is loaded; None means the default, c4.

    Raises:
        UserError: As `load_calibration` does on a file or a hub; what depends on the tokenizer is seen there.
    """
    source = (calibration or Calibration()).source
    if source == "c4":
        _c4_file()
    else:
        _content(source)


def _content(source: str) -> str | list[str]:
    """One text, or documents."""
    return list(_jsonl(source)) if source.endswith(".jsonl") else _text(source)


def _length(seqlen: int | None, max_length: int | None) -> int:
    if seqlen is None:
        return min(DEFAULT_SEQLEN, max_length or DEFAULT_SEQLEN)
    if max_length is not None and seqlen > max_length:
        raise UserError(f"seqlen={seqlen} exceeds the model's {max_length} positions; give at most that")
    return seqlen


def _from_text(
    text: str, calibration: Calibration, encoding: Encoding, seqlen: int, draw: random.Random
) -> list[Tensor]:
    ids = encoding.prompt(text)
    name = calibration.source
    if len(ids) < seqlen:
        raise UserError(
            f"calibration={name} has {len(ids)} tokens, fewer than one sample of seqlen={seqlen}; give more text "
            "or a smaller seqlen"
        )
    asked = calibration.samples * seqlen
    if asked > len(ids):
        log.warning("calibration=%s has %d tokens for %d asked: its samples overlap", name, len(ids), asked)
    starts = [draw.randint(0, len(ids) - seqlen) for _ in range(calibration.samples)]
    return [torch.tensor([ids[start : start + seqlen]]) for start in starts]


def _from_documents(
    documents: Sequence[str], calibration: Calibration, encoding: Encoding, seqlen: int, draw: random.Random
) -> list[Tensor]:
    """Random pieces of random documents that are longer than a sample, each document used once."""
    order = list(range(len(documents)))
    draw.shuffle(order)
    samples: list[Tensor] = []
    short: list[list[int]] = []
    for index in order:
        ids = encoding.prompt(documents[index])
        if len(ids) >= seqlen:
            start = draw.randint(0, len(ids) - seqlen)
            samples.append(torch.tensor([ids[start : start + seqlen]]))
        elif len(ids) > 1:
            short.append(ids)
        if len(samples) == calibration.samples:
            return samples
    lacking = calibration.samples - len(samples)
    found = f"{len(samples)} of {len(documents)} documents have {seqlen} tokens"
    if calibration.short == "error" or lacking > len(short):
        longest = max((len(ids) for ids in short), default=0)
        shorter = f"; {len(short)} shorter ones have at most {longest}" if short else ""
        keep = ", or short=keep to take shorter documents whole" if lacking <= len(short) else ""
        raise UserError(
            f"calibration={calibration.source}: {found}, {calibration.samples} asked{shorter}; give a smaller seqlen "
            f"or samples, or more text{keep}"
        )
    log.warning("calibration=%s: %s; %d shorter ones are taken whole", calibration.source, found, lacking)
    short.sort(key=len, reverse=True)
    return samples + [torch.tensor([ids]) for ids in short[:lacking]]


def _text(source: str) -> str:
    if source == "demo":
        return (resources.files("lm_eval_ext") / "models" / "recipe" / "calibration_demo.txt").read_text(
            encoding="utf-8"
        )
    if source == "wikitext":
        return "\n\n".join(_wikitext())
    if not source.endswith(".txt"):
        raise UserError(
            f"calibration={seen(source)}: expected c4, wikitext, demo, or the path of a .txt or .jsonl file"
        )
    return read_text(source, "calibration file", LARGEST, _INSTEAD)


def _jsonl(source: str) -> Iterator[str]:
    # Not splitlines: a JSON string may hold other line separators (U+2028) as they are.
    for number, line in enumerate(read_text(source, "calibration file", LARGEST, _INSTEAD).split("\n"), 1):
        if not line.strip():
            continue
        where = f"calibration file {seen(source)}, line {number}"
        try:
            document = json.loads(line, object_pairs_hook=_once)
        except json.JSONDecodeError as error:
            raise UserError(f"{where}: not JSON ({error.msg})") from None
        except (ValueError, RecursionError) as error:  # a key twice, a number of thousands of digits, a deep nest
            raise UserError(f"{where}: {'nested too deep' if isinstance(error, RecursionError) else error}") from None
        value = document.get("text") if isinstance(document, dict) else document
        if not isinstance(value, str):
            raise UserError(f"{where}: expected an object with a string 'text'")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UserError(f"{where}: the text holds half a character (a lone surrogate)") from None
        yield value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object that has its text once."""
    if sum(key == "text" for key, _ in pairs) > 1:
        raise ValueError("key 'text' stands twice")
    return dict(pairs)


def _unreachable(source: str, error: Exception) -> UserError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UserError(
        f"calibration={source} can't be had from the hub ({reason}); use text at hand: calibration=FILE.txt, "
        "FILE.jsonl or demo"
    )


def _c4_file() -> str:
    from huggingface_hub import hf_hub_download

    try:
        path: str = hf_hub_download(_C4[0], _C4[1], repo_type="dataset")
    except Exception as error:
        raise _unreachable("c4", error) from None
    return path


def _c4_documents() -> list[str]:
    with gzip.open(_c4_file(), "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def _wikitext() -> list[str]:
    import datasets

    try:
        return list(datasets.load_dataset(*_WIKITEXT, split="train")["text"])
    except Exception as error:
        raise _unreachable("wikitext", error) from None
