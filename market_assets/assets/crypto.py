"""`crypto_ml_features_materialized`: crypto rows beside the features that were known at their time.

Belongs here: the asset. Does not belong here: the join (`crypto_join.py`).
"""

from collections.abc import Sequence

import dagster as dg

from market_assets.assets.common import (
    CORRELATIONS_KEY,
    CRYPTO_KEY,
    FEATURES_KEY,
    OWNERS,
    Metadata,
    column_schema,
    preview,
)
from market_assets.collection.session import CollectionSession
from market_assets.collection.write import ScopedWrite
from market_assets.columns import VIX_FEAR_INDEX, feature_columns
from market_assets.indicators import Indicator
from market_assets.partitions import Partitioning, days_of
from market_assets.universe import Universe


def build_crypto_asset(
    universe: Universe, indicators: Sequence[Indicator], partitions: Partitioning
) -> dg.AssetsDefinition:
    """Return `crypto_ml_features_materialized`, kept up to date partition by partition."""
    columns = [
        ("symbol", "string", "crypto symbol"),
        ("timestamp", "timestamp", "time of the crypto row, UTC"),
        ("price", "double", "crypto price"),
        ("volume", "double", "crypto volume"),
        ("market_cap", "double", "only where the left-hand table gives it"),
        *(
            (column, "double", "feature of the last observation time at or before the row")
            for column in feature_columns(universe, indicators)
        ),
        (VIX_FEAR_INDEX, "double", "the VIX price"),
        ("ml_nasdaq_correlation", "double", "20-session correlation with QQQ, last session closed by then"),
        ("ml_arkk_correlation", "double", "20-session correlation with ARKK, last session closed by then"),
        ("ml_gold_correlation", "double", "20-session correlation with GLD, last session closed by then"),
    ]

    @dg.asset(
        key=CRYPTO_KEY,
        group_name="features",
        description="Crypto rows joined as-of with the features and correlations known at their time, never by date.",
        kinds={"python", "table"},
        owners=OWNERS,
        metadata={**column_schema(columns), "dagster/table_name": "crypto_ml_features_materialized"},
        # Both go on whatever ticker failed, so plain dependencies do.
        deps=[dg.AssetDep(FEATURES_KEY), dg.AssetDep(CORRELATIONS_KEY)],
        partitions_def=partitions.definition,
        backfill_policy=partitions.backfills,
    )
    def crypto_ml_features_materialized(
        context: dg.AssetExecutionContext, collection: dg.ResourceParam[CollectionSession]
    ) -> dg.Output[ScopedWrite]:
        write = collection.crypto_rows(days_of(context))
        frame = write.replacements[0].frame
        metadata: Metadata = {"dagster/row_count": len(frame)}
        if not frame.empty:
            metadata["preview"] = preview(
                frame, ["symbol", "timestamp", "price", "ml_qqq_price", "ml_nasdaq_correlation"]
            )
        return dg.Output(write, metadata=metadata)

    return crypto_ml_features_materialized
