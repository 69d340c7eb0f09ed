"""What our models behind other engines share: tokens as `compressed_hf` has them, one prompt for an item's letters."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from lm_eval.api.model import TemplateLM
from tqdm import tqdm

from lm_eval_ext.contract.score import Bound
from lm_eval_ext.errors import UserError
from lm_eval_ext.models.engines.listed import Ask, Prompt, Step
from lm_eval_ext.models.engines.walk import Walk, differ_in_one
from lm_eval_ext.models.parts.fitting import counts_hold, must_fit
from lm_eval_ext.tokens.encoding import Encoding
from lm_eval_ext.tokens.rolling import rolling_windows

__all__ = ["ItemScoring", "Row"]

Row = tuple[tuple[str, str] | None, list[int], list[int]]


class ItemScoring(TemplateLM):
    """Scores continuations by lists of next tokens, or exactly where the engine scores prompts."""

    _encoding: Encoding
    exact = False
    """Whether the engine scores a prompt's tokens."""
    lists_all = False
    """Whether it lists any next token that is asked for."""
    engine = "an engine"
    """Its name, for messages."""
    reference: Any = None
    """Holds the letters against other weights, where that was asked for."""

    @abstractmethod
    def tell(self, asks: Sequence[Ask]) -> Iterable[list[Step]]:
        """The engine's answers, in the order of the questions."""

    @abstractmethod
    def scored(self, rows: Sequence[Row]) -> Iterable[tuple[float, bool]]:
        """Exact log-likelihoods; asked for only where `exact`."""

    def tok_encode(self, string: Any, add_special_tokens: bool | None = None, **kwargs: Any) -> Any:
        """Tokens of a text, or of several: with what the tokenizer puts before it, never twice, and nothing behind."""
        if not isinstance(string, str):
            return [self.tok_encode(one, add_special_tokens, **kwargs) for one in string]
        ids = self._encoding.text(string) if add_special_tokens is False else self._encoding.prompt(string)
        cut = kwargs.get("left_truncate_len")
        return ids[-cut:] if cut else ids

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Score requests, in their order.

        Returns:
            (log-likelihood, whether it is what the model says by itself) of each; a `Bound` where the engine lists the
            likeliest tokens alone and a letter of one of our tasks was not among them.

        Raises:
            UserError: If a prompt of our tasks is too long, a text can't be scored by this engine, or a bound would go
                to a task that takes it for a number.
        """
        rows = [self._row(*request.args) for request in requests]
        must_fit(requests, [len(before) + len(scored) for _, before, scored in rows], self.max_length)
        counts_hold(requests, rows)
        rows = [self._cut(row) for row in rows]
        answers = self._loglikelihood_tokens(rows, disable_tqdm=disable_tqdm)
        for request, (value, _) in zip(requests, answers, strict=True):
            if isinstance(value, Bound) and ("item" not in (request.doc or {}) or "option_tokens" in request.doc):
                raise UserError(
                    f"{request.task_name}: {request.args[1]!r} is not among the tokens that {self.engine} lists, and "
                    "it scores no prompts: its log-likelihood is not to be had; use a server that lists more, or echoes"
                )
        if self.reference is not None:
            self.reference.check(rows, answers)
        return answers

    def _loglikelihood_tokens(
        self, requests: Sequence[Row], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        """One question for all continuations of a prompt that differ in one token; the others exactly, if it can be."""
        groups: dict[tuple[tuple[int, ...], str], list[int]] = {}
        for number, (text, before, _) in enumerate(requests):
            groups.setdefault((tuple(before), _stripped(text)), []).append(number)
        answers: list[tuple[float, bool]] = [(math.nan, False)] * len(requests)
        walks: list[tuple[Walk, list[int]]] = []
        alone: list[int] = []
        for (start, prompt), numbers in groups.items():
            targets = [tuple(requests[number][2]) for number in numbers]
            if self.exact and not differ_in_one(targets):
                alone += numbers
            else:
                walks.append((Walk(Prompt(start, prompt), targets, self._spell), numbers))
        with tqdm(total=len(requests), disable=disable_tqdm, desc="Running loglikelihood requests") as progress:
            if alone:
                found = self.scored([requests[number] for number in alone])
                for number, answer in zip(alone, found, strict=True):
                    answers[number] = answer
                    progress.update()
            open_walks = walks
            while open_walks:
                asked = [(walk, walk.asks()) for walk, _ in open_walks]
                told = iter(self.tell([ask for _, asks in asked for ask in asks]))
                left = []
                for (walk, numbers), (_, asks) in zip(open_walks, asked, strict=True):
                    walk.answered([next(told) for _ in asks])
                    if walk.done:
                        progress.update(len(numbers))
                    else:
                        left.append((walk, numbers))
                open_walks = left
        for walk, numbers in walks:
            for number, answer in zip(numbers, walk.scores(), strict=True):
                answers[number] = answer
        missing = [number for number, (value, _) in enumerate(answers) if isinstance(value, Bound)]
        if missing and self.exact:
            for number, answer in zip(missing, self.scored([requests[n] for n in missing]), strict=True):
                answers[number] = answer
        for (text, _, _), answer in zip(requests, answers, strict=True):
            if text is not None:
                self.cache_hook.add_partial("loglikelihood", text, answer)
        return answers

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Log-likelihoods of whole documents; only where the engine scores prompts."""
        if not self.exact:
            raise UserError(
                f"{requests[0].task_name if requests else 'this task'} scores whole documents, and {self.engine} "
                "scores no prompts; run it with --model compressed_hf on the same weights"
            )
        windows: list[Row] = []
        owners: list[int] = []
        for number, request in enumerate(requests):
            start = list(self._encoding.first) or [self.prefix_token_id]
            tokens = self._encoding.text(request.args[0])
            tokens = tokens[len(start) :] if tokens[: len(start)] == start else tokens
            own = rolling_windows(start, tokens, self.max_length - 1, each=False)
            windows += [(None, *window) for window in own]
            owners += [number] * len(own)
            request.rolled = len(tokens)
        totals = [0.0] * len(requests)
        for owner, (value, _) in zip(owners, self.scored(windows), strict=True):
            totals[owner] += value
        return totals

    def _row(self, context: str, continuation: str) -> Row:
        if context:
            before, scored = self._encode_pair(context, continuation)
        else:
            before = list(self._encoding.first) or [self.prefix_token_id]
            scored = self._encoding.text(continuation)
            scored = scored[len(before) :] if scored[: len(before)] == before else scored
        if not scored:
            raise UserError(f"{continuation!r} has no token of its own behind {context[-20:]!r}; it can't be scored")
        return (context, continuation), before, scored

    def _cut(self, row: Row) -> Row:
        """A row that fits, cut from the left; of another's task, since ours are refused."""
        _, before, scored = row
        over = len(before) + len(scored) - self.max_length
        return (None, before[over:], scored) if 0 < over < len(before) else row

    def _spell(self, before: tuple[int, ...], token: int) -> str:
        """The text of a token behind others: some tokenizers leave out the space of a first word."""
        tail = list(before[-4:])
        start, whole = self.tokenizer.decode(tail), self.tokenizer.decode([*tail, token])
        return str(whole[len(start) :] if whole.startswith(start) else self.tokenizer.decode([token]))

    def encoding_facts(self) -> dict[str, Any]:
        """What was done with special tokens, for the results."""
        names = self.tokenizer.convert_ids_to_tokens
        return {
            "adds": bool(self._encoding.first or self._encoding.ends.last),
            "before": names(list(self._encoding.first)),
            "left_out": names(list(self._encoding.ends.last)),
        }


def _stripped(text: tuple[str, str] | None) -> str:
    """A prompt without the white space that is scored with its continuation."""
    return "" if text is None else text[0].rstrip()
