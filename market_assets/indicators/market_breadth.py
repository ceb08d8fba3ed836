"""Market breadth: large caps over small caps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.indicators.base import Indicator

if TYPE_CHECKING:
    from market_assets.indicators.base import IndicatorInputs
    from market_assets.maths.quantity import Quantity


def compute(inputs: IndicatorInputs) -> Quantity:
    """Return SPY / IWM."""
    return inputs.price("SPY") / inputs.price("IWM")


INDICATOR = Indicator(
    name="market_breadth",
    order=7,
    column="ml_market_breadth",
    title="Market breadth",
    formula="SPY / IWM, prices at T; rising = narrower, large-cap-led",
    unit="ratio",
    inputs=("SPY", "IWM"),
    lookback_sessions=1,
    plausible=(1.4, 3.4),
    caveat="Rises when the market narrows: the opposite of what the name suggests.",
    compute=compute,
)
