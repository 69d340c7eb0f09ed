"""Whether a server draws by the seeds that it is sent: tried, since no answer says so."""

from __future__ import annotations

import logging

from lm_eval_ext.errors import UserError
from lm_eval_ext.models.engines.listed import Prompt
from lm_eval_ext.models.engines.server import Server

__all__ = ["settle_seeds"]

log = logging.getLogger(__name__)
_TOKENS = 24
_HOT = 1.5
"""At this temperature two seeds give the same 24 tokens only where the seed has no say."""


def settle_seeds(server: Server, prompt: Prompt, temperature: float) -> str | None:
    """Draw with one seed twice and with another.

    Args:
        server: The server.
        prompt: What is gone on from.
        temperature: Of the texts that are to come.

    Returns:
        "engine" if a seed's text comes again; None if it does not, with a warning.

    Raises:
        UserError: If another seed gives the same text, so that all texts of an item would be one.
    """
    if temperature == 0:
        return "engine"
    drawn = [
        server.text(prompt, {"seed": seed, "temperature": _HOT, "max_tokens": _TOKENS, "stop": []})
        for seed in (11, 11, 12)
    ]
    if drawn[0] == drawn[2] and drawn[0] == drawn[1]:
        raise UserError(
            f"the {server.name} server gives the same text to two seeds ({drawn[0][:30]!r}), so all texts of an item "
            "would be one; use a server that takes `seed`, or score the letters (bbq_itemlevel)"
        )
    if drawn[0] != drawn[1]:
        log.warning("the %s server gives another text to the same seed: these texts can't be drawn again", server.name)
        return None
    return "engine"
