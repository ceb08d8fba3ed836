"""What becomes of a ticker when some of its windows are answered without a bar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import sqlalchemy as sa

from market_assets.clock import ManualClock
from market_assets.collection.catch_up import uncollected_days
from market_assets.collection.days import DayRange
from market_assets.collection.session import CollectionSession
from market_assets.errors import EmptyAnswerError, LeaseLostError, SourceError
from market_assets.indicators import INDICATORS
from market_assets.settings import Settings
from market_assets.sources.base import (
    ACTION_COLUMNS,
    BAR_COLUMNS,
    REJECTED_COLUMNS,
    FetchAnswer,
    FetchRequest,
    Interval,
)
from market_assets.store import CollectionLock, RecordedStates, Replacement, Store
from market_assets.store.tables import COLLECTION_LOCK
from market_assets.universe import UNIVERSE, Universe

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets.collection.outcome import TickerOutcome
    from market_assets.collection.write import ScopedWrite
    from market_assets.store import Snapshot

FRIDAY = datetime(2026, 8, 28, 21, 31, tzinfo=UTC)
SATURDAY = FRIDAY + timedelta(days=1)


class Holes:
    """A source that has no bar in some intervals."""

    label = "simulator"

    def __init__(self, clock: ManualClock, empty: set[Interval]) -> None:
        self._clock, self._empty = clock, empty

    def oldest_available(self, interval: Interval, now: datetime) -> datetime | None:
        limits = {Interval.M15: timedelta(days=60), Interval.H1: timedelta(days=730)}
        return now - limits[interval] if interval in limits else None

    def fetch(self, request: FetchRequest) -> FetchAnswer:
        if request.interval in self._empty:
            raise EmptyAnswerError(f"{request}: no bar")
        start = pd.Timestamp(request.start).normalize() + pd.Timedelta("14h")
        bar = (start, start + pd.Timedelta("15min"), 10.0, 11.0, 9.0, 10.5, 100.0)
        bars = pd.DataFrame([bar], columns=list(BAR_COLUMNS))
        now = self._clock.now()
        return FetchAnswer(
            request=request,
            fetched_at=now,
            source=self.label,
            bars=bars,
            actions=pd.DataFrame(columns=list(ACTION_COLUMNS)),
            rejected=pd.DataFrame(columns=list(REJECTED_COLUMNS)),
            covered_start=request.start,
            covered_end=min(request.end, now),
        )


class WithoutBonds(Holes):
    """A source that fails for TLT."""

    def fetch(self, request: FetchRequest) -> FetchAnswer:
        if request.ticker.name == "TLT":
            raise SourceError("broken")
        return super().fetch(request)


def collect(tmp_path: Path, now: datetime, empty: set[Interval], kind: type[Holes] = Holes) -> TickerOutcome:
    clock = ManualClock(now)
    store = Store.connect(f"sqlite:///{tmp_path / 'market.db'}", clock=clock)
    store.migrate()
    session = CollectionSession(
        store=store,
        source_factory=lambda: kind(clock, empty),
        settings=Settings.load(yahoo_base_url="http://127.0.0.1:1", yahoo_attempts=1, yfinance_request_delay=0.0),
        universe=UNIVERSE,
        indicators=INDICATORS,
        clock=clock,
        run_id="run",
        kind="tick",
    )
    with session.recorded(DayRange.of(now)):
        outcome = session.collect(UNIVERSE["QQQ"], DayRange.of(now), ["QQQ"])
        if outcome.write is not None:
            store_write(store, outcome.write)
    store.close()
    return outcome


def store_write(store: Store, write: ScopedWrite) -> None:
    store.replace(write.replacements, scopes=write.scopes, fetched_at=write.fetched_at, states=write.states)


def test_a_collection_that_is_overtaken_before_it_tells_of_a_failure_has_failed_and_its_days_are_collected_again(
    tmp_path: Path,
) -> None:
    clock = ManualClock(FRIDAY)
    store = Store.connect(f"sqlite:///{tmp_path / 'market.db'}", clock=clock)
    store.migrate()
    settings = Settings.load(yahoo_base_url="http://127.0.0.1:1", yahoo_attempts=1, yfinance_request_delay=0.0)
    lock = CollectionLock(store)
    lost = lock.acquire("paused")
    qqq, tlt = UNIVERSE["QQQ"], UNIVERSE["TLT"]
    session = CollectionSession(
        store=store,
        source_factory=lambda: WithoutBonds(clock, set()),
        settings=settings,
        universe=Universe((qqq, tlt)),
        indicators=(),
        clock=clock,
        run_id="overtaken",
        kind="tick",
    )
    days = DayRange.of(FRIDAY)

    def is_overtaken() -> None:
        with store.fenced_by(lost), session.recorded(days):
            outcome = session.collect(qqq, days, ["QQQ", "TLT"])
            assert outcome.write is not None
            store_write(store, outcome.write)
            session.stored(qqq)
            table = store.schema.plain(COLLECTION_LOCK)
            stolen = sa.update(table).values({"token": "another's"})
            store.database.write(lambda connection: connection.execute(stolen), fenced=False)
            session.collect(tlt, days, ["QQQ", "TLT"])

    with pytest.raises(LeaseLostError):
        is_overtaken()
    lost.release()

    record = store.runs.collection("overtaken")
    assert record is not None
    # what became of TLT could not be told: nobody may take the day for done
    assert (record.status, record.summary["stored"]) == ("failed", ["QQQ"])
    assert {entry.ticker for entry in store.runs.states(days.first, days.last + timedelta(days=1))} == {"QQQ"}
    assert uncollected_days(store, SATURDAY, settings) == days
    store.close()


def test_bars_and_what_they_mean_for_their_days_are_stored_together_or_not_at_all(tmp_path: Path) -> None:
    clock = ManualClock(FRIDAY)
    store = Store.connect(f"sqlite:///{tmp_path / 'market.db'}", clock=clock)
    store.migrate()
    outcome = collect(tmp_path, FRIDAY, set())
    write = outcome.write
    assert write is not None
    states = store.runs.states(FRIDAY.date() - timedelta(days=900), SATURDAY.date())
    # the days of the look-back too: they are not asked for again
    assert {(one.interval, one.day) for one in states} >= {(one.interval, one.day) for one in write.scopes}
    began = store.watermark()

    def dies(_snapshot: Snapshot) -> RecordedStates:
        raise RuntimeError("killed")

    clock.set(FRIDAY + timedelta(minutes=30))
    bars = write.replacements[0]
    revised = Replacement(bars.table, bars.frame.assign(close=10.75))
    with pytest.raises(RuntimeError, match="killed"):
        store.replace((revised,), scopes=write.scopes, fetched_at=clock.now(), states=dies)
    assert store.watermark() == began
    assert set(store.read(bars.table, series=["QQQ"])["close"]) == {10.5}
    store.close()


def test_a_hole_in_one_interval_does_not_throw_away_the_others(tmp_path: Path) -> None:
    outcome = collect(tmp_path, FRIDAY, {Interval.D1})
    assert outcome.error is None
    assert len(outcome.bars) > 0
    assert len(outcome.holes) == 1


def test_a_hole_is_no_scope_so_that_nothing_stored_is_withdrawn(tmp_path: Path) -> None:
    outcome = collect(tmp_path, FRIDAY, {Interval.D1})
    assert outcome.write is not None
    assert {scope.interval for scope in outcome.write.scopes} == {"15m", "1h"}


def test_a_ticker_without_any_bar_on_a_day_that_should_have_some_has_failed(tmp_path: Path) -> None:
    outcome = collect(tmp_path, FRIDAY, set(Interval))
    assert isinstance(outcome.error, EmptyAnswerError)
    assert outcome.write is None


def test_a_hole_before_a_weekend_does_not_fail_the_ticker_all_weekend(tmp_path: Path) -> None:
    collect(tmp_path, FRIDAY - timedelta(days=1), set())
    outcome = collect(tmp_path, SATURDAY, set(Interval))
    assert outcome.error is None
    assert outcome.write is not None
    assert outcome.write.scopes == ()
    assert len(outcome.holes) >= 2


def test_a_ticker_that_never_had_a_bar_fails_on_a_weekend_too(tmp_path: Path) -> None:
    assert isinstance(collect(tmp_path, SATURDAY, set(Interval)).error, EmptyAnswerError)


@pytest.mark.parametrize("now", [FRIDAY, SATURDAY])
def test_any_other_failure_of_one_window_fails_the_ticker(tmp_path: Path, now: datetime) -> None:
    class Broken(Holes):
        def fetch(self, request: FetchRequest) -> FetchAnswer:
            if request.interval is Interval.D1:
                raise SourceError("broken")
            return super().fetch(request)

    outcome = collect(tmp_path, now, set(), Broken)
    assert outcome.error is not None
    assert outcome.write is None
