"""Tech leadership: the Nasdaq-100 over the S&P 500."""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.indicators.base import Indicator

if TYPE_CHECKING:
    from market_assets.indicators.base import IndicatorInputs
    from market_assets.maths.quantity import Quantity


def compute(inputs: IndicatorInputs) -> Quantity:
    """Return QQQ / SPY."""
    return inputs.price("QQQ") / inputs.price("SPY")


INDICATOR = Indicator(
    name="tech_leadership",
    order=3,
    column="ml_tech_leadership",
    title="Tech leadership",
    formula="QQQ / SPY, prices at T",
    unit="ratio",
    inputs=("QQQ", "SPY"),
    lookback_sessions=1,
    plausible=(0.48, 1.2),
    caveat="A ratio of share prices, dividends left out: it falls a little behind the total return of SPY.",
    compute=compute,
)
