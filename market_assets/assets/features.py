"""The feature row: every metric and indicator at every observation time of the day, in one wide table.

Belongs here: `ml_features` and the small `tick` asset that keeps it going. Does not belong here: how a row is computed.
"""

from collections.abc import Iterator, Sequence

import dagster as dg
import pandas as pd

from market_assets.assets.common import (
    FEATURES_KEY,
    OWNERS,
    TICK_KEY,
    Metadata,
    column_schema,
    indicator_key,
    preview,
    ticker_key,
)
from market_assets.assets.fan_in import Yielded, fan_in_asset
from market_assets.checks.results import feature_check_results, feature_check_specs
from market_assets.collection.session import CollectionSession
from market_assets.columns import core_columns, feature_columns
from market_assets.features import FEATURE_LOOKBACK_DAYS
from market_assets.indicators import Indicator
from market_assets.partitions import Partitioning, days_of, lookback_mapping
from market_assets.pictures import sparkline
from market_assets.universe import Universe


def build_tick_asset(partitions: Partitioning) -> dg.AssetsDefinition:
    """Return the asset that always succeeds: what stands for "a collection ran for this day".

    Dagster skips a step only when all sources of its fan-in are missing. With this source the feature row is written,
    NULL where it must be, even when not a single ticker answered.
    """

    @dg.asset(
        key=TICK_KEY,
        group_name="features",
        description="A collection ran for this day: its kind, its clock and its source.",
        kinds={"python"},
        owners=OWNERS,
        partitions_def=partitions.definition,
        backfill_policy=partitions.backfills,
        io_manager_key="io_manager",
    )
    def tick(context: dg.AssetExecutionContext, collection: dg.ResourceParam[CollectionSession]) -> dg.Output[None]:
        days = days_of(context)
        return dg.Output(
            None,
            metadata={
                "kind": collection.kind,
                "clock": collection.now.isoformat(),
                "days": f"{days.first} to {days.last}",
                "source": collection.settings.source_label,
            },
        )

    return tick


def build_features_asset(
    universe: Universe, indicators: Sequence[Indicator], partitions: Partitioning
) -> dg.AssetsDefinition:
    """Return `ml_features`: a graph asset over one op whose fan-in survives any missing ticker or indicator."""
    columns = feature_columns(universe, indicators)
    core = set(core_columns(universe, indicators))
    schema = [
        ("observed_at", "timestamp", "observation time T, UTC"),
        *((column, "double", "core feature" if column in core else "feature") for column in columns),
        ("feature_count", "int", f"non-null, fresh features of {len(columns)}"),
        ("core_count", "int", f"non-null, fresh core features of {len(core)}"),
        ("reasons", "json", "per column: why it is NULL, or what to know about it"),
        (
            "ages",
            "json",
            "per ticker: minutes since the end of the bar that gives the price, and open-market staleness",
        ),
        ("resolution", "json", "per ticker: interval of the bar that gives the price"),
        ("basis", "json", "per ticker with splits: ex-date of the last one in force at T"),
        ("feature_version", "string", "version of the definitions"),
        ("origin", "string", "live, catch_up or backfill"),
        ("read_as_of", "timestamp", "knowledge instant of the bars the row was computed from"),
        ("known_from", "timestamp", "when this version was stored, UTC"),
    ]
    # The look-back is shown as lineage; the rows are read in one query.
    upstream: dict[dg.AssetKey, dg.PartitionMapping] = {
        ticker_key(ticker.name): lookback_mapping(FEATURE_LOOKBACK_DAYS) for ticker in universe.features
    }
    upstream |= {indicator_key(indicator.name): dg.TimeWindowPartitionMapping() for indicator in indicators}

    def compute(context: dg.OpExecutionContext, collection: CollectionSession) -> Iterator[Yielded]:
        days = days_of(context)
        write = collection.features(days)
        frame = write.replacements[0].frame
        yield dg.Output(write, metadata=_metadata(frame, columns, collection.settings.ml_feature_count_target))
        collection.features_written(days, write)
        yield from feature_check_results(FEATURES_KEY, collection, days, frame)
        # Only after the row has been stored: a collection that fetched nothing is a failed run, never a quiet success.
        collection.fail_if_nothing_was_collected()

    return fan_in_asset(
        key=FEATURES_KEY,
        description=f"The {len(columns)} features at every observation time: one row per T, as it could be known at T.",
        metadata={**column_schema(schema), "dagster/table_name": "ml_features"},
        upstream=upstream,
        partitions=partitions,
        compute=compute,
        checks=feature_check_specs(FEATURES_KEY),
    )


def _metadata(frame: pd.DataFrame, columns: Sequence[str], target: int) -> Metadata:
    metadata: Metadata = {"dagster/row_count": len(frame), "target": target}
    if frame.empty:
        return metadata
    latest = frame.iloc[-1]
    missing = [column for column in columns if latest[column] is None or latest[column] != latest[column]]
    metadata |= {
        "latest_observed_at": dg.MetadataValue.timestamp(latest["observed_at"].to_pydatetime()),
        "feature_count": int(latest["feature_count"]),
        "core_count": int(latest["core_count"]),
        "feature_counts": sparkline([float(value) for value in frame["feature_count"]]),
        "preview": preview(frame, ["observed_at", "feature_count", "core_count", *columns[:3], *columns[-7:]]),
    }
    if missing:
        metadata["null_features"] = ", ".join(missing)
    return metadata
