"""One asset per indicator: its value at every observation time of the day.

Belongs here: the indicator factory. Does not belong here: the formulas (`indicators/`).
"""

from collections.abc import Iterator

import dagster as dg

from market_assets.assets.common import OWNERS, Metadata, column_schema, indicator_key, preview, ticker_key
from market_assets.checks.results import CheckEvent, indicator_check_results, indicator_check_specs
from market_assets.collection.build import build_indicator
from market_assets.collection.session import CollectionSession
from market_assets.collection.write import ScopedWrite
from market_assets.indicators import Indicator
from market_assets.metrics import TickerLog
from market_assets.partitions import Partitioning, days_of, lookback_mapping
from market_assets.pictures import sparkline

_COLUMNS = (
    ("indicator", "string", "name in the registry"),
    ("observed_at", "timestamp", "observation time T, UTC"),
    ("value", "double", "the indicator at T; NULL with a reason where an input is missing"),
    ("reason", "string", "why the value is NULL, or what to know about it"),
    ("known_from", "timestamp", "when this version was stored, UTC"),
)


def build_indicator_asset(indicator: Indicator, partitions: Partitioning) -> dg.AssetsDefinition:
    """Return the asset of `indicator`; it loads the look-back of its tickers through the IO manager."""
    low, high = indicator.plausible
    mapping = lookback_mapping(indicator.lookback_days)
    key = indicator_key(indicator.name)

    @dg.asset(
        key=key,
        group_name="indicators",
        description=(
            f"{indicator.title}: `{indicator.formula}` ({indicator.unit}). Plausible from {low:g} to {high:g}. "
            f"{indicator.caveat}"
        ).strip(),
        kinds={"python", "table"},
        owners=OWNERS,
        metadata={
            **column_schema(_COLUMNS),
            "dagster/table_name": "ml_indicators",
            "column": indicator.column,
            "formula": indicator.formula,
            "unit": indicator.unit,
            "plausible_range": f"{low:g} to {high:g}",
        },
        ins={name: dg.AssetIn(key=ticker_key(name), partition_mapping=mapping) for name in indicator.inputs},
        partitions_def=partitions.definition,
        backfill_policy=partitions.backfills,
        check_specs=indicator_check_specs(key),
    )
    def _indicator(
        context: dg.AssetExecutionContext, collection: dg.ResourceParam[CollectionSession], **logs: TickerLog
    ) -> Iterator[dg.Output[ScopedWrite] | CheckEvent]:
        days = days_of(context)
        with collection.store.snapshot() as snapshot:
            write = build_indicator(
                indicator,
                logs,
                days,
                collection.now,
                snapshot=snapshot,
                interval_minutes=collection.settings.collection_interval_minutes,
            )
        frame = write.replacements[0].frame
        values = frame["value"]
        metadata: Metadata = {
            "dagster/row_count": len(frame),
            "non_null": int(values.notna().sum()),
            "preview": preview(frame, ["observed_at", "value", "reason"]),
            "values": sparkline(values.tolist()),
        }
        if values.notna().any():
            metadata["latest_value"] = float(values.dropna().iloc[-1])
        yield dg.Output(write, metadata=metadata)
        yield from indicator_check_results(key, collection, indicator, frame)

    return _indicator
