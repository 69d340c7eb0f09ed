"""Declarations of the tables of distances between distributions."""

from __future__ import annotations

from ...schema.columns import Table, count, ends, number
from ...schema.shared import BASELINE, KEYS, N_CLUSTERS, N_ITEMS, RUN, STATUS, TASK, UNIT

__all__ = ["DISTANCES", "FAR", "TEXT_DIVERGENCE"]

FAR = 0.1
"""Total variation from which on an item counts as moved far: ten points of probability went to another option."""

_BOUNDED = "Templates, with a bound where none moved; rests on the setting reach."
_JACKKNIFE = "Jackknife over templates; never below 0. Missing where nothing moved: no bound is known."

KL = number("kl", "KL(baseline || run) = sum p_baseline log(p_baseline / p) in nats; at least 0.")
SAME_TOP_RATE = number("same_top_rate", "Share whose most probable outcome is the baseline's; in [0, 1].")

DISTANCES = Table(
    name="distances",
    doc="How far the options' probabilities lie from the baseline's, item by item, whichever option was chosen. "
    "Exploratory: in no verdict, and not corrected for the number of rows. See docs/distances.md.",
    columns=(
        *KEYS,
        N_ITEMS.here("With probabilities in both runs; a sampled item counts once."),
        N_CLUSTERS,
        number(
            "tv",
            "Mean total variation, half the sum of |p - p_baseline| over the options; in [0, 1]. No answer's chance "
            "moved by more on the average item.",
        ),
        *ends("tv", _BOUNDED),
        number("js", "Mean Jensen-Shannon divergence in nats; in [0, log 2 = 0.693]."),
        *ends("js", _BOUNDED),
        KL.here("Mean over the items where it is finite."),
        *ends("kl", _JACKKNIFE),
        count("n_infinite", "Items of infinite KL: an option with probability 0 in the run. tv and js have them too."),
        number("far_rate", f"Share of the items whose total variation is above {FAR:g}."),
        SAME_TOP_RATE.here("Of the items, their options."),
        STATUS,
    ),
)

TEXT_DIVERGENCE = Table(
    name="text_divergence",
    doc="KL(baseline || run) over the whole vocabulary at every token of text_perplexity's documents, estimated from "
    "the tokens that compressed_hf logs. Exploratory: in no verdict. See docs/distances.md.",
    columns=(
        RUN,
        BASELINE,
        TASK,
        count("n_tokens", "Tokens whose distribution both runs logged."),
        UNIT.here("document, or window where there are fewer than 10 documents."),
        count("n_units", "Such units."),
        KL.here("Mean over the tokens. Unbiased, with the error of what was not logged."),
        *ends("kl", "Jackknife over units; holds the error of sampling tokens too. Never below 0."),
        number(
            "kl_at_least",
            "A bound that the mean divergence on these tokens can't be below: unlogged tokens as one, by the "
            "data-processing inequality.",
        ),
        number("kl_median", "Median divergence over the tokens, in nats."),
        number("kl_p99", "99th percentile over the tokens, in nats."),
        SAME_TOP_RATE.here("Of the tokens, their successors."),
        *ends("same_top_rate", "Units, with a bound where all agree; rests on the setting reach."),
        number("perplexity_ratio", "Token perplexity of the run over that of the baseline, on these tokens."),
        *ends("perplexity_ratio", "Jackknife over units, of the logarithm."),
        number("kept", "Tokens of the vocabulary that a run logged of each distribution, on average of both runs."),
        STATUS,
    ),
)
