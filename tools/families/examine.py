"""All checks of one family."""

from __future__ import annotations

import logging

from tools.families.build import LEFT_OUT, tiny

__all__ = ["examine"]


def examine(family: str, only: tuple[str, ...] = ()) -> dict[str, tuple[str, str]]:
    """Every check of one family: status and detail by column; `build` alone where no tiny model can be made."""
    import torch
    import transformers

    from tests.helpers.tiny import tiny_tokenizer
    from tools.families.checks import CHECKS, run_check

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    if family in LEFT_OUT:
        return {"build": ("left out", LEFT_OUT[family])}
    try:
        model = tiny(family)
        ids = torch.arange(3, 43)[None]
        with torch.no_grad():
            first = model(input_ids=ids, use_cache=False).logits
            ids[0, -1] = 200
            second = model(input_ids=ids, use_cache=False).logits
    except Exception as error:  # families fail to be built in many ways; to the table they are one
        return {"build": ("not buildable", f"{type(error).__name__}: {' '.join(str(error).split())[:160]}")}
    causal = float((first[0, :-1] - second[0, :-1]).abs().max()) < 1e-3
    found = {"build": ("built", "" if causal else "reads later tokens")}
    for name, check in CHECKS.items():
        if not only or name in only:
            cell = run_check(check, family, tiny_tokenizer())
            found[name] = (cell.status, cell.detail)
    return found
