"""The dose-response procedures: is there a slope, a trend, a bend?"""

from __future__ import annotations

import numpy as np

from analysis.inference.breakpoint import breakpoint_test
from analysis.inference.gee import gee
from analysis.inference.result import Result
from analysis.inference.trend import clustered_trend, cochran_armitage
from validity.checks import NOT_ASKED, Check, Procedure, Scores, rejects
from validity.simulate import Data, Design

__all__ = ["DOSES"]

# As in tables dose_response and dose_tests.
_FLIPS = 1999


def _slope(data: Data, _: np.random.Generator) -> Scores:
    events, n = data.by_level()
    clusters, levels = events.shape
    design = np.stack([np.ones(events.size), np.tile(np.arange(levels), clusters)], axis=1)
    template = np.repeat(np.arange(clusters), levels)
    terms = ["intercept", "dose"]
    independent, exchangeable = (
        gee(events.ravel(), n.ravel(), design, template, terms=terms, working=working)
        for working in ("independence", "exchangeable")
    )
    return (_rejects(independent, "dose"), _rejects(exchangeable, "dose"))


def _trend(data: Data, _: np.random.Generator) -> Scores:
    events, n = data.by_level()
    dose = np.arange(events.shape[1])
    alone = cochran_armitage(events.sum(axis=0), n.sum(axis=0), dose)
    return (_rejects(clustered_trend(events, n, dose, flips=_FLIPS), "trend"), _rejects(alone, "trend"))


def _bend(data: Data, _: np.random.Generator) -> Scores:
    """Is a bend found, and the threshold called where it is? A straight line may be either."""
    events, n = data.by_level()
    found = breakpoint_test(events, n, np.arange(events.shape[1]), flips=_FLIPS)
    onset = data.design.onset
    verdict = str(found.facts["verdict"])
    return (
        _rejects(found, "bend"),
        float(verdict == f"threshold at {onset}") if onset else NOT_ASKED,
        NOT_ASKED if onset or not data.design.shift else float(verdict == "gradual"),
    )


def _rejects(result: Result, term: str) -> float:
    return rejects(result[term].p_value if result.estimates else None)


def _straight(design: Design) -> bool:
    return design.onset == 0


DOSES: tuple[Procedure, ...] = (
    Procedure(
        checks=(
            Check(name="GEE slope over four doses, t", kind="test"),
            Check(name="the same, exchangeable correlation", kind="test", default=False),
        ),
        run=_slope,
    ),
    Procedure(
        checks=(
            Check(name="trend within templates, sign flips", kind="test"),
            Check(name="Cochran-Armitage, answers independent", kind="test", default=False),
        ),
        run=_trend,
    ),
    Procedure(
        checks=(
            Check(name="bend over four doses, sign flips", kind="test", null=_straight),
            Check(name="threshold, at its dose", kind="verdict"),
            Check(name="gradual", kind="verdict"),
        ),
        run=_bend,
    ),
)
