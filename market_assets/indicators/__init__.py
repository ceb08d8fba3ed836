"""The indicators: one small file each, found by looking into this package.

Adding an indicator is adding one file that defines `INDICATOR`; its asset, column, checks and documentation follow.
"""

from market_assets.indicators.base import Indicator, IndicatorInputs
from market_assets.indicators.registry import INDICATORS, indicator_named

__all__ = ["INDICATORS", "Indicator", "IndicatorInputs", "indicator_named"]
