"""Declarations of the tables of noise floors."""

from __future__ import annotations

from ...schema.columns import Table, ends, number, text
from ...schema.shared import (
    CONF_HIGH,
    CONF_LOW,
    KEYS,
    N_AT_RISK,
    N_CLUSTERS,
    N_EVENTS,
    N_ITEMS,
    N_LEFT_OUT,
    RATE,
    STATUS,
    TRANSITION,
)

__all__ = ["NOISE_FLOOR", "REPLICATES"]

_ITEMS = N_ITEMS.here("Both runs have them, with known roles.")
_LOG_ODDS = "Jackknife over templates, on the scale of log-odds."

NOISE_FLOOR = Table(
    name="noise_floor",
    doc="Transitions expected from the exact probabilities alone, if baseline and run were drawn independently, beside "
    "what the baseline shows against itself (the floor) and what the logs show.",
    columns=(
        *KEYS,
        TRANSITION.here("The first three of items, by their texts; the others of single texts that name an option."),
        text(
            "sampling",
            "How the logs' answers were got: common seeds (an unchanged model repeats its texts, so that what is "
            "observed has a floor of 0), other seeds, or scored (nothing was sampled; expected and floor are what "
            "texts sampled from the probabilities would show).",
        ),
        number("texts_per_item", "Texts per item that expected and floor are for."),
        _ITEMS,
        N_CLUSTERS,
        N_LEFT_OUT.here(
            "Of expected and floor: a run has no probabilities for the item, or (response_flip) several of its options "
            "lie on one axis.",
        ),
        number("floor", "Expected rate of the baseline against an independent repetition of itself; in [0, 1]."),
        number("expected", "Expected rate of the baseline against the run, drawn independently; in [0, 1]."),
        number("excess", "expected minus floor: what the change of probabilities adds."),
        *ends("excess", "Jackknife over templates."),
        N_AT_RISK.here("Of the logs: 0 for flips where the runs have other seeds."),
        N_EVENTS,
        number("observed", "n_events / n_at_risk; in [0, 1]."),
        *ends("observed", _LOG_ODDS),
        STATUS,
    ),
)

REPLICATES = Table(
    name="replicates",
    doc="The transitions between runs of one method and dose (other seeds, batch size, dtype): a floor from logs. Each "
    "direction of a pair has its row.",
    columns=(
        KEYS[0],
        text(
            "replicate_of",
            "The run that is taken as baseline: same base model, method, sparsity, bits and prompts; seeds may differ.",
        ),
        text("differs", "Columns of `runs` in which the two differ all the same, and 'seeds' if they share none."),
        *KEYS[2:],
        TRANSITION,
        _ITEMS,
        N_CLUSTERS,
        N_AT_RISK,
        N_EVENTS,
        RATE.here("n_events / n_at_risk."),
        CONF_LOW.here(_LOG_ODDS),
        CONF_HIGH,
        STATUS,
    ),
)
