"""Credit spreads: the day's return of high-yield over investment-grade bonds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.indicators.base import Indicator

if TYPE_CHECKING:
    from market_assets.indicators.base import IndicatorInputs
    from market_assets.maths.quantity import Quantity


def compute(inputs: IndicatorInputs) -> Quantity:
    """Return change_1d(HYG) - change_1d(LQD), both of the same session."""
    spread = inputs.change_1d("HYG") - inputs.change_1d("LQD")
    # Until both have their first bar of the day, one change is today's and the other yesterday's.
    return spread.null_where(~inputs.same_session("HYG", "LQD"), "HYG and LQD stand on different sessions")


INDICATOR = Indicator(
    name="credit_spreads",
    order=4,
    column="ml_credit_spreads",
    title="Credit spreads",
    formula="change_1d(HYG) - change_1d(LQD), both of the same session; negative = spreads widen",
    unit="percentage points",
    inputs=("HYG", "LQD"),
    lookback_sessions=2,
    plausible=(-13.0, 8.6),
    caveat="A difference of returns, not a yield spread; LQD's longer duration makes it react to rates as well.",
    compute=compute,
)
