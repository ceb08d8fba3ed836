"""Correlation analysis: what crypto and the traditional markets measurably had to do with each other.

Belongs here: correlations with everything that is told of them (interval, ranks, lead and lag, the documented value),
from the log or from plain price series, and their pictures. Does not belong here: the stored correlations
(`market_assets.correlations`), reading a store, any import of Dagster.
"""

from market_assets.analysis.bootstrap import Interval, correlation_interval
from market_assets.analysis.definitions import (
    DEFAULT_WINDOWS,
    Definition,
    Join,
    Method,
    Pairing,
    ReturnKind,
    Sampling,
)
from market_assets.analysis.measures import LagCorrelation, ReturnPairs, WindowCorrelation, measure
from market_assets.analysis.series import analyse, paired_returns, rolling_correlation
from market_assets.analysis.survey import PairAnalysis, Survey, survey, survey_days
from market_assets.analysis.verdict import Comparison, Verdict, compare

__all__ = [
    "DEFAULT_WINDOWS",
    "Comparison",
    "Definition",
    "Interval",
    "Join",
    "LagCorrelation",
    "Method",
    "PairAnalysis",
    "Pairing",
    "ReturnKind",
    "ReturnPairs",
    "Sampling",
    "Survey",
    "Verdict",
    "WindowCorrelation",
    "analyse",
    "compare",
    "correlation_interval",
    "measure",
    "paired_returns",
    "rolling_correlation",
    "survey",
    "survey_days",
]
