"""lm_eval's Hugging Face model with the tokens that should reach it, and nothing cut off without a word."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tqdm import tqdm

from lm_eval_ext.errors import UserError, unknown_name
from lm_eval_ext.models.hf.distributions import Keeper, Kept
from lm_eval_ext.models.parts.fitting import counts_hold, must_fit
from lm_eval_ext.tokens.encoding import Encoding
from lm_eval_ext.tokens.positions import model_positions, position_table
from lm_eval_ext.tokens.rolling import rolling_windows

__all__ = ["ROLLING", "EncodedHFLM"]

log = logging.getLogger(__name__)

ROLLING = ("once", "each", "hf")
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")

Row = tuple[tuple[str, str] | None, list[int], list[int]]


class EncodedHFLM(HFLM):
    """HFLM, except for what a tokenizer adds at the ends of a text, and for the model's length.

    Causal models: what the tokenizer adds before a text is there once, what it adds behind is left out. Encoders get
    both, decoders neither. Documents are scored behind what the tokenizer adds before a text, in their first window
    (`rolling_bos="once"`) or in every one ("each"); "hf" scores them as HFLM does.
    """

    _encoding: Encoding
    _keeper: Keeper | None = None
    """Listens while a document is scored whose distributions are to be kept."""

    def __init__(self, *args: Any, rolling_bos: str = "once", **kwargs: Any) -> None:
        """As HFLM's, with `rolling_bos`.

        Raises:
            UserError: On an unknown `rolling_bos`; where what the tokenizer adds can't be told; if max_length is more
                than the model has positions for.
        """
        if rolling_bos not in ROLLING:
            raise unknown_name("rolling_bos", str(rolling_bos), list(ROLLING))
        self._rolling_bos = rolling_bos
        super().__init__(*args, **kwargs)
        table = position_table(self.model)
        if self._max_length and table is not None and self._max_length > table:
            raise UserError(f"max_length={self._max_length}, but this model holds {table} positions; give at most that")

    def _create_tokenizer(self, *args: Any, add_bos_token: bool | None = None, **kwargs: Any) -> None:
        """Make the tokenizer, and find out what it adds before the model is loaded."""
        # Loaded with add_bos_token, a tokenizer forgets the EOS that it adds, which an encoder's input ends with.
        asked = add_bos_token if self.backend == "causal" else None
        super()._create_tokenizer(*args, add_bos_token=asked, **kwargs)
        self._encoding = Encoding(self.tokenizer, add_bos_token)
        if self._encoding.ends.last and self.backend == "causal":
            added = self.tokenizer.decode(list(self._encoding.ends.last))
            log.warning("the tokenizer adds %s behind every text; it is left out, so that prompts stay open", added)

    @property
    def max_length(self) -> int:
        """Most tokens that go into the model: the argument, what the model has, or HFLM's guess where it has none."""
        if self._max_length:
            return int(self._max_length)
        found = model_positions(self.model)
        if found is not None:
            return found
        guessed = int(super().max_length)
        return guessed if guessed > 0 else self._DEFAULT_MAX_LENGTH  # XLNet's config says -1 for no limit

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,
        left_truncate_len: int | None = None,
        **kwargs: Any,
    ) -> list[int]:
        """Tokens of a text: from its beginning, or (add_special_tokens=False) its own alone."""
        if add_special_tokens is False:
            ids = self._encoding.text(string)
        else:
            ids = self._encoding.prompt(string, closed=self.backend == "seq2seq")
        return ids[-left_truncate_len:] if left_truncate_len else ids

    def tok_batch_encode(
        self,
        strings: list[str],
        padding_side: str = "left",
        left_truncate_len: int | None = None,
        truncation: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded tokens of several texts, each as `tok_encode` has it, and their attention mask, [texts, longest]."""
        rows = [self.tok_encode(string) for string in strings]
        if truncation:
            most = self.tokenizer.model_max_length
            left = self.tokenizer.truncation_side == "left"
            rows = [ids[max(0, len(ids) - most) :] if left else ids[:most] for ids in rows]
        padded = self.tokenizer.pad(
            {"input_ids": rows}, padding="longest", padding_side=padding_side, return_tensors="pt"
        )
        ids, mask = padded["input_ids"].long(), padded["attention_mask"].long()
        return (ids[:, -left_truncate_len:], mask[:, -left_truncate_len:]) if left_truncate_len else (ids, mask)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Score requests; prompts of our tasks must fit, those of others are cut from the left, with one warning.

        Raises:
            UserError: If a prompt of our tasks is too long, a continuation has no tokens of its own, or an option has
                other tokens than its document says (`option_tokens`).
        """
        if self.enable_thinking:
            refused: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm)  # raises
            return refused
        hidden = disable_tqdm or self.rank != 0
        rows = [self._row(*request.args) for request in tqdm(requests, desc="Tokenizing inputs", disable=hidden)]
        must_fit(requests, [self._length(row) for row in rows], self.max_length)
        counts_hold(requests, rows)
        rows = [self._cut(row) for row in rows]
        answers: list[tuple[float, bool]] = self._loglikelihood_tokens(rows, disable_tqdm=disable_tqdm)
        return answers

    def must_generate(self, requests: Sequence[Instance]) -> None:
        """See that prompts leave room for their answers: an error for our tasks, one warning for others.

        Raises:
            UserError: If a prompt of our tasks is too long for its answer to follow.
        """
        rooms = [self._room(request.args[1]) for request in requests]
        widest = max(rooms, default=0)
        lengths: dict[str, int] = {}
        for context in {request.args[0] for request in requests}:
            # A token is a byte at least: most prompts need not be encoded to see that they fit.
            most = len(context.encode("utf-8", "surrogatepass")) + len(self._encoding.first) + 1
            lengths[context] = most if most + widest <= self.max_length else len(self.tok_encode(context))
        needed = [lengths[request.args[0]] + room for request, room in zip(requests, rooms, strict=True)]
        must_fit(requests, needed, self.max_length)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Log-likelihoods of whole documents, each token scored once, what the tokenizer adds not at all.

        Each request gets an attribute `rolled`, the number of tokens that were scored; and where it has an attribute
        `keep`, k of `Kept`, one `kept`, what its log holds of the tokens' distributions.
        """
        size = self._detect_batch_size() if self.batch_size == "auto" else int(self.batch_size)
        windows: list[Row] = []
        owners: list[int] = []
        kept: list[tuple[Instance, Kept]] = []
        for number, request in enumerate(requests):
            prefix, tokens = self._document(*request.args)
            each = self._rolling_bos == "each" and bool(self._encoding.first)
            own = rolling_windows(prefix, tokens, self.max_length, each=each)
            windows += [(None, *window) for window in own]
            owners += [number] * len(own)
            request.rolled = len(tokens)
            if getattr(request, "keep", 0) and self.backend == "causal":
                kept.append((request, Kept([(context + scored[:-1], scored) for context, scored in own], request.keep)))
        self._keeper = Keeper([document for _, document in kept]) if kept else None
        totals = [0.0] * len(requests)
        hidden = disable_tqdm or self.rank != 0
        with tqdm(total=len(windows), disable=hidden, desc="Running loglikelihood_rolling requests") as progress:
            for start in range(0, len(windows), size):
                batch = windows[start : start + size]
                values = self._loglikelihood_tokens(batch, disable_tqdm=True, override_bs=len(batch))
                for owner, (value, _) in zip(owners[start : start + size], values, strict=True):
                    totals[owner] += value
                progress.update(len(batch))
        self._keeper = None
        for request, document in kept:
            request.kept = document.record()
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def _model_call(self, inps: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self._keeper is not None:
            self._keeper.called(inps)
        logits: torch.Tensor = super()._model_call(inps, *args, **kwargs)
        return logits

    def _select_cont_toks(
        self, logits: torch.Tensor, contlen: int | None = None, inplen: int | None = None
    ) -> torch.Tensor:
        rows: torch.Tensor = super()._select_cont_toks(logits, contlen=contlen, inplen=inplen)
        if self._keeper is not None and inplen is not None:
            self._keeper.scored(rows, len(logits), inplen)
        return rows

    def encoding_facts(self) -> dict[str, Any]:
        """What was done with special tokens, for the results."""
        names = self.tokenizer.convert_ids_to_tokens
        closed = self.backend == "seq2seq"
        return {
            "adds": bool(self._encoding.first or self._encoding.ends.last),
            "before": names(list(self._encoding.first)),
            "behind": names(list(self._encoding.ends.last)) if closed else [],
            "left_out": [] if closed else names(list(self._encoding.ends.last)),
            "rolling_bos": self._rolling_bos,
        }

    def _row(self, context: str, continuation: str) -> Row:
        if context:
            before, scored = self._encode_pair(context, continuation)
        else:
            before, scored = self._start(), self._encoding.text(continuation)
            if scored[: len(before)] == before:
                scored = scored[len(before) :]
        if not scored:
            raise UserError(f"{continuation!r} has no token of its own behind {context[-20:]!r}; it can't be scored")
        return (context, continuation), before, scored

    def _room(self, arguments: dict[str, Any]) -> int:
        """Tokens that an answer may take of the model's length."""
        asked = next((arguments[key] for key in _LENGTHS if key in arguments), self.max_gen_toks)
        return asked if isinstance(asked, int) and self.backend == "causal" else 0

    def _cut(self, row: Row) -> Row:
        """A row that fits, cut from the left; lm_eval warns of each one that it cuts itself."""
        text, before, scored = row
        over = self._length(row) - self.max_length
        return (text, before[over:], scored) if 0 < over < len(before) else row

    def _length(self, row: Row) -> int:
        _, before, scored = row
        # The last token is predicted, not read.
        return len(before) + len(scored) - 1 if self.backend == "causal" else max(len(before), len(scored))

    def _start(self) -> list[int]:
        """What a text without a context is conditioned on: what the tokenizer adds, or BOS, or EOS."""
        if self.custom_prefix_token_id is None and self._encoding.first:
            return list(self._encoding.first)
        return [self.prefix_token_id]

    def _document(self, text: str) -> tuple[list[int], list[int]]:
        """What stands before a document, and its tokens that are scored."""
        if self._rolling_bos == "hf":
            return [self.prefix_token_id], HFLM.tok_encode(self, text)
        start, tokens = self._start(), self._encoding.text(text)
        return start, tokens[len(start) :] if tokens[: len(start)] == start else tokens
