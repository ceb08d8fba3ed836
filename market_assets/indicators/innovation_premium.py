"""Innovation premium: speculative growth over large technology."""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.indicators.base import Indicator

if TYPE_CHECKING:
    from market_assets.indicators.base import IndicatorInputs
    from market_assets.maths.quantity import Quantity


def compute(inputs: IndicatorInputs) -> Quantity:
    """Return ARKK / QQQ."""
    return inputs.price("ARKK") / inputs.price("QQQ")


INDICATOR = Indicator(
    name="innovation_premium",
    order=2,
    column="ml_innovation_premium",
    title="Innovation premium",
    formula="ARKK / QQQ, prices at T",
    unit="ratio",
    inputs=("ARKK", "QQQ"),
    lookback_sessions=1,
    plausible=(0.059, 0.71),
    caveat="A ratio of share prices: its level means nothing, its changes do; a split of either moves it.",
    compute=compute,
)
