"""Partitions and look-back windows of the asset graph.

Belongs here: partition definitions and mappings. Does not belong here: assets, schedules.

A partition is a UTC day that is materialized again at every tick while it runs: it survives a change of the collection
interval, heals a missed tick by itself, and ten years are 3,650 partitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from market_assets.collection.days import DayRange

if TYPE_CHECKING:
    from market_assets.settings import Settings

#: tags by which Dagster marks a run over a range of partitions
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
PARTITION_TAG = "dagster/partition"


@dataclass(frozen=True, slots=True)
class Partitioning:
    """How every asset is partitioned, and how many partitions one run of a backfill takes."""

    definition: dg.DailyPartitionsDefinition
    backfills: dg.BackfillPolicy


def daily_partitions(settings: Settings) -> Partitioning:
    """Return the UTC days from the start date up to and including the day that is running."""
    return Partitioning(
        dg.DailyPartitionsDefinition(start_date=settings.collection_start_date.isoformat(), end_offset=1),
        dg.BackfillPolicy.multi_run(max_partitions_per_run=settings.backfill_days_per_run),
    )


def lookback_mapping(days: int) -> dg.TimeWindowPartitionMapping:
    """Return the mapping by which a downstream day reads `days` upstream days in front of its own."""
    return dg.TimeWindowPartitionMapping(start_offset=-days)


def days_of(context: dg.OpExecutionContext | dg.AssetExecutionContext) -> DayRange:
    """Return the UTC days that the step materializes; both a single partition and a range."""
    keys = context.partition_key_range
    return DayRange(date.fromisoformat(keys.start), date.fromisoformat(keys.end))


def range_tags(days: DayRange) -> dict[str, str]:
    """Return the tags of a run over `days`."""
    return {RANGE_START_TAG: days.first.isoformat(), RANGE_END_TAG: days.last.isoformat()}


def days_of_tags(tags: dict[str, str], now: datetime) -> DayRange:
    """Return the UTC days that a run's tags ask for; today if they name none."""
    if PARTITION_TAG in tags:
        day = date.fromisoformat(tags[PARTITION_TAG])
        return DayRange(day, day)
    if RANGE_START_TAG in tags and RANGE_END_TAG in tags:
        return DayRange(date.fromisoformat(tags[RANGE_START_TAG]), date.fromisoformat(tags[RANGE_END_TAG]))
    return DayRange.of(now)


def clamp(days: DayRange, settings: Settings, now: datetime) -> DayRange | None:
    """Cut `days` to the partitions that exist at `now`, None if none is left: Dagster does not validate range tags."""
    first = max(days.first, settings.collection_start_date)
    last = min(days.last, now.astimezone(UTC).date())
    return DayRange(first, last) if first <= last else None


def yesterday(now: datetime) -> date:
    """Return the UTC day before the one that `now` lies in."""
    return now.astimezone(UTC).date() - timedelta(days=1)
