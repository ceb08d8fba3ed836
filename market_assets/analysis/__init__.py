"""Correlation analysis: what crypto and the traditional markets measurably had to do with each other.

Belongs here: correlations with everything that is told of them (interval, ranks, lead and lag, the documented value),
from the log or from plain price series, and their pictures. Does not belong here: the stored correlations
(`market_assets.correlations`), reading a store, any import of Dagster.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from market_assets.analysis.bootstrap import Interval as Interval
    from market_assets.analysis.bootstrap import correlation_interval as correlation_interval
    from market_assets.analysis.measures import WindowCorrelation as WindowCorrelation
    from market_assets.analysis.series import analyse as analyse
    from market_assets.analysis.series import rolling_correlation as rolling_correlation

_MODULES = {
    "Interval": "bootstrap",
    "WindowCorrelation": "measures",
    "analyse": "series",
    "correlation_interval": "bootstrap",
    "rolling_correlation": "series",
}

__all__ = ["Interval", "WindowCorrelation", "analyse", "correlation_interval", "rolling_correlation"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Import a name's module when it is asked for: the names of options alone need neither numpy nor pandas."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
