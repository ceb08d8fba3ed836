"""`ml_macro_indicators`: the features in the old system's shape, for consumers that have not moved yet.

Belongs here: the asset. Does not belong here: the shape (`market_assets/macro.py`).
"""

import dagster as dg

from market_assets.assets.common import FEATURES_KEY, MACRO_KEY, OWNERS, Metadata, column_schema, preview
from market_assets.collection.session import CollectionSession
from market_assets.collection.write import ScopedWrite
from market_assets.partitions import Partitioning, days_of

_COLUMNS = (
    ("indicator_name", "string", "the feature's column in capitals, e.g. ML_QQQ_PRICE"),
    ("timestamp", "timestamp", "first observation time at which the session's close was known, UTC"),
    ("session", "date", "the session that had closed"),
    ("value", "double", "in the feature's own unit"),
    ("known_from", "timestamp", "when this version was stored, UTC"),
)


def build_macro_asset(partitions: Partitioning) -> dg.AssetsDefinition:
    """Return `ml_macro_indicators`; a part of the graph only where MACRO_INDICATORS_COMPAT asks for it."""

    @dg.asset(
        key=MACRO_KEY,
        group_name="features",
        description="A line for each feature and session, in the old system's shape, written once the close is known.",
        kinds={"python", "table"},
        owners=OWNERS,
        metadata={**column_schema(_COLUMNS), "dagster/table_name": "ml_macro_indicators"},
        deps=[dg.AssetDep(FEATURES_KEY)],
        partitions_def=partitions.definition,
        backfill_policy=partitions.backfills,
    )
    def ml_macro_indicators(
        context: dg.AssetExecutionContext, collection: dg.ResourceParam[CollectionSession]
    ) -> dg.Output[ScopedWrite]:
        write = collection.macro_rows(days_of(context))
        frame = write.replacements[0].frame
        metadata: Metadata = {"dagster/row_count": len(frame)}
        if not frame.empty:
            metadata["preview"] = preview(frame, ["indicator_name", "timestamp", "session", "value"])
        return dg.Output(write, metadata=metadata)

    return ml_macro_indicators
