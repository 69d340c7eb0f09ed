"""Columns that several tables hold: one name, one meaning. A table adds what is particular to it by `here`."""

from __future__ import annotations

from .columns import Column, count, ends, flag, number, text

RUN = text("run", "Label of the run, unique within one analysis.")
BASELINE = text("baseline", "Label of the run it is compared with.")
OWN_BASELINE = BASELINE.here("Missing for a baseline.", nullable=True)
BASE_MODEL = text("base_model", "Name or path of the model before compression.")
METHOD = text("method", "Compression method, 'none' for an uncompressed run.")
SPARSITY = number(
    "sparsity",
    "Share of zeros in the pruned matrices that holds at the end, in [0, 1): the one asked for, or the one measured "
    "where it differs by half a point or weights came back. Missing without pruning.",
)

FILE = text("file", "File that it is about, relative to the analysed folder.")

TASK = text("task", "lm-eval task name.")
FILTER = text("filter", "lm-eval filter of the answer; 'none' where there is none.")
CONDITION = text("condition", "ambig or disambig; 'none' where the benchmark has no such split.")
CATEGORY = text("category", "Category of the items, or 'all' for all of the task's items pooled.")
SUBSET = text("subset", "all, or latent: only items whose baseline item SRS is at least 0.2.")
KEYS: tuple[Column, ...] = (RUN, BASELINE, TASK, FILTER, CONDITION, CATEGORY)
"""What names a comparison in a table."""

ROLE_BASELINE = text("role_baseline", "Role of the baseline's answer, as the benchmark names it.")
AXIS_BASELINE = text("axis_baseline", "Axis of that role: toward, against, neutral, off, undetermined.")

OUTCOME = text("outcome", "What is counted as yes; anything else is no.")
TRANSITION = text(
    "transition",
    "new_bias (item SRS 0 at baseline, above 0 after), resolved_bias (above 0, then 0), srs_change (item SRS differs), "
    "flip_to_stereotype (another axis, then toward the stereotype), flip_from_stereotype (the reverse), response_flip "
    "(another option); net_bias (new minus resolved bias) and net_flips (flips to minus flips from the stereotype), 0 "
    "where answers change without direction.",
)
METRIC = text("metric", "Metric under lm_eval's name.")
UNIT = text("unit", "What counts as one, and is taken as independent of the others.")
TEST = text("test", "Name of the test.")
TERM = text("term", "Term of the model.")
MODEL = text(
    "model",
    "gee: population-averaged, robust to clusters; firth: penalised, which knows no clusters; none.",
)
REFERENCE = text("reference", "Reference levels that the terms are set against.")
STATUS = text("status", "'ok', or why the row holds no or only part of a result.")
VERDICT = text("verdict", "What the numbers of the row say, in a word.")

N = count("n", "Answers, or pairs of one item and seed's answers, that the row is about: what its rates are shares of.")
N_BASELINE = count("n_baseline", "The baseline's answers that the row is about.")
N_ITEMS = count("n_items", "Items that the row is about.")
N_CLUSTERS = count("n_clusters", "Templates that the row's items were made from: the unit of independence.")
N_RUNS = count("n_runs", "Runs in the row.")
N_CATEGORIES = count("n_categories", "Categories in the row.")
N_DOSES = count("n_doses", "Different doses with a record.")
N_AT_RISK = count("n_at_risk", "Items or answers that could make the transition.")
N_EVENTS = count("n_events", "Of those counted, those with the outcome or transition.")
SIGNED_EVENTS = N_EVENTS.here(
    "net_bias, net_flips: those in one direction minus those in the other, so perhaps negative."
)
NETS = ("net_bias", "net_flips")
"""Transitions that are a difference of two directions."""
N_FLIPS = count("n_flips", "Of the pairs, those that flip.")
N_LEFT_OUT = count("n_left_out", "Items or lines that the row leaves out.")
N_LOST = count("n_lost", "Yes at baseline, no after compression.")
N_GAINED = count("n_gained", "No at baseline, yes after compression.")

VALUE = number("value", "What the row measures.")
VALUE_BASELINE = number("value_baseline", "What the row measures, at baseline.")
RATE = number("rate", "Share of those counted that have the outcome; in [0, 1], missing where nothing is counted.")
FLIP_RATE = number("flip_rate", "Share of the pairs of answers whose outcome is another than at baseline; in [0, 1].")
CHANGED_RATE = number(
    "changed_rate",
    "Share of all pairs of answers, right or wrong or neither, whose answer is another: option, text or status; in "
    "[0, 1], missing where the log does not name answers.",
)
ACCURACY = number("accuracy", "Share of the answers with a key that are right, unanswered ones wrong; in [0, 1].")
RESPONSE_ENTROPY = number("response_entropy", "Shannon entropy in bits of the chosen letters; 0 to log2(options).")
PERPLEXITY = number("perplexity", "Perplexity; at least 1.")
PERPLEXITY_PCT_CHANGE = number(
    "perplexity_pct_change",
    "100 x (perplexity / perplexity_baseline - 1); missing if either is infinite.",
)
NEW_BIAS_PCT = number("new_bias_pct", "Percentage of the items at risk that make the transition new_bias.")
NET_BIAS_PCT = number(
    "net_bias_pct",
    "New minus resolved bias, as a percentage of the items answered in both runs; in [-100, 100], 0 where items change "
    "without direction.",
)
NET_FLIPS_PCT = number(
    "net_flips_pct",
    "Flips to minus flips from the stereotype, as a percentage of the pairs of answers; in [-100, 100], 0 "
    "where answers change without direction, or probabilities become more even.",
)
RESOLVED_BIAS_PCT = number("resolved_bias_pct", "Percentage of the items at risk that make resolved_bias.")

ESTIMATE = number("estimate", "Coefficient of the term, in log-odds.")
STD_ERROR = number("std_error", "Standard error of what the row estimates; missing where it is not known.")
STATISTIC = number("statistic", "Statistic of the row's test.")
DF = number("df", "Degrees of freedom of the row's test or interval.")
CONF_LOW = number("conf_low", "Lower end of the interval of what the row estimates; missing without one.")
CONF_HIGH = number("conf_high", "Upper end of that interval; missing where it is open or there is none.")
P_VALUE = number("p_value", "p-value, two-sided, not corrected for multiplicity.")
P_VALUE_HOLM = number("p_value_holm", "p_value after Holm over the family.")
P_VALUE_BH = number("p_value_bh", "p_value after Benjamini and Hochberg over the family.")
P_EQUIVALENCE = number(
    "p_equivalence", "p-value of equivalence: small where the change is shown to lie within the margin."
)
FAMILY = text("family", "What is corrected over, or held at once, in words; rows without a result are not in it.")
FAMILY_SIZE = count("family_size", "Rows in the family.")
CORRECTED = (P_VALUE_HOLM, P_VALUE_BH, FAMILY, FAMILY_SIZE)
"""p-values corrected, and over what."""
COHENS_H = number("cohens_h", "Cohen's h of two shares, 2 (asin sqrt p - asin sqrt p_baseline); in [-pi, pi].")
ODDS_RATIO = number("odds_ratio", "Odds ratio: above 1 where the odds rise.")
ODDS_RATIO_ENDS = ends("odds_ratio")
CONVERGED = flag("converged", "Whether the fit converged; missing if none was tried.", nullable=True)

LEVEL = number("level", "Confidence level of the intervals; in (0, 1).")
MARGIN = number("margin", "A change within this, either way, counts as none: the setting of this name.")
REACH = number("reach", "Farthest that one template is taken to move, as a share of the measure's range.")
MISSING = number("missing", "Share of the run's answers that name no option; in [0, 1].")
MISSING_BASELINE = number("missing_baseline", "Share of the baseline's answers that name no option; in [0, 1].")
SMALLEST_DETECTABLE = number(
    "smallest_detectable",
    "Smallest true difference that the row would call changed in 80 % of cases, at the level that Holm starts from; "
    "missing where no change can be told.",
)
MEASURE = text("measure", "What is measured; those of answers are defined under Measures.")
DIFFERENCE = number("difference", "value minus value_baseline.")
DECIDED_AFTER = count(
    "decided_after",
    "With --sequential, templates in the order of evaluation after which the word stood; missing otherwise.",
    nullable=True,
)
SEED = count("seed", "Seed of the row's random numbers: the setting of this name.")


def against_baseline(name: str, *, percent: bool = False) -> tuple[Column, ...]:
    """The baseline's value of a quantity and the change from it; a baseline is its own baseline."""
    columns = (
        number(f"{name}_baseline", f"{name} of the baseline on the same items."),
        number(f"{name}_delta", f"{name} minus {name}_baseline."),
    )
    change = number(f"{name}_pct_change", f"100 x {name}_delta / {name}_baseline; missing at a baseline of 0.")
    return (*columns, change) if percent else columns
