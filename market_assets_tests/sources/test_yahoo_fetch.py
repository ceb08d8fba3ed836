"""What a fetch answers, through the real yfinance client against the simulator."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.calendars import to_us, venue_calendar
from market_assets.errors import EmptyAnswerError, WindowRefusedError
from market_assets.sources.base import FetchAnswer, FetchRequest, Interval, MarketDataSource
from market_assets.sources.simulator import Fault
from market_assets.sources.yahoo import YahooSource
from market_assets.universe import UNIVERSE

from .conftest import NOW

if TYPE_CHECKING:
    from market_assets.clock import ManualClock
    from market_assets.sources.simulator import SimulatorServer

DAY = timedelta(days=1)
TODAY = datetime(2026, 3, 4, tzinfo=UTC)


def fetch(source: YahooSource, name: str, interval: Interval, start: datetime, end: datetime) -> FetchAnswer:
    return source.fetch(FetchRequest(UNIVERSE[name], interval, start, end))


def expected(name: str, interval: Interval, answer: FetchAnswer) -> list[int]:
    """Starts of the calendar's bars that were finished and published when the answer was fetched."""
    ticker = UNIVERSE[name]
    starts, ends = venue_calendar(ticker.venue).expected_bars(
        interval, to_us(answer.covered_start), to_us(answer.request.end)
    )
    published = ends + int(ticker.feed_lag.total_seconds()) * 1_000_000 <= to_us(answer.fetched_at)
    return [int(start) for start in starts[published]]


def test_it_is_a_market_data_source(source: YahooSource) -> None:
    as_protocol: MarketDataSource = source
    assert as_protocol.label == "simulator"


def test_the_label_says_where_bars_come_from(clock: ManualClock) -> None:
    assert YahooSource(clock=clock, timeout=DAY).label == "yahoo"
    assert YahooSource(clock=clock, timeout=DAY, label="mirror").label == "mirror"


@pytest.mark.parametrize("interval", list(Interval))
@pytest.mark.parametrize("name", ["QQQ", "USO", "EURUSD", "JPYUSD", "VIX", "DXY", "BTC"])
def test_every_finished_bar_of_the_calendar_arrives_and_no_other(
    source: YahooSource, name: str, interval: Interval
) -> None:
    answer = fetch(source, name, interval, TODAY - 9 * DAY, TODAY + DAY)
    starts = [to_us(start) for start in answer.bars["bar_start"]]
    assert starts == expected(name, interval, answer)
    assert starts
    assert set(answer.rejected["reason"]) <= {"unfinished", "live_row", "off_session"}
    assert (answer.source, answer.fetched_at) == ("simulator", NOW)
    assert (answer.covered_start, answer.covered_end) == (TODAY - 9 * DAY, NOW)


@pytest.mark.parametrize(
    ("now", "session_is_there"),
    [("2026-03-04T20:59:59", False), ("2026-03-04T21:00:00", True), ("2026-03-04T23:30:00", True)],
)
def test_a_daily_bar_exists_from_the_close_on(
    source: YahooSource, clock: ManualClock, now: str, session_is_there: bool
) -> None:
    clock.set(datetime.fromisoformat(now).replace(tzinfo=UTC))
    bars = fetch(source, "QQQ", Interval.D1, TODAY - DAY, TODAY + DAY).bars
    assert bars["bar_end"].dt.day.tolist() == ([3, 4] if session_is_there else [3])


def test_a_finished_bar_never_changes_while_the_session_goes_on(source: YahooSource, clock: ManualClock) -> None:
    seen: dict[object, tuple[float, ...]] = {}
    for minutes in range(0, 60, 7):
        clock.set(NOW + timedelta(minutes=minutes, seconds=minutes))
        for row in fetch(source, "SPY", Interval.M15, TODAY, TODAY + DAY).bars.itertuples(index=False):
            assert seen.setdefault(row.bar_start, tuple(row[2:])) == tuple(row[2:])
    assert len(seen) == 7


def test_the_yen_is_published_as_dollars_per_yen(source: YahooSource) -> None:
    bars = fetch(source, "JPYUSD", Interval.M15, TODAY, TODAY + DAY).bars
    assert bars["close"].between(0.004, 0.02).all()
    assert (bars["high"] >= bars[["open", "close", "low"]].max(axis=1)).all()
    assert (bars["low"] <= bars[["open", "close", "high"]].min(axis=1)).all()
    assert (bars["volume"] == 0).all()


def test_dividends_and_splits_have_their_ex_date(source: YahooSource) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    uso = fetch(source, "USO", Interval.D1, start, start + 366 * DAY).actions
    assert uso.to_dict("records") == [{"kind": "split", "ex_date": date(2020, 4, 29), "value": 0.125}]
    hyg = fetch(source, "HYG", Interval.D1, start, start + 366 * DAY).actions
    assert set(hyg["kind"]) == {"dividend"}
    assert len(hyg) == 12
    assert all(type(day) is date and day.year == 2020 for day in hyg["ex_date"])
    assert hyg["value"].between(0, 2).all()


def test_an_intraday_answer_brings_the_dividend_of_its_day(source: YahooSource, clock: ManualClock) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ex_date = fetch(source, "HYG", Interval.D1, start, TODAY).actions["ex_date"].iloc[-1]
    day = datetime(ex_date.year, ex_date.month, ex_date.day, tzinfo=UTC)
    clock.set(day + timedelta(hours=16))
    assert fetch(source, "HYG", Interval.M15, day, day + DAY).actions["ex_date"].tolist() == [ex_date]


def test_a_weekend_is_an_answer_without_bars(source: YahooSource, clock: ManualClock) -> None:
    saturday = datetime(2026, 3, 7, tzinfo=UTC)
    clock.set(saturday + timedelta(hours=40))
    for interval in Interval:
        answer = fetch(source, "QQQ", interval, saturday, saturday + 2 * DAY)
        assert answer.bars.empty
        assert (answer.covered_start, answer.covered_end) == (saturday, clock.now())


def test_an_answer_without_the_bars_that_the_venue_has_finished_is_an_error(
    source: YahooSource, simulator: SimulatorServer
) -> None:
    simulator.faults.add(Fault(kind="empty"))
    with pytest.raises(EmptyAnswerError, match=r"QQQ 15m 2026-03-04.*finished 3"):
        fetch(source, "QQQ", Interval.M15, TODAY, TODAY + DAY)


def test_bars_that_ended_a_moment_ago_may_still_be_missing(
    source: YahooSource, simulator: SimulatorServer, clock: ManualClock
) -> None:
    simulator.faults.add(Fault(kind="empty"))
    clock.set(datetime(2026, 3, 4, 14, 46, tzinfo=UTC))
    assert fetch(source, "QQQ", Interval.M15, TODAY, TODAY + DAY).bars.empty


@pytest.mark.parametrize(("interval", "days"), [(Interval.M15, 60), (Interval.H1, 730)])
def test_a_window_that_reaches_too_far_back_is_cut_to_what_yahoo_serves(
    source: YahooSource, simulator: SimulatorServer, interval: Interval, days: int
) -> None:
    answer = fetch(source, "QQQ", interval, NOW - (days + 20) * DAY, NOW)
    limit = NOW - days * DAY
    assert answer.covered_start == source.oldest_available(interval, NOW)
    assert limit < answer.covered_start < limit + timedelta(minutes=10)
    window = simulator.requests[-1].window
    assert window is not None
    assert window[0] == answer.covered_start.replace(microsecond=0)
    assert answer.bars["bar_start"].min() >= answer.covered_start


def test_daily_bars_have_no_limit(source: YahooSource) -> None:
    assert source.oldest_available(Interval.D1, NOW) is None
    answer = fetch(source, "SPY", Interval.D1, datetime(2018, 1, 1, tzinfo=UTC), datetime(2018, 2, 1, tzinfo=UTC))
    assert len(answer.bars) == 21


@pytest.mark.parametrize(
    ("start", "end", "remedy"),
    [
        (NOW - 90 * DAY, NOW - 61 * DAY, "serves bars from 2026-01-03T15:36:05Z until now"),
        (NOW + DAY, NOW + 2 * DAY, "serves bars from"),
    ],
)
def test_a_window_that_yahoo_cannot_serve_at_all_is_not_asked_for(
    source: YahooSource, simulator: SimulatorServer, start: datetime, end: datetime, remedy: str
) -> None:
    with pytest.raises(WindowRefusedError, match=remedy):
        fetch(source, "QQQ", Interval.M15, start, end)
    assert simulator.requests == []


def test_a_daily_request_covers_sessions_that_open_on_the_day_before(source: YahooSource, clock: ManualClock) -> None:
    # The dollar index opens on Sunday at 18:00 New York: its Monday bar begins on a Sunday, its row is stamped Monday.
    sunday = datetime(2026, 3, 1, tzinfo=UTC)
    clock.set(sunday + 3 * DAY)
    answer = fetch(source, "DXY", Interval.D1, sunday, sunday + DAY)
    assert [f"{start:%a %H:%M}" for start in answer.bars["bar_start"]] == ["Sun 23:00"]
    assert answer.rejected.empty
