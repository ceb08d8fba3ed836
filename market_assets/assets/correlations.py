"""`crypto_correlations`: how Bitcoin and Ether moved with every ticker, session by session.

Belongs here: the asset. Does not belong here: the measure itself (`correlations.py`).
"""

from collections.abc import Iterator

import dagster as dg
import pandas as pd

from market_assets.assets.common import (
    CORRELATIONS_KEY,
    Metadata,
    column_schema,
    preview,
    ticker_key,
)
from market_assets.assets.fan_in import fan_in_asset
from market_assets.collection.correlated import documented_beside_measured, high_pairs
from market_assets.collection.session import CollectionSession
from market_assets.collection.write import ScopedWrite
from market_assets.correlations import CORRELATION_LOOKBACK_DAYS
from market_assets.partitions import Partitioning, days_of, lookback_mapping
from market_assets.pictures import markdown_table
from market_assets.universe import Universe

_COLUMNS = (
    ("crypto", "string", "crypto symbol"),
    ("ticker", "string", "ticker it is correlated with"),
    ("sessions", "int", "window: how many of the ticker's sessions"),
    ("session", "date", "last session of the window, venue-local date"),
    ("correlation", "double", "Pearson correlation of daily log returns, crypto sampled at the ticker's session close"),
    ("pairs", "int", "pairs of returns that went in"),
    ("known_from", "timestamp", "when this version was stored, UTC"),
)


def build_correlations_asset(universe: Universe, partitions: Partitioning) -> dg.AssetsDefinition:
    """Return `crypto_correlations`: measured values, never the documented ones."""

    def compute(context: dg.OpExecutionContext, collection: CollectionSession) -> Iterator[dg.Output[ScopedWrite]]:
        days = days_of(context)
        write = collection.correlations(days)
        frame = write.replacements[0].frame
        threshold = collection.settings.high_correlation_threshold
        metadata: Metadata = {"dagster/row_count": len(frame), "high_correlation_threshold": threshold}
        if not frame.empty:
            columns = ["crypto", "ticker", "sessions", "session", "correlation", "pairs"]
            metadata["preview"] = preview(frame, columns, 12)
            metadata["highly_correlated"] = ", ".join(high_pairs(frame, threshold)) or "none"
        # At most ticks no session has closed since: what is stored stays in sight.
        known = [one for one in (collection.recent_correlations(days), frame) if not one.empty]
        if known:
            heading, *rows = documented_beside_measured(pd.concat(known, ignore_index=True), universe)
            metadata["documented_beside_measured"] = dg.MetadataValue.md(markdown_table(heading, rows))
        yield dg.Output(write, metadata=metadata)

    return fan_in_asset(
        key=CORRELATIONS_KEY,
        description="Measured correlation of each crypto reference with every ticker over 20 and 90 sessions.",
        metadata={**column_schema(_COLUMNS), "dagster/table_name": "crypto_correlations"},
        upstream={ticker_key(ticker.name): lookback_mapping(CORRELATION_LOOKBACK_DAYS) for ticker in universe},
        partitions=partitions,
        compute=compute,
    )
