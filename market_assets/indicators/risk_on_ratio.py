"""Risk-on / risk-off: risky assets over safe ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.indicators.base import Indicator

if TYPE_CHECKING:
    from market_assets.indicators.base import IndicatorInputs
    from market_assets.maths.quantity import Quantity


def compute(inputs: IndicatorInputs) -> Quantity:
    """Return (QQQ + HYG) / (VIX + TLT)."""
    risk_on = inputs.price("QQQ") + inputs.price("HYG")
    risk_off = inputs.price("VIX") + inputs.price("TLT")
    return risk_on / risk_off


INDICATOR = Indicator(
    name="risk_on_ratio",
    order=1,
    column="ml_risk_on_ratio",
    title="Risk-on / risk-off",
    formula="(QQQ + HYG) / (VIX + TLT), prices at T",
    unit="ratio",
    inputs=("QQQ", "HYG", "VIX", "TLT"),
    lookback_sessions=1,
    plausible=(0.62, 11.0),
    caveat="Adds dollars and index points as they stand: its level drifts with QQQ's; compare it with its recent past.",
    compute=compute,
)
