"""Dollar strength: the dollar index against where it stood a month ago."""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.indicators.base import Indicator

if TYPE_CHECKING:
    from market_assets.indicators.base import IndicatorInputs
    from market_assets.maths.quantity import Quantity

SESSIONS = 20


def compute(inputs: IndicatorInputs) -> Quantity:
    """Return 100 x ln(DXY / DXY 20 sessions before)."""
    return 100.0 * (inputs.price("DXY") / inputs.close_before("DXY", SESSIONS)).log()


INDICATOR = Indicator(
    name="dollar_strength",
    order=6,
    column="ml_dollar_strength",
    title="Dollar strength",
    formula="100 x ln(DXY at T / DXY close 20 sessions before the session of T)",
    unit="%",
    inputs=("DXY",),
    lookback_sessions=21,
    plausible=(-12.0, 9.4),
    caveat="Sessions have NYSE's dates, as the source's daily rows do; 30 minutes late, and at times down for days.",
    compute=compute,
)
