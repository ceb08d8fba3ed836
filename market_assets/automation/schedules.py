"""The schedules: ticks, the nightly settle, rebuild (of what revisions made stale), replay and purge (of old runs).

Belongs here: cron lines and the days each evaluation asks for. Does not belong here: the runs themselves.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

import dagster as dg

from market_assets.assets.common import ticker_key
from market_assets.automation.jobs import COLLECT_JOB, KIND_TAG, PRIORITY_TAG, PURGE_JOB, REBUILD_JOB, REPLAY_JOB
from market_assets.clock import SystemClock
from market_assets.collection.catch_up import uncollected_days
from market_assets.collection.days import ONE_DAY, DayRange
from market_assets.collection.holes import REFILL, holes_due
from market_assets.partitions import clamp, range_tags, yesterday
from market_assets.settings import Settings
from market_assets.store import CollectionLock, Store

#: 02:10 UTC: every venue but FX and crypto is shut or has just opened, and the last New York session is four hours old
SETTLE_CRON = "10 2 * * *"
REBUILD_CRON = "40 2 * * *"
REPLAY_CRON = "25 3 * * *"
#: between two ticks, when the other nightly runs have ended
PURGE_CRON = "40 4 * * *"

#: in a queue of runs a tick goes before backfills
_TICK_TAGS = {KIND_TAG: "tick", "dagster/priority": "10"}
#: from the request of a run to its first step: a pod is scheduled, an image pulled
_START_UP = timedelta(minutes=10)
#: a backfill's runs, of which there may be many in the queue, have priority 0
_TICK_TAGS = {KIND_TAG: "tick", PRIORITY_TAG: "10"}
_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def tick_cron(interval_minutes: int, settle_minutes: int) -> str:
    """Return the cron line of the ticks, in UTC: every `interval_minutes` plus the settle minutes.

    The settle minutes must be fewer than the interval; both are checked by the settings.
    """
    if interval_minutes < 60:  # noqa: PLR2004 - minutes of an hour
        minutes = ",".join(str(minute + settle_minutes) for minute in range(0, 60, interval_minutes))
        return f"{minutes} * * * *"
    hours = "*" if interval_minutes == 60 else ",".join(str(hour) for hour in range(0, 24, interval_minutes // 60))  # noqa: PLR2004
    return f"{settle_minutes} {hours} * * *"


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """Return the five schedules; all run by default."""

    @dg.schedule(
        name="collect_tick",
        job_name=COLLECT_JOB,
        cron_schedule=tick_cron(settings.collection_interval_minutes, settings.settle_minutes),
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=(
            f"Collects today every {settings.collection_interval_minutes} minutes, and days that were missed. Asks for "
            "holes again after an hour, a day and a week."
        ),
    )
    def collect_tick(context: dg.ScheduleEvaluationContext, store: dg.ResourceParam[Store]) -> Iterator[dg.RunRequest]:
        now = context.scheduled_execution_time
        today = DayRange.of(now)
        yield dg.RunRequest(run_key="tick", partition_key=today.first.isoformat(), tags=_TICK_TAGS)
        missed = uncollected_days(store, now, settings)
        if missed is not None and not _under_way(context, store, settings, "catch_up"):
            yield _range_request(missed, "catch_up")
        holes = holes_due(store, now, settings)
        if holes and not _under_way(context, store, settings, REFILL):
            for days, tickers in holes.items():
                yield _range_request(days, REFILL, [ticker_key(name) for name in tickers])

    @dg.schedule(
        name="settle",
        job_name=COLLECT_JOB,
        cron_schedule=SETTLE_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Reads the last {settings.settle_days} days again: the source fills holes and revises days later.",
    )
    def settle(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        days = settle_days(context.scheduled_execution_time, settings)
        return _range_request(days, "settle") if days else dg.SkipReason("no day has ended since the start date")

    @dg.schedule(
        name="rebuild_stale_features",
        job_name=REBUILD_JOB,
        cron_schedule=REBUILD_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Computes feature days again whose bars were revised after they had been computed.",
    )
    def rebuild_stale_features(
        context: dg.ScheduleEvaluationContext, store: dg.ResourceParam[Store]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        ranges = stale_ranges(store, context.scheduled_execution_time, settings)
        if not ranges:
            yield dg.SkipReason("no stored feature day is stale")
        for days in ranges:
            yield _range_request(days, "rebuild")

    replay = dg.ScheduleDefinition(
        name="replay",
        job_name=REPLAY_JOB,
        cron_schedule=REPLAY_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Proves that the rows served yesterday come out of the log again, to the bit.",
    )
    return [collect_tick, settle, rebuild_stale_features, replay, _purge_schedule(settings)]


def _purge_schedule(settings: Settings) -> dg.ScheduleDefinition:
    @dg.schedule(
        name="purge_runs",
        job_name=PURGE_JOB,
        cron_schedule=PURGE_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Purges Dagster's runs and events that are older than {settings.run_retention_days} days.",
    )
    def purge_runs() -> dg.RunRequest | dg.SkipReason:
        if settings.run_retention_days == 0:
            return dg.SkipReason("RUN_RETENTION_DAYS=0: runs are kept for ever")
        return dg.RunRequest()

    return purge_runs


def settle_days(now: datetime, settings: Settings) -> DayRange | None:
    """Return the last `settle_days` days that have ended, cut to the days that can be collected."""
    last = yesterday(now)
    return clamp(DayRange(last - timedelta(days=settings.settle_days - 1), last), settings, now)


def stale_ranges(store: Store, now: datetime, settings: Settings) -> list[DayRange]:
    """Return the stale feature days as contiguous ranges, oldest first."""
    ranges: list[DayRange] = []
    for day in sorted(store.runs.stale_days()):
        if ranges and ranges[-1].last + ONE_DAY == day:
            ranges[-1] = DayRange(ranges[-1].first, day)
        else:
            ranges.append(DayRange(day, day))
    clamped = (clamp(days, settings, now) for days in ranges)
    return [days for days in clamped if days is not None]


def _range_request(days: DayRange, kind: str, assets: Sequence[dg.AssetKey] | None = None) -> dg.RunRequest:
    tags: Mapping[str, str] = {**range_tags(days), KIND_TAG: kind}
    # Several requests of one evaluation need run keys; Dagster compares them within one tick of the schedule only.
    return dg.RunRequest(run_key=f"{kind} {days.first} to {days.last}", tags=dict(tags), asset_selection=assets)


def _under_way(context: dg.ScheduleEvaluationContext, store: Store, settings: Settings, kind: str) -> bool:
    """Return whether a run of `kind` is alive: queued, holding the collection lock, or young enough to wait for it.

    Dagster shows a run whose process was killed as started for ever unless run monitoring is on; such a run must not
    keep the missed days from being collected.
    """
    records = context.instance.get_run_records(dg.RunsFilter(tags={KIND_TAG: kind}, statuses=_UNFINISHED), limit=20)
    if not records:
        return False
    held = CollectionLock(store).describe()
    waits = timedelta(seconds=settings.collection_lock_wait_seconds + settings.collection_lease_seconds)
    oldest = SystemClock().now() - waits - _START_UP
    return any(
        record.dagster_run.status is dg.DagsterRunStatus.QUEUED
        or (held is not None and held.holder == record.dagster_run.run_id)
        or record.create_timestamp >= oldest
        for record in records
    )
