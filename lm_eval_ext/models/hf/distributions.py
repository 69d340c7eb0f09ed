"""A few entries of each token's distribution, chosen so that two runs of one text choose the same.

All log-probabilities of a text are too many to keep: a vocabulary of 128,000 tokens takes half a megabyte a token. One
token of it is kept with the chance min(1, k p), p its probability: the likely ones always, of the others a sample.
What decides is one number u in [0, 1) for each position and token, the same in every run: kept is where u < k p. So two
runs whose probabilities are alike keep the same entries, and each knows with which chance the other's was kept. A sum
over the whole vocabulary then has an unbiased estimate (Horvitz and Thompson 1952, with the permanent random numbers of
Brewer, Early and Joyce 1972). `analysis.inference.divergence` makes it. At most k entries a token are expected, fewer
where the model is sure.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["VERSION", "Keeper", "Kept", "uniforms"]

VERSION = 1
"""Of what is written, and of the rule by which entries are chosen."""
GRID = 23
"""Bits of the numbers: sums of two are exact in float32, so that every device decides alike."""
_ROWS = 64
"""Positions that are looked at together: [_ROWS, vocabulary] numbers are in memory a few times."""

Window = tuple[Sequence[int], Sequence[int]]
"""What goes into the model, and the tokens that are scored, whose last is not among it."""


def uniforms(start: int, count: int) -> npt.NDArray[np.float32]:
    """Numbers of a place on, evenly spread over [0, 1) in steps of 2^-GRID (Steele et al. 2014, SplitMix64)."""
    mask = (1 << 64) - 1
    with np.errstate(over="ignore"):
        x = np.uint64(start & mask) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(64 - GRID)).astype(np.float32) / np.float32(1 << GRID)


@dataclass
class _Part:
    """What was kept of the tokens of one window."""

    chosen: npt.NDArray[np.float32]
    """[tokens] log-probability of the text's own token."""
    top: npt.NDArray[np.uint32]
    """[tokens] the most probable token of the vocabulary."""
    counts: npt.NDArray[np.uint32]
    """[tokens] entries kept."""
    ids: npt.NDArray[np.uint32]
    """[entries] token of the vocabulary, ascending within a position."""
    values: npt.NDArray[np.float32]
    """[entries] its log-probability."""


@dataclass
class Kept:
    """What is kept of one document."""

    windows: list[Window]
    k: int
    parts: dict[int, _Part] = field(default_factory=dict)
    """By window."""
    vocabulary: int = 0
    broken: bool = False
    """Whether a position has no distribution (NaN)."""

    def __post_init__(self) -> None:
        """Hash what the model reads, and lay the positions of its windows one behind the other."""
        read = hashlib.sha256()
        for inputs, scored in self.windows:
            read.update(np.array([len(inputs), len(scored), *inputs, *scored], dtype="<i8").tobytes())
        self.read = read.hexdigest()
        """Of the tokens of all windows: two runs with the same were asked for the same distributions."""
        self.starts = np.concatenate([[0], np.cumsum([len(scored) for _, scored in self.windows])]).astype(int)

    def record(self) -> dict[str, Any] | None:
        """What goes into the log; None unless every window was seen and has distributions."""
        if self.broken or len(self.parts) < len(self.windows) or not self.windows:
            return None
        parts = [self.parts[place] for place in range(len(self.windows))]
        ids = [_steps(part) for part in parts]
        columns = [
            np.concatenate([part.chosen for part in parts]),
            np.concatenate([part.top for part in parts]),
            np.concatenate([part.counts for part in parts]),
            np.concatenate(ids),
            np.concatenate([part.values for part in parts]),
        ]
        packed = zlib.compress(b"".join(map(_planes, columns)), 1)
        return {
            "version": VERSION,
            "k": self.k,
            "vocabulary": self.vocabulary,
            "read": self.read,
            "windows": [len(scored) for _, scored in self.windows],
            "entries": sum(len(part.ids) for part in parts),
            "data": base64.b64encode(packed).decode("ascii"),
        }


def _steps(part: _Part) -> npt.NDArray[np.uint32]:
    """Ids as steps from the one before, which are small; the first of a position as it is."""
    out = np.diff(part.ids.astype(np.int64), prepend=0)
    first = np.concatenate([[0], np.cumsum(part.counts)[:-1]]).astype(int)
    out[first] = part.ids[first]
    return out.astype(np.uint32)


def _planes(column: npt.NDArray[Any]) -> bytes:
    """Little-endian, all first bytes, then all second ones: what is alike lies together."""
    flat = column.astype(column.dtype.newbyteorder("<")).view(np.uint8)
    return flat.reshape(-1, column.dtype.itemsize).T.tobytes()


class Keeper:
    """Listens to the scoring of windows, and keeps of their distributions what `Kept` holds."""

    def __init__(self, documents: Sequence[Kept]) -> None:
        """Listen for the windows of some documents."""
        self._wanted: dict[tuple[int, ...], list[tuple[Kept, int]]] = {}
        for document in documents:
            for place, (inputs, _) in enumerate(document.windows):
                self._wanted.setdefault(tuple(inputs), []).append((document, place))
        self._inputs: Tensor | None = None
        self._row = 0
        self._tokens: Tensor | None = None

    def called(self, inputs: Tensor) -> None:
        """The model is called with a batch, [rows, longest], padded on the right."""
        self._inputs, self._row = inputs, 0

    def scored(self, rows: Tensor, padded: int, length: int) -> None:
        """The log-probabilities of the next row of the batch.

        Args:
            rows: [scored tokens, vocabulary].
            padded: Positions that the model gave for the row, with virtual tokens and padding.
            length: Those among them before the padding.
        """
        if self._inputs is None or self._row >= len(self._inputs):
            return
        own = self._inputs[self._row]
        self._row += 1
        length -= padded - len(own)  # virtual tokens stand before what was given
        for document, place in self._wanted.get(tuple(own[:length].tolist()), ()):
            self._keep(document, place, rows)

    @torch.no_grad()
    def _keep(self, document: Kept, place: int, rows: Tensor) -> None:
        scored = document.windows[place][1]
        rows = rows[-len(scored) :]
        vocabulary = document.vocabulary = rows.shape[1]
        if self._tokens is None or len(self._tokens) != vocabulary:
            self._tokens = torch.from_numpy(uniforms(0, vocabulary)).to(rows.device)
        start = int(document.starts[place])
        at = torch.from_numpy(uniforms(int(document.read[:16], 16), start + len(scored))[start:])
        parts = [
            _kept(rows[n : n + _ROWS], self._tokens, at[n : n + _ROWS].to(rows.device), document.k)
            for n in range(0, len(scored), _ROWS)
        ]
        top, counts, ids, values, largest = (torch.cat(found).cpu() for found in zip(*parts, strict=True))
        chosen = rows.gather(1, torch.tensor(scored, device=rows.device)[:, None])[:, 0].float().cpu()
        document.broken |= bool(torch.isnan(largest).any())
        document.parts[place] = _Part(
            chosen.numpy(),
            top.numpy().astype(np.uint32),
            counts.numpy().astype(np.uint32),
            ids.numpy().astype(np.uint32),
            values.numpy(),
        )


def _kept(rows: Tensor, tokens: Tensor, at: Tensor, k: int) -> tuple[Tensor, ...]:
    """Of some positions: the top token, entries kept, their tokens and values, and the largest value (NaN with one)."""
    values = rows.float()
    largest, top = values.max(dim=1)
    u = tokens[None, :] + at[:, None]
    keep = u - (u >= 1).to(u.dtype) < k * values.exp()
    keep.scatter_(1, top[:, None], True)  # the top one always
    ids = keep.nonzero()[:, 1]
    return top, keep.sum(dim=1), ids, values[keep], largest
