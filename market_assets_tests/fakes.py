"""A whole collector for tests: simulated Yahoo, real yfinance client, real database, real Dagster runs.

Belongs here: putting the parts together, moving their common clock, and reading back what a run did. Does not belong
here: assertions, fixtures, the parts themselves.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import dagster as dg
import numpy as np
import sqlalchemy as sa

from market_assets.automation.jobs import COLLECT_JOB, KIND_TAG
from market_assets.calendars import to_us
from market_assets.checks.fetched import FETCHED_CHECK
from market_assets.collection.days import DayRange
from market_assets.columns import feature_columns
from market_assets.definitions import build_definitions
from market_assets.indicators import INDICATORS, Indicator
from market_assets.partitions import RANGE_END_TAG, RANGE_START_TAG, range_tags
from market_assets.settings import Settings
from market_assets.sources.simulator import RecordedRequest, SimulatorServer
from market_assets.sources.simulator.bars import View
from market_assets.store import Store
from market_assets.store.tables import ML_FEATURES
from market_assets.universe import UNIVERSE, Universe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    import pandas as pd

    from market_assets.clock import ManualClock
    from market_assets.store import CollectionRecord

#: a run tells nobody anything: pytest shows what failed
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
#: tickers for tests of time and history: one of each venue but ICE, two bonds for the spread, one crypto reference
SMALL_NAMES = ("QQQ", "HYG", "LQD", "JPYUSD", "VIX", "BTC")


def small_universe(names: Sequence[str] = SMALL_NAMES) -> Universe:
    """Return part of the universe: a collection of six tickers costs a third of one of nineteen."""
    return Universe(tuple(UNIVERSE[name] for name in names))


def indicators_of(universe: Universe) -> tuple[Indicator, ...]:
    """Return the indicators whose inputs are all in `universe`."""
    return tuple(one for one in INDICATORS if all(name in universe for name in one.inputs))


class TimedRequests(list[RecordedRequest]):
    """The requests a simulator saw, with the monotonic time at which each came in."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def append(self, request: RecordedRequest) -> None:
        self.seconds.append(time.monotonic())
        super().append(request)

    @property
    def span(self) -> float:
        """Seconds between the first and the last request."""
        return self.seconds[-1] - self.seconds[0]


@dataclass(frozen=True)
class Collected:
    """What one run did."""

    result: dg.ExecuteInProcessResult | dg.JobExecutionResult
    record: CollectionRecord | None
    #: chart requests that reached the server
    requests: list[RecordedRequest]

    @property
    def success(self) -> bool:
        return self.result.success

    @property
    def status(self) -> str:
        """Status in the collections table; empty if the run left no record."""
        return "" if self.record is None else self.record.status

    @cached_property
    def materialized(self) -> dict[str, list[str]]:
        """Partitions materialized, by asset (`ticker/QQQ`)."""
        found: dict[str, list[str]] = {}
        for event in self.result.get_asset_materialization_events():
            found.setdefault("/".join(event.asset_key.path if event.asset_key else ()), []).append(str(event.partition))
        return found

    def metadata(self, asset: str) -> dict[str, Any]:
        """Return the plain metadata values of the (last) materialization of `asset`."""
        events = [
            event
            for event in self.result.get_asset_materialization_events()
            if event.asset_key == dg.AssetKey(asset.split("/"))
        ]
        values = events[-1].step_materialization_data.materialization.metadata
        return {name: value.value for name, value in values.items()}

    @property
    def checks(self) -> dict[str, dg.AssetCheckEvaluation]:
        """Evaluations of `bars_were_fetched`, by ticker."""
        evaluations = self.result.get_asset_check_evaluations()
        return {one.asset_key.path[1]: one for one in evaluations if one.check_name == FETCHED_CHECK}

    def check_metadata(self, ticker: str) -> dict[str, Any]:
        """Return the plain metadata values of a ticker's check."""
        return {name: value.value for name, value in self.checks[ticker].metadata.items()}

    @property
    def failed_steps(self) -> dict[str, str]:
        """Message of each step that raised, by step."""
        found = {}
        for event in self.result.all_events:
            if event.is_step_failure:
                error = event.step_failure_data.error
                cause = error.cause if error and error.cause else error
                found[str(event.step_key)] = cause.message.strip() if cause else ""
        return found

    @property
    def skipped_steps(self) -> set[str]:
        return {str(event.step_key) for event in self.result.all_events if event.is_step_skipped}

    def facts(self) -> dict[str, Any]:
        """Return what can be kept as JSON: status, materialized partitions, requests as (symbol, interval, status)."""
        requests = [(one.symbol, one.interval, one.status) for one in self.requests]
        return {"status": self.status, "materialized": self.materialized, "requests": requests}

    def asked(self) -> set[tuple[str, str]]:
        """Return the distinct (symbol, interval) asked for."""
        return {(str(one.symbol), str(one.interval)) for one in self.requests}


#: collectors whose job is being resumed: Dagster makes the job again by calling `job_to_resume`
_RESUMING: dict[str, Collector] = {}


def job_to_resume(name: str) -> dg.JobDefinition:
    """Return the collect job of the collector that goes on."""
    return _RESUMING[name].definitions.resolve_job_def(COLLECT_JOB)


class Collector:
    """One deployment on a simulated market: the clock is moved by hand, everything else is the real thing."""

    def __init__(
        self,
        server: SimulatorServer,
        clock: ManualClock,
        database_url: str,
        *,
        universe: Universe = UNIVERSE,
        indicators: Sequence[Indicator] | None = None,
        **settings: Any,
    ) -> None:
        """Open and migrate the database; `settings` override the test defaults."""
        self.server = server
        self.clock = clock
        self.universe = universe
        self.indicators = indicators_of(universe) if indicators is None else tuple(indicators)
        quick = {"yfinance_request_delay": 0.0, "yahoo_attempts": 1, "yahoo_backoff_seconds": 600.0}
        self.settings = Settings.load(
            **{"yahoo_base_url": server.url, "database_url": database_url, **quick, **settings}
        )
        self.columns = feature_columns(universe, self.indicators)
        self.store = Store.connect(self.settings.sqlalchemy_url, clock=clock, feature_columns=self.columns)
        self.store.migrate()
        self.instance = dg.DagsterInstance.ephemeral()
        self._ended = ExitStack()
        #: what Dagster keeps of each sensor
        self._cursors: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database's connections; a SQLite file is whole afterwards."""
        self._ended.close()
        self.instance.dispose()
        self.store.close()

    @cached_property
    def daemon(self) -> dg.DagsterInstance:
        """The instance that schedules are evaluated on; they refuse one that lives in memory."""
        return self._ended.enter_context(dg.DagsterInstance.local_temp(overrides={"telemetry": {"enabled": False}}))

    @cached_property
    def definitions(self) -> dg.Definitions:
        return build_definitions(
            settings=self.settings,
            universe=self.universe,
            indicators=self.indicators,
            clock=self.clock,
            store=self.store,
        )

    def at(self, instant: datetime) -> Collector:
        """Move the clock, the simulator's and the collector's own."""
        self.clock.set(instant)
        return self

    def collect(
        self,
        first: date | None = None,
        last: date | None = None,
        *,
        kind: str = "tick",
        job: str = COLLECT_JOB,
        selection: Sequence[str] | None = None,
        tags: dict[str, str] | None = None,
    ) -> Collected:
        """Run `job` for one day (default: today) or, with `last`, over a range in one run; never raise for a failure.

        `selection` names the assets to materialize, as the UI does; default: all of the job.
        """
        first = first or self.clock.now().date()
        since = len(self.server.requests)
        tags = {KIND_TAG: kind, **(tags or {})}
        chosen = None if selection is None else [dg.AssetKey(name.split("/")) for name in selection]
        result = self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=first.isoformat() if last is None else None,
            tags=tags if last is None else {**tags, **range_tags(DayRange(first, last))},
            asset_selection=chosen,
            run_config=_QUIET,
            raise_on_error=False,
        )
        requests = [one for one in self.server.requests[since:] if one.symbol is not None]
        return Collected(result, self.store.runs.collection(result.run_id), requests)

    def go_on_from(self, failed: Collected) -> Collected:
        """Run again what failed in `failed` and what came after it, as the UI's "from failure" does."""
        since = len(self.server.requests)
        run = self.instance.get_run_by_id(failed.result.run_id)
        assert run is not None
        name = run.run_id  # Dagster keeps what it made, by these arguments
        _RESUMING[name] = self
        with dg.execute_job(
            dg.build_reconstructable_job("market_assets_tests.fakes", "job_to_resume", (name,)),
            instance=self.instance,
            tags=dict(run.tags),
            reexecution_options=dg.ReexecutionOptions.from_failure(run.run_id, self.instance),
        ) as result:
            pass
        # the collection has ended only now, with the resources
        requests = [one for one in self.server.requests[since:] if one.symbol is not None]
        return Collected(result, self.store.runs.collection(result.run_id), requests)

    def schedule(self, name: str) -> dg.ScheduleDefinition:
        """Return the schedule called `name`."""
        found = next(one for one in self.definitions.schedules or () if one.name == name)
        assert isinstance(found, dg.ScheduleDefinition)
        return found

    def requested(self, schedule: str, at: datetime) -> list[dg.RunRequest]:
        """Return the runs that `schedule` asks for at `at`, evaluated as the daemon does it."""
        definition = self.schedule(schedule)
        with dg.build_schedule_context(
            instance=self.daemon,
            scheduled_execution_time=at,
            repository_def=self.definitions.get_repository_def(),
            resources={"store": self.store},
        ) as context:
            return list(definition.evaluate_tick(context).run_requests or ())

    def run_sensor(self, name: str, *, runs_on: dg.DagsterInstance | None = None) -> str:
        """Evaluate the sensor called `name` as the daemon does, with the cursor it left; return what it says.

        `runs_on` is the instance whose runs it sees; default: that of `collect`.
        """
        definition = next(one for one in self.definitions.sensors or () if one.name == name)
        assert isinstance(definition, dg.SensorDefinition)
        with dg.build_sensor_context(
            instance=runs_on or self.instance,
            cursor=self._cursors.get(name),
            repository_def=self.definitions.get_repository_def(),
            sensor_name=name,
            resources={"store": self.store},
        ) as context:
            evaluated = definition.evaluate_tick(context)
        if evaluated.cursor is not None:
            self._cursors[name] = evaluated.cursor
        return evaluated.skip_message or ""

    def run_schedule(self, schedule: str, at: datetime) -> list[Collected]:
        """Move the clock to `at`, evaluate `schedule` and run what it asks for, one after the other."""
        job = self.schedule(schedule).job_name
        done = []
        for request in self.at(at).requested(schedule, at):
            tags = request.tags
            first = date.fromisoformat(request.partition_key or tags[RANGE_START_TAG])
            last = date.fromisoformat(tags[RANGE_END_TAG]) if RANGE_END_TAG in tags else None
            chosen = request.asset_selection
            selection = None if chosen is None else ["/".join(key.path) for key in chosen]
            done.append(self.collect(first, last, kind=tags[KIND_TAG], job=job, selection=selection))
        return done

    def rows(
        self, start: datetime | date | None = None, end: datetime | date | None = None, as_of: datetime | None = None
    ) -> pd.DataFrame:
        """Return the stored feature rows by observation time."""
        return self.store.read(ML_FEATURES, start=start, end=end, as_of=as_of).set_index("observed_at")

    def row(self, at: datetime, as_of: datetime | None = None) -> pd.Series[Any]:
        """Return the feature row at one observation time; raise KeyError if there is none."""
        found = self.rows(at, at + timedelta(microseconds=1), as_of)
        if found.empty:
            raise KeyError(f"no feature row at {at}")
        return found.iloc[0]


def true_price(server: SimulatorServer, symbol: str, at: datetime, *, lag: timedelta = timedelta(0)) -> float:
    """Return the close of the last 15m bar of `symbol` (Yahoo's name) published by `at`, straight from the market.

    It goes past everything that is tested: no wire, no store, no calendar arithmetic but the simulator's own.
    """
    instrument = server.market.instrument(symbol)
    if instrument is None:
        raise KeyError(symbol)
    ended_us = to_us(at - lag) - 900_000_000
    rows = View(server.market, instrument, to_us(at)).rows("15m", ended_us - 5 * 86_400_000_000, to_us(at))
    bars = slice(0, len(rows) - rows.prints)
    finished = rows.start_us[bars] <= ended_us
    return float(np.float32(rows.close[bars][finished][-1]))


def cell(frame: pd.DataFrame, row: object, column: str) -> Any:
    """Return one value of `frame`."""
    located: Any = frame.loc
    return located[row, column]


def closed_versions(collector: Collector, table: str) -> int:
    """Return how many versions of rows of `table` have been replaced or withdrawn."""
    with collector.store.database.engine.connect() as connection:
        return int(connection.execute(sa.text(f"SELECT COUNT(*) FROM {table}_history")).scalar_one())  # noqa: S608
