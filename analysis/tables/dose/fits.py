"""One dose-response question fitted: the population-averaged model, or the penalised one, or why neither."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import f as f_distribution

from ...inference._gee import GeeFit, fit_gee
from ...inference._logit import EVENTS_PER_TERM, Floats, Records, no_estimate
from ...inference._mixed import MixedFit
from ...inference.firth import firth_fit
from ...inference.gee import FEWEST_DF, gee_curve, interval, marginal_effect, odds_ratio, too_few_clusters, warnings_of
from ...inference.mixed import ATTENUATION, mixed_fit
from ...inference.result import Estimate, Result
from .records import PRIMARY, Question

__all__ = ["DoseFit", "fit_dose", "predicted", "response_rows"]

Row = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class DoseFit:
    """A question's fit, with the terms of its columns."""

    terms: tuple[str, ...]
    records: Records
    status: str
    gee: GeeFit | None = None
    firth: Result | None = None

    @property
    def model(self) -> str:
        """gee, firth or none."""
        return "gee" if self.gee is not None else "firth" if self.firth is not None else "none"

    @property
    def beta(self) -> Floats | None:
        """Coefficients of either model."""
        if self.gee is not None:
            return self.gee.beta
        return None if self.firth is None else np.array([self.firth[term].estimate for term in self.terms], dtype=float)


def fit_dose(
    question: Question, design: Floats, terms: tuple[str, ...], level: float, margin: float | None = None
) -> DoseFit:
    """GEE; Firth where the outcomes separate or are too few for the slopes; neither, with the reason, elsewhere.

    The working correlation is independence, which makes the mean prediction the observed share. The exchangeable form
    does not where a straight line in log-odds is not the whole truth: in simulated data of templates with some 2,000
    answers and a convex curve its prediction lay below the observed share at every dose (0.23 against 0.32 at the
    highest). Both covered a slope of 0 in 0.92 to 0.94 of 500 simulations each.
    """
    records = question.records(design)
    reason = _nothing_to_fit(question, len(terms)) or (None if margin is None else question.withheld(margin))
    if reason:
        return DoseFit(terms=terms, records=records, status=f"not fitted: {reason}")
    reason = no_estimate(records, terms) or _too_few_events(records, len(terms) - 1)
    if reason and reason.startswith(("separation", "only")):
        return _penalised(records, terms, level, reason)
    if reason:
        return DoseFit(terms=terms, records=records, status=f"not fitted: {reason}")
    try:
        found = fit_gee(records, fine=question.fine(design), working="independence")
    except np.linalg.LinAlgError as error:
        return DoseFit(terms=terms, records=records, status=f"not fitted: {error}")
    if not found.converged:
        return _penalised(records, terms, level, "no convergence of the unpenalised fit")
    return DoseFit(terms=terms, records=records, status=warnings_of(records, terms, found), gee=found)


def _nothing_to_fit(question: Question, n_terms: int) -> str | None:
    total = question.n.sum(axis=0) if len(question.n) else np.zeros(len(question.steps))
    if total.sum() == 0:
        what = "item at risk" if question.keys["outcome"] not in PRIMARY else "answered answer"
        return f"no {what}"
    doses = np.unique(question.steps[total > 0])
    if len(doses) < 2:
        return f"one dose only ({question.named(float(doses[0]))}), compared with nothing"
    return too_few_clusters(question.n_clusters, n_terms)


def _too_few_events(records: Records, slopes: int) -> str | None:
    rarer = int(min(records.events.sum(), (records.n - records.events).sum()))
    if rarer >= EVENTS_PER_TERM * slopes:
        return None
    return f"only {rarer} records with the rarer outcome for {slopes} slope{'s' * (slopes != 1)}"


def _penalised(records: Records, terms: tuple[str, ...], level: float, reason: str) -> DoseFit:
    found = firth_fit(records, terms, level)
    if not found.estimates:
        return DoseFit(terms=terms, records=records, status=f"not fitted: {reason}; {found.status}")
    status = f"{reason}: penalised fit (Firth), which knows no templates: no test or interval by template"
    return DoseFit(terms=terms, records=records, status=status, firth=found)


def response_rows(
    question: Question, level: float, checks: bool = True, margin: float | None = None
) -> tuple[list[Row], DoseFit]:
    """The rows of DOSE_RESPONSE of one question, with the other models' slopes or without, and the slope's fit.

    Nothing is fitted where missing answers differ between the doses by more than the margin.
    """
    dummies = {m: np.equal(question.methods, m).astype(float) for m in sorted(set(question.methods) - {""})[1:]}
    # Without the baseline's records the methods need not start from one point.
    main = {} if question.keys["outcome"] in PRIMARY else dummies
    one = np.ones(len(question.steps))
    columns = {"intercept": one, "dose": question.steps, **{f"method {m}": values for m, values in main.items()}}
    fit = fit_dose(question, np.column_stack(list(columns.values())), tuple(columns), level, margin)
    first = _term_row(fit, "dose", level)
    if checks and fit.gee is not None:
        first |= _exchangeable_row(fit, level) | _mixed_row(fit, level)
    rows = [first]
    if dummies:
        columns |= {f"dose x {m}": question.steps * values for m, values in dummies.items()}
        apart = fit_dose(question, np.column_stack(list(columns.values())), tuple(columns), level, margin)
        rows += [_term_row(apart, f"dose x {m}", level) for m in dummies]
        rows.append(_joint_row(apart, [f"dose x {m}" for m in dummies]))
    counts = _counts(question)
    primary = question.keys["outcome"] in PRIMARY
    return [{**question.keys, "primary": primary, **counts, "level": level, **row} for row in rows], fit


def _counts(question: Question) -> Row:
    with_records = question.n.sum(axis=0) > 0 if len(question.n) else np.zeros(len(question.steps), dtype=bool)
    return {
        "n": int(question.n.sum()),
        "n_events": int(question.events.sum()),
        "n_items": len(question.n),
        "n_items_left_out": question.n_left_out,
        "n_clusters": question.n_clusters,
        "n_doses": len(np.unique(question.steps[with_records])),
        "n_runs": len(question.steps),
    }


def _term_row(fit: DoseFit, term: str, level: float) -> Row:
    """One coefficient of either model."""
    row: Row = {"term": term, "model": fit.model, "status": fit.status}
    if fit.gee is not None:
        at = fit.terms.index(term)
        df = float(fit.gee.df(np.eye(len(fit.terms)))[at])
        entry = interval(term, float(fit.gee.beta[at]), float(np.sqrt(fit.gee.cov[at, at])), df, level)
        row["working_correlation"] = fit.gee.working
        if fit.gee.cov_unit is not None:
            row["std_error_item"] = float(np.sqrt(fit.gee.cov_unit[at, at])) or None
        if term == "dose":
            effect = marginal_effect(fit.gee, fit.records, at, "", level)
            ends = (effect.estimate, effect.conf_low, effect.conf_high)
            row |= dict(zip(("marginal_effect", "marginal_effect_low", "marginal_effect_high"), ends, strict=True))
        return row | _numbers(entry)
    if fit.firth is None:
        return row
    # Its test takes records as independent: not to be mistaken for one that does not, in the same column.
    entry = fit.firth[term]
    names = {"p_value_records": "p_value", "records_low": "conf_low", "records_high": "conf_high"}
    row |= {column: getattr(entry, name) for column, name in names.items()}
    return row | {"estimate": entry.estimate, "odds_ratio": odds_ratio(entry).estimate}


def _numbers(entry: Estimate) -> Row:
    ratio = odds_ratio(entry)
    return {
        **{name: getattr(entry, name) for name in ("estimate", "std_error", "statistic", "df", "p_value")},
        **{name: getattr(entry, name) for name in ("conf_low", "conf_high")},
        "odds_ratio": ratio.estimate,
        "odds_ratio_low": ratio.conf_low,
        "odds_ratio_high": ratio.conf_high,
    }


def _joint_row(fit: DoseFit, terms: list[str]) -> Row:
    """Wald F test that all methods have one slope; missing where the model is not the GEE."""
    row: Row = {"term": "interaction", "model": fit.model, "status": fit.status}
    if fit.gee is None:
        return row
    at = [fit.terms.index(term) for term in terms]
    cov = fit.gee.cov[np.ix_(at, at)]
    if (np.diag(cov) == 0).any() or np.linalg.matrix_rank(cov) < len(at):
        return row | {"status": "not tested: the error of a slope, or of a sum of slopes, is not known"}
    statistic = float(fit.gee.beta[at] @ np.linalg.solve(cov, fit.gee.beta[at])) / len(at)
    # By the term that fewest clusters tell of; clusters - terms reject 0.13 to 0.20 where sizes differ much.
    df = float(fit.gee.df(np.eye(len(fit.terms))[at]).min())
    if df < FEWEST_DF:
        return row | {"status": "not tested: one cluster tells most of a slope"}
    found: Row = {"statistic": statistic, "df": df, "p_value": float(f_distribution.sf(statistic, len(at), df))}
    return row | found | {"working_correlation": fit.gee.working}


def _exchangeable_row(fit: DoseFit, level: float) -> Row:
    """The slope under exchangeable working correlation."""
    other = fit_gee(fit.records)
    if other.working != "exchangeable":
        return {"exchangeable_status": "no convergence"}
    at = fit.terms.index("dose")
    df = float(other.df(np.eye(len(fit.terms)))[at])
    entry = interval("dose", float(other.beta[at]), float(np.sqrt(other.cov[at, at])), df, level)
    return {
        "exchangeable_estimate": entry.estimate,
        "exchangeable_conf_low": entry.conf_low,
        "exchangeable_conf_high": entry.conf_high,
        "correlation": other.correlation,
        "exchangeable_status": "ok",
    }


def _mixed_row(fit: DoseFit, level: float) -> Row:
    """The mixed logit's slope beside the population's."""
    found = mixed_fit(fit.records, fit.terms)
    if not isinstance(found, MixedFit):
        return {"mixed_status": found}
    at = fit.terms.index("dose")
    df = float(found.df(np.eye(len(fit.terms)))[at])
    entry = interval("dose", float(found.beta[at]), float(np.sqrt(found.cov[at, at])), df, level)
    return {
        "mixed_estimate": entry.estimate,
        "mixed_conf_low": entry.conf_low,
        "mixed_conf_high": entry.conf_high,
        "mixed_sd": found.sd,
        "mixed_population": float(found.beta[at] / np.sqrt(1 + ATTENUATION * found.sd**2)),
        "mixed_status": "ok",
    }


def predicted(fit: DoseFit, steps: Floats, level: float) -> tuple[Floats, Floats, Floats]:
    """Probability and band at doses of a fit with terms intercept and dose; NaN where the model gives none."""
    design = np.column_stack([np.ones(len(steps)), steps])
    none = np.full(len(steps), np.nan)
    if fit.gee is not None:
        return gee_curve(fit.gee, design, level)
    return (none if fit.beta is None else expit(design @ fit.beta)), none, none
