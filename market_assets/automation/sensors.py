"""The sensors: one takes in what finished runs found, one looks whether ticks are missed. Both post what waits.

Belongs here: which runs are new, and when is looked. Does not belong here: what is told (`alerts/`).

Neither is one of Dagster's run-status sensors: those pass over a run for good when their function fails, and one status
each is their limit. Here a run is passed over only once what it found is in the market database; taking it in twice
changes nothing.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

import dagster as dg

from market_assets.alerts.delivery import Delivered
from market_assets.alerts.evaluations import FinishedRun
from market_assets.alerts.heartbeat import ping
from market_assets.alerts.service import Alerts
from market_assets.automation.evaluations import is_ours, read_run, unreadable_run
from market_assets.clock import Clock, SystemClock
from market_assets.collection.catch_up import GOOD_STATUSES
from market_assets.errors import StoreError
from market_assets.settings import Settings
from market_assets.store import Store

_LOG = logging.getLogger(__name__)

_EVERY_SECONDS = 60
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
#: how far back a sensor that starts for the first time looks, beyond an interval
_FIRST_LOOK = timedelta(hours=1)
#: a run's last update can become visible after a later one's
_OVERLAP = timedelta(minutes=1)
#: run records that are read at first, and runs whose events one evaluation reads
_RECORDS = 1000
_RUNS = 25
#: evaluations in which a run may not be readable before it is told as one that failed
_ATTEMPTS = 3


@dataclass(slots=True)
class RunCursor:
    """How far the finished runs have been taken in."""

    after: datetime
    #: runs taken in, whose last update lies within the overlap: their update by run id
    seen: dict[str, float] = field(default_factory=dict)
    #: how often a run could not be read, by run id
    unread: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None, first_look: timedelta) -> Self:
        """Return the cursor that Dagster kept; one that looks back by `first_look` if there is none."""
        if not text:
            # Dagster stamps runs by the machine's clock.
            return cls(SystemClock().now() - first_look)
        kept = json.loads(text)
        return cls(datetime.fromtimestamp(kept["after"], UTC), dict(kept["seen"]), dict(kept["unread"]))

    def write(self) -> str:
        """Return the text for Dagster to keep."""
        start = (self.after - _OVERLAP).timestamp()
        seen = {run_id: updated for run_id, updated in self.seen.items() if updated >= start}
        return json.dumps({"after": self.after.timestamp(), "seen": seen, "unread": self.unread})

    def fresh(self, instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
        """Return the finished runs that were updated since and have not been taken in, oldest first."""
        filters = dg.RunsFilter(statuses=_FINISHED, updated_after=self.after - _OVERLAP)
        limit = _RECORDS
        while True:
            records = instance.get_run_records(filters, limit=limit, order_by="update_timestamp", ascending=True)
            found = [record for record in records if record.dagster_run.run_id not in self.seen]
            if found or len(records) < limit:
                return found
            # A backfill that is canceled ends thousands of runs at once, and stamps can be equal.
            limit *= 2

    def take(self, record: dg.RunRecord) -> None:
        """Note that a run has been taken in, or is nobody's business here."""
        updated = record.update_timestamp
        self.seen[record.dagster_run.run_id] = updated.timestamp()
        self.unread.pop(record.dagster_run.run_id, None)
        self.after = max(self.after, updated)


def build_sensors(settings: Settings, clock: Clock) -> list[dg.SensorDefinition]:
    """Return the two sensors; both run by default, every minute."""

    @dg.sensor(
        name="alert_on_finished_runs",
        minimum_interval_seconds=_EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reads what the checks of finished runs found, and tells people what has changed.",
    )
    def alert_on_finished_runs(context: dg.SensorEvaluationContext, store: dg.ResourceParam[Store]) -> dg.SkipReason:
        alerts = Alerts(store, settings, clock)
        cursor = RunCursor.read(context.cursor, _FIRST_LOOK + settings.interval)
        origin = context.code_location_origin
        location = origin.location_name if origin is not None else None
        taken = 0
        for record in cursor.fresh(context.instance):
            if is_ours(record.dagster_run, location):
                if taken == _RUNS:
                    break
                run = _read(context.instance, record, store, clock, cursor)
                if run is None:
                    break
                alerts.run_finished(run)
                _ping_after(run, store, settings, clock)
                taken += 1
            cursor.take(record)
        context.update_cursor(cursor.write())
        return dg.SkipReason(f"{taken} finished runs taken in; {_told(alerts.deliver())}")

    @dg.sensor(
        name="alert_on_missed_ticks",
        minimum_interval_seconds=_EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells people when no tick has succeeded for two intervals, and posts what could not be posted.",
    )
    def alert_on_missed_ticks(store: dg.ResourceParam[Store]) -> dg.SkipReason:
        alerts = Alerts(store, settings, clock)
        message = alerts.review()
        return dg.SkipReason(f"{'nothing new' if message is None else message.title}; {_told(alerts.deliver())}")

    return [alert_on_finished_runs, alert_on_missed_ticks]


def _read(
    instance: dg.DagsterInstance, record: dg.RunRecord, store: Store, clock: Clock, cursor: RunCursor
) -> FinishedRun | None:
    """Return what a run found; None if that cannot be read now. One that can never be read must not hide the others."""
    run_id = record.dagster_run.run_id
    try:
        return read_run(instance, record, store, clock.now())
    except StoreError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is logged, and told at the last attempt
        tried = cursor.unread[run_id] = cursor.unread.get(run_id, 0) + 1
        _LOG.exception("what run %s found could not be read, attempt %d of %d", run_id, tried, _ATTEMPTS)
        return None if tried < _ATTEMPTS else unreadable_run(record, error, store, clock.now())


def _ping_after(run: FinishedRun, store: Store, settings: Settings, clock: Clock) -> None:
    """Ping the dead-man's switch after a good tick; not after one that was long ago."""
    if settings.heartbeat_url is None or not (run.is_current and run.whole):
        return
    logged = store.runs.collection(run.run_id)
    if (
        logged is not None
        and logged.status in GOOD_STATUSES
        and clock.now() - logged.started_at < 2 * settings.interval
    ):
        ping(settings.heartbeat_url)


def _told(delivered: Delivered) -> str:
    failed = [post.target for post in delivered.posts if not post.ok]
    posted = len(delivered.posts) - len(failed)
    return f"{posted} posted, {delivered.waiting} waiting" + (f", failed: {', '.join(failed)}" if failed else "")
