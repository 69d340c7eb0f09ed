"""Declarations of the tables of noise floors."""

from __future__ import annotations

from ...schema.columns import Table, ends, number, text
from ...schema.shared import (
    CONF_HIGH,
    CONF_LOW,
    KEYS,
    N_AT_RISK,
    N_CLUSTERS,
    N_ITEMS,
    N_LEFT_OUT,
    RATE,
    SIGNED_EVENTS,
    STATUS,
    TRANSITION,
)

__all__ = ["NOISE_FLOOR", "REPLICATES"]

_ITEMS = N_ITEMS.here("Both runs have them, with known roles.")
_OR_REACH = "{}, by what one template may move at most (setting reach)."
_OBSERVED = "Jackknife over templates, on the scale of log-odds. " + _OR_REACH.format("A rate of 0 or 1, and nets")

NOISE_FLOOR = Table(
    name="noise_floor",
    doc="Transitions expected from the exact probabilities alone, if baseline and run were drawn independently, beside "
    "what the baseline shows against itself; and what the logs show, beside its own floor.",
    columns=(
        *KEYS,
        TRANSITION.here(
            "Of items, by their texts; flips and net_flips of single texts that name an option. With several texts an "
            "item, net_bias also answers to probabilities that become more even; net_flips does not."
        ),
        text(
            "sampling",
            "How the logs' answers were got: common seeds (an unchanged model repeats its texts), other seeds, or "
            "scored (nothing was sampled; expected and floor_independent are what texts sampled from the probabilities "
            "would show).",
        ),
        number("texts_per_item", "Texts per item that expected and floor_independent are for."),
        _ITEMS,
        N_CLUSTERS,
        N_LEFT_OUT.here(
            "Of expected and floor_independent: a run has no probabilities for the item, or (response_flip) several of "
            "its options lie on one axis.",
        ),
        number(
            "floor_independent",
            "Expected rate of the baseline against an independent repetition of itself; in [0, 1]. Of nets 0, as the "
            "two are exchangeable.",
        ),
        number("expected", "Expected rate of the baseline against the run, drawn independently; of nets in [-1, 1]."),
        number("excess", "expected minus floor_independent: what the change of probabilities adds."),
        *ends("excess", f"Jackknife over templates. {_OR_REACH.format('Where no template changed')}"),
        N_AT_RISK.here("Of the logs: 0 for flips where the runs have other seeds."),
        SIGNED_EVENTS,
        number("observed", "n_events / n_at_risk; of nets in [-1, 1]."),
        *ends("observed", _OBSERVED),
        number(
            "floor",
            "What observed would be, on average, had nothing changed. Common seeds and scored: 0, as an unchanged "
            "model repeats its answers. Other seeds: floor_independent.",
        ),
        STATUS,
    ),
)

REPLICATES = Table(
    name="replicates",
    doc="The transitions between runs of one method and dose (other seeds, batch size, dtype, threads, engine): floors "
    "from logs, each by what differs. Each direction of a pair has its row.",
    columns=(
        KEYS[0],
        text(
            "replicate_of",
            "The run that is taken as baseline: same base model, method, sparsity, bits and prompts; seeds may differ.",
        ),
        text(
            "floor",
            "What kind of floor it is, by what differs: engine, version, dtype, batch size, batch invariance, threads, "
            "devices, calibration, seeds; several joined by ' + ', repeat where nothing differs.",
        ),
        text("differs", "Columns of `runs` in which the two differ all the same, and 'seeds' if they share none."),
        *KEYS[2:],
        TRANSITION,
        _ITEMS,
        N_CLUSTERS,
        N_AT_RISK,
        SIGNED_EVENTS,
        RATE.here("n_events / n_at_risk; of nets in [-1, 1]."),
        CONF_LOW.here(_OBSERVED),
        CONF_HIGH,
        STATUS,
    ),
)
