"""A collector without Dagster: the same fetch, store and feature functions as its runs, on a simulated market.

Belongs here: driving collections the way the assets do. Does not belong here: assertions, Dagster, the market.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from market_assets.collection.build import build_indicator, read_ticker_logs
from market_assets.collection.days import DayRange
from market_assets.collection.session import CollectionSession
from market_assets.columns import feature_columns
from market_assets.settings import Settings
from market_assets.sources.yahoo import YahooSource
from market_assets.store import CollectionLock, Store
from market_assets.store.tables import ML_FEATURES
from market_assets.universe import UNIVERSE, Universe
from market_assets.verify.served import Definitions
from market_assets_tests.fakes import indicators_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    import pandas as pd

    from market_assets.clock import ManualClock
    from market_assets.collection.outcome import TickerOutcome
    from market_assets.collection.write import ScopedWrite
    from market_assets.store import CollectionRecord, WriteReport
    from market_assets.universe import Ticker

_RUNS = (f"run-{number}" for number in itertools.count(1))
_POLL = timedelta(seconds=0.02)


def _unhindered() -> None:
    """Let a collection without a lock go on."""


class LiveCollector:
    """One deployment; `restart` is what a killed and started process would be."""

    def __init__(
        self,
        server_url: str,
        clock: ManualClock,
        database_url: str,
        *,
        universe: Universe = UNIVERSE,
        only_features: bool = False,
        called: str | None = None,
        lease: timedelta | None = None,
        wait: timedelta = timedelta(0),
        **settings: Any,
    ) -> None:
        """Open and migrate the database; `only_features` leaves out indicators, correlations and crypto rows.

        Its runs are `called` so, and numbered from 1 on; else their names are unique in this process. With a `lease`
        each takes the collection lock, waiting up to `wait`.
        """
        self.clock = clock
        self._names = _RUNS if called is None else (f"{called}-{number}" for number in itertools.count(1))
        self._lease, self._wait = lease, wait
        self._may_go_on: Callable[[], None] = _unhindered
        self._raised = False
        self._only_features = only_features
        self.universe = universe
        self.indicators = indicators_of(universe)
        quick = {"yfinance_request_delay": 0.0, "yahoo_attempts": 1, "yahoo_backoff_seconds": 600.0}
        self.settings = Settings.load(
            **{"yahoo_base_url": server_url, "database_url": database_url, **quick, **settings}
        )
        self.definitions = Definitions(universe, self.indicators)
        self.store = self._opened()
        self.source = self._source()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()

    def restart(self) -> None:
        """Begin anew from what is in the database."""
        self.store.close()
        self.store = self._opened()
        self.source = self._source()

    def _opened(self) -> Store:
        columns = feature_columns(self.universe, self.indicators)
        store = Store.connect(self.settings.sqlalchemy_url, clock=self.clock, feature_columns=columns)
        store.migrate()
        return store

    def _source(self) -> YahooSource:
        return YahooSource(clock=self.clock, base_url=self.settings.yahoo_base_url, timeout=timedelta(seconds=20))

    def collect(self, first: Any = None, last: Any = None, *, kind: str = "tick") -> CollectionRecord:
        """Collect one day (default: today) or a range of days at the clock's instant, as one run does."""
        days = DayRange(first or self.clock.now().date(), last or first or self.clock.now().date())
        session = self._session(kind)
        names = [ticker.name for ticker in self.universe]
        with self._locked(session), session.recorded(days), self._noticed():
            session.expect_features()
            for ticker in self.universe:
                outcome = session.collect(ticker, days, names)
                if outcome.write is not None:
                    self._write(outcome.write)
                    session.stored(ticker)
                self.after_ticker(session, ticker, outcome, days)
            self._derive(session, days)
        return self._record(session)

    def rebuild(self, days: Iterable[Any]) -> None:
        """Compute the feature days again that are marked as stale, as the nightly run does."""
        for day in sorted(days):
            session = self._session("rebuild")
            with self._locked(session), session.recorded(DayRange(day, day)), self._noticed():
                session.expect_features()
                self._derive(session, DayRange(day, day))

    def rows(self, start: datetime | None = None, end: datetime | None = None) -> pd.DataFrame:
        """Return the stored feature rows by observation time."""
        return self.store.read(ML_FEATURES, start=start, end=end).set_index("observed_at")

    def after_ticker(self, session: CollectionSession, ticker: Ticker, outcome: TickerOutcome, days: DayRange) -> None:
        """Be told of a ticker that has been stored, or could not be fetched."""

    def after_features(self, session: CollectionSession, days: DayRange, rows: pd.DataFrame) -> None:
        """Be told of feature rows that have been stored."""

    def _session(self, kind: str) -> CollectionSession:
        return CollectionSession(
            store=self.store,
            source_factory=lambda: self.source,
            settings=self.settings,
            universe=self.universe,
            indicators=self.indicators,
            clock=self.clock,
            run_id=next(self._names),
            kind=kind,
            may_go_on=self._go_on,
            has_failed=lambda: self._raised,
        )

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        """Notice what a run raises, as Dagster's event log does."""
        self._raised = True
        yield
        self._raised = False

    def _go_on(self) -> None:
        self._may_go_on()

    @contextmanager
    def _locked(self, session: CollectionSession) -> Iterator[None]:
        """Hold the lock as `resources.py` does."""
        if self._lease is None:
            yield
            return
        with CollectionLock(self.store).acquire(session.run_id, lease=self._lease, wait=self._wait, poll=_POLL) as held:
            self._may_go_on = held.check
            with self.store.fenced_by(held):
                yield

    def _derive(self, session: CollectionSession, days: DayRange) -> None:
        features = session.features(days)
        self._write(features)
        session.features_written(days, features)
        self.after_features(session, days, features.replacements[0].frame)
        if self._only_features:
            return
        for indicator in self.indicators:
            window = days.widened(indicator.lookback_days)
            with self.store.snapshot() as snapshot:
                inputs = [self.universe[name] for name in indicator.inputs]
                logs = read_ticker_logs(snapshot, inputs, window.start, window.end)
                write = build_indicator(
                    indicator,
                    logs,
                    days,
                    session.now,
                    snapshot=snapshot,
                    interval_minutes=self.settings.collection_interval_minutes,
                )
            self._write(write)
        self._write(session.correlations(days))
        self._write(session.crypto_rows(days))

    def _write(self, write: ScopedWrite) -> WriteReport:
        return self.store.replace(
            write.replacements, scopes=write.scopes, fetched_at=write.fetched_at, states=write.states
        )

    def _record(self, session: CollectionSession) -> CollectionRecord:
        record = self.store.runs.collection(session.run_id)
        if record is None:
            raise LookupError(session.run_id)
        return record
