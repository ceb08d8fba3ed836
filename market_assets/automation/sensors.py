"""The sensors: one takes in what finished runs found, one looks whether ticks are missed. Both post what waits.

Belongs here: which runs are new, and when is looked. Does not belong here: what is told (`alerts/`).

Neither is one of Dagster's run-status sensors: those pass over a run for good when their function fails, and one status
each is their limit. Here a run is passed over only once what it found is in the market database; taking it in twice
changes nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

import dagster as dg

from market_assets.alerts.delivery import Delivered
from market_assets.alerts.evaluations import FinishedRun
from market_assets.alerts.heartbeat import ping
from market_assets.alerts.service import Alerts
from market_assets.automation.evaluations import is_ours, read_run
from market_assets.clock import Clock, SystemClock
from market_assets.collection.catch_up import GOOD_STATUSES
from market_assets.settings import Settings
from market_assets.store import Store

_EVERY_SECONDS = 60
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
#: how far back a sensor that starts for the first time looks
_FIRST_LOOK = timedelta(hours=1)
#: a run's last update can become visible after a later one's
_OVERLAP = timedelta(minutes=1)
#: run records that one evaluation reads, and runs whose events it reads
_RECORDS = 1000
_RUNS = 25


@dataclass(slots=True)
class RunCursor:
    """How far the finished runs have been taken in."""

    after: datetime
    #: runs taken in, whose last update lies within the overlap: their update by run id
    seen: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Return the cursor that Dagster kept; one that looks a little back if there is none."""
        if not text:
            # Dagster stamps runs by the machine's clock.
            return cls(SystemClock().now() - _FIRST_LOOK)
        kept = json.loads(text)
        return cls(datetime.fromtimestamp(kept["after"], UTC), dict(kept["seen"]))

    def write(self) -> str:
        """Return the text for Dagster to keep."""
        start = (self.after - _OVERLAP).timestamp()
        seen = {run_id: updated for run_id, updated in self.seen.items() if updated >= start}
        return json.dumps({"after": self.after.timestamp(), "seen": seen})

    def fresh(self, instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
        """Return the finished runs that were updated since and have not been taken in, oldest first."""
        filters = dg.RunsFilter(statuses=_FINISHED, updated_after=self.after - _OVERLAP)
        records = instance.get_run_records(filters, limit=_RECORDS, order_by="update_timestamp", ascending=True)
        return [record for record in records if record.dagster_run.run_id not in self.seen]

    def take(self, record: dg.RunRecord) -> None:
        """Note that a run has been taken in, or is nobody's business here."""
        updated = record.update_timestamp
        self.seen[record.dagster_run.run_id] = updated.timestamp()
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
        cursor = RunCursor.read(context.cursor)
        origin = context.code_location_origin
        location = origin.location_name if origin is not None else None
        taken = 0
        for record in cursor.fresh(context.instance):
            if is_ours(record.dagster_run, location):
                if taken == _RUNS:
                    break
                run = read_run(context.instance, record, store, clock.now())
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
