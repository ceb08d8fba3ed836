"""A collector that lives through days in which things go wrong, without Dagster's runs, and what a person hears.

Belongs here: driving the ticks and nightly runs, judging them, taking down what is posted. Does not belong here:
any one scenario, and what should be heard.

A judge is a function from a finished collection to evaluations; `JUDGES` has the checks that a run's own steps yield,
without the run and its event log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from market_assets.alerts.evaluations import NOTHING_FETCHED, Evaluation, FinishedRun
from market_assets.alerts.service import Alerts
from market_assets.assets.common import FEATURES_KEY, ticker_key
from market_assets.automation.evaluations import evaluation_of
from market_assets.checks.results import feature_check_results, ticker_check_results
from market_assets.collection.days import DayRange
from market_assets.errors import CollectionFailedError
from market_assets.store.tables import ML_FEATURES
from market_assets_tests.alerts.receivers import Kept
from market_assets_tests.verify.live import LiveCollector

if TYPE_CHECKING:
    from market_assets.clock import ManualClock
    from market_assets.collection.session import CollectionSession
    from market_assets.store import CollectionRecord
    from market_assets.universe import Universe

Judge = Callable[["Collection"], Iterable[Evaluation]]


@dataclass(frozen=True, slots=True)
class Collection:
    """One finished collection, for the judges."""

    session: CollectionSession
    record: CollectionRecord
    days: DayRange


def judge_tickers(done: Collection) -> Iterator[Evaluation]:
    """Evaluate every check of every ticker."""
    session = done.session
    for name, outcome in session.outcomes.items():
        events = ticker_check_results(ticker_key(name), session, session.universe[name], outcome, done.days)
        yield from _evaluations(events)


def judge_features(done: Collection) -> Iterator[Evaluation]:
    """Evaluate the checks of the feature rows."""
    rows = done.session.store.read(ML_FEATURES, start=done.days.start, end=done.days.end)
    yield from _evaluations(feature_check_results(FEATURES_KEY, done.session, done.days, rows))


def _evaluations(events: Iterable[object]) -> Iterator[Evaluation]:
    """Read what a step would have yielded as the sensor reads it from the event log."""
    return (evaluation_of(event) for event in events if isinstance(event, dg.AssetCheckEvaluation))


JUDGES: tuple[Judge, ...] = (judge_tickers, judge_features)


class _Observed(LiveCollector):
    """Keeps the session of the last collection."""

    session: CollectionSession

    def _record(self, session: CollectionSession) -> CollectionRecord:
        self.session = session
        return super()._record(session)


class Deployment:
    """A collector with alerts, on a simulated market and a clock moved by hand."""

    def __init__(
        self,
        server_url: str,
        clock: ManualClock,
        database_url: str,
        *,
        universe: Universe,
        judges: Iterable[Judge] = JUDGES,
        **settings: Any,
    ) -> None:
        self.clock = clock
        self.collector = _Observed(
            server_url,
            clock,
            database_url,
            universe=universe,
            only_features=True,
            alert_urls="json://person.example.com/",
            # the pool rests by the real clock, which the simulated days outrun
            yahoo_backoff_seconds=0.0,
            **settings,
        )
        self.poster = Kept()
        self._judges = tuple(judges)
        self._alerts = Alerts(self.collector.store, self.collector.settings, clock, self.poster)

    @property
    def heard(self) -> list[str]:
        """When and what the person heard, a line each."""
        return [
            f"{message.created_at:%a %H:%M} {message.title.removeprefix('Market collector: ')}"
            for _, message in self.poster.taken
        ]

    def live(
        self, begin: datetime, end: datetime, changes: dict[datetime, Callable[[], object]] | None = None
    ) -> Deployment:
        """Tick from `begin` to `end`, settle and rebuild every night, and let the world change before some ticks.

        `changes` are keyed by the tick before which they happen; every one of them must happen.
        """
        left = dict(changes or {})
        at = begin
        while at < end:
            left.pop(at, lambda: None)()
            self.clock.set(at)
            self.run("tick", DayRange.of(at))
            if at.hour == 2 and at - at.replace(minute=0) < self.collector.settings.interval:
                self._night(at)
            at += self.collector.settings.interval
        assert not left, f"no tick at {sorted(left)}"
        return self

    def run(self, kind: str, days: DayRange) -> None:
        """Collect, judge, and let the alerts take it in, as a run and the sensor do."""
        record = self.collector.collect(days.first, days.last, kind=kind)
        session = self.collector.session
        failure = ""
        try:
            session.fail_if_nothing_was_collected()
        except CollectionFailedError as error:
            failure = str(error)
        done = Collection(session, record, days)
        self._alerts.run_finished(
            FinishedRun(
                record.run_id,
                kind,
                record.started_at,
                days,
                tuple(evaluation for judge in self._judges for evaluation in judge(done)),
                succeeded=not failure,
                failure=failure,
                failure_cause=NOTHING_FETCHED if failure else "",
                whole=True,
            )
        )
        self._look()

    def _night(self, at: datetime) -> None:
        self.clock.set(at.replace(minute=10))
        yesterday = DayRange.of(at).before.last
        days = DayRange(yesterday - timedelta(days=self.collector.settings.settle_days - 1), yesterday)
        self.run("settle", days)
        self.clock.set(at.replace(minute=28))
        self.collector.rebuild(self.collector.store.runs.stale_days())
        self._look()

    def _look(self) -> None:
        self._alerts.review()
        self._alerts.deliver()

    def close(self) -> None:
        self.collector.store.close()
