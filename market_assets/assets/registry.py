"""The visible registry: every asset of the graph, built from the universe and the indicators.

Belongs here: which factories are called with what. Does not belong here: the factories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.assets.correlations import build_correlations_asset
from market_assets.assets.crypto import build_crypto_asset
from market_assets.assets.features import build_features_asset, build_tick_asset
from market_assets.assets.indicators import build_indicator_asset
from market_assets.assets.macro import build_macro_asset
from market_assets.assets.tickers import build_ticker_asset

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dagster as dg

    from market_assets.indicators import Indicator
    from market_assets.partitions import Partitioning
    from market_assets.universe import Universe


def build_assets(
    universe: Universe, indicators: Sequence[Indicator], partitions: Partitioning, *, macro: bool
) -> list[dg.AssetsDefinition]:
    """Return the assets of the graph: tickers, indicators, the feature row and what stands on it.

    With `macro` the features in the old system's shape, too.
    """
    tickers = [build_ticker_asset(ticker, partitions) for ticker in universe]
    calculated = [build_indicator_asset(indicator, partitions) for indicator in indicators]
    return [
        build_tick_asset(partitions),
        *tickers,
        *calculated,
        build_features_asset(universe, indicators, partitions),
        build_correlations_asset(universe, partitions),
        build_crypto_asset(universe, indicators, partitions),
        *([build_macro_asset(partitions)] if macro else []),
    ]
