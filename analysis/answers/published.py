"""The published names of axes: what a benchmark calls the roles that lie on each."""

from __future__ import annotations

import pandas as pd

from ..schema.schemes import AXES, UNDETERMINED, scheme_of
from .answers import STATES, Answers

__all__ = ["published_states"]


def published_states(answers: Answers) -> dict[tuple[str, str], str]:
    """The benchmark's own name of each state (STATES) that answers to a task can be in, by task and state.

    An axis has the names of its roles, joined by "|" in the scheme's order, or its own where answers lie on it that
    the scheme does not name; what is no axis keeps its name. Left out are axes without a role, and `undetermined` in a
    scheme whose roles all lie on an axis.
    """
    out: dict[tuple[str, str], str] = {}
    seen = pd.DataFrame(
        {"task": answers.items["task"].to_numpy()[answers.rows["item"]], "state": answers.rows["state"]}
    )
    for task, texts in answers.items.groupby("task", sort=False)["scheme"]:
        schemes = [scheme_of(str(text)) for text in texts.dropna().unique()]
        for state in (*AXES, UNDETERMINED):
            roles = dict.fromkeys(role for scheme in schemes for role in scheme.roles(state))
            if roles:
                out[str(task), state] = "|".join(roles)
        out |= {(str(task), state): state for state in STATES if state not in (*AXES, UNDETERMINED)}
    for task, state in seen.drop_duplicates().itertuples(index=False):
        out.setdefault((str(task), STATES[state]), STATES[state])
    return out
