"""Flight to quality: whether gold and long Treasuries move together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.indicators.base import Indicator
from market_assets.maths.windows import pearson

if TYPE_CHECKING:
    from market_assets.indicators.base import IndicatorInputs
    from market_assets.maths.quantity import Quantity

SESSIONS = 20


def compute(inputs: IndicatorInputs) -> Quantity:
    """Return the correlation of GLD and TLT over 20 completed sessions."""
    return inputs.of_returns("GLD", "TLT", SESSIONS, pearson, undefined="zero_variance")


INDICATOR = Indicator(
    name="flight_to_quality",
    order=5,
    column="ml_flight_to_quality",
    title="Flight to quality",
    formula="Pearson correlation of the daily log total returns of GLD and TLT over 20 completed sessions",
    unit="correlation",
    inputs=("GLD", "TLT"),
    lookback_sessions=21,
    plausible=(-0.79, 1.0),
    caveat="Twenty pairs: the standard error of a correlation near zero is about 0.23. Changes once per session.",
    compute=compute,
)
