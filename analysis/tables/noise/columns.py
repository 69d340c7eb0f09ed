"""Declarations of the tables of noise floors."""

from __future__ import annotations

from ...schema.columns import Table, count, number, text
from ...schema.shared import KEYS

__all__ = ["NOISE_FLOOR", "REPLICATES"]

_STATUS = text("status", "'ok', or why the row holds no or only part of a result.")

NOISE_FLOOR = Table(
    name="noise_floor",
    doc="Transitions expected from the exact probabilities alone, if baseline and run were drawn independently, beside "
    "what the baseline shows against itself (the floor) and what the logs show.",
    columns=(
        *KEYS,
        text(
            "transition",
            "new_bias, resolved_bias, srs_change (of items, by their texts), flip_to_stereotype, "
            "flip_from_stereotype, response_flip (of single texts that name an option).",
        ),
        text(
            "sampling",
            "How the logs' answers were got: common seeds (an unchanged model repeats its texts, so that what is "
            "observed has a floor of 0), other seeds, or scored (nothing was sampled; expected and floor are what "
            "texts sampled from the probabilities would show).",
        ),
        number("texts_per_item", "Texts per item that expected and floor are for."),
        count("n_items", "Items that both runs have and whose direction is told."),
        count("n_clusters", "Templates that they form."),
        count(
            "n_unscored",
            "Items left out of expected and floor: a run has no probabilities for them, or (response_flip) several of "
            "their options lie on one axis.",
        ),
        number("floor", "Expected rate of the baseline against an independent repetition of itself; in [0, 1]."),
        number("expected", "Expected rate of the baseline against the run, drawn independently; in [0, 1]."),
        number("excess", "expected minus floor: what the change of probabilities adds."),
        number("excess_low", "Lower end of its interval: jackknife over templates."),
        number("excess_high", "Upper end."),
        count(
            "n_at_risk",
            "Items of the logs that could make the transition, or pairs of answers with one seed: 0 for flips where "
            "the runs have other seeds.",
        ),
        count("n", "Those that made it."),
        number("observed", "n / n_at_risk."),
        number("observed_low", "Lower end of its interval: jackknife over templates, on the scale of log-odds."),
        number("observed_high", "Upper end."),
        _STATUS,
    ),
)

REPLICATES = Table(
    name="replicates",
    doc="The transitions between runs that differ in nothing that compresses (other seeds, batch size, dtype, "
    "calibration): a floor from logs. Each direction of a pair has its row.",
    columns=(
        KEYS[0],
        text(
            "replicate_of",
            "The run that is taken as baseline: same base model, method, sparsity, bits, prompts and recipe (but for "
            "its seed).",
        ),
        text("differs", "Columns of `runs` in which the two differ all the same, and 'seeds' if they share none."),
        *KEYS[2:],
        text("transition", "As in noise_floor."),
        count("n_items", "Items that both runs have and whose direction is told."),
        count("n_clusters", "Templates that they form."),
        count("n_at_risk", "Items, or pairs of answers with one seed, that could make the transition."),
        count("n", "Those that made it."),
        number("rate", "n / n_at_risk; in [0, 1]."),
        number("conf_low", "Lower end of its interval: jackknife over templates, on the scale of log-odds."),
        number("conf_high", "Upper end."),
        _STATUS,
    ),
)
