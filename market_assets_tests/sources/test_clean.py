"""Rows of any shape in, bars of the venue's calendar out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_assets.calendars import US_PER_DAY, to_us, venue_calendar
from market_assets.sources.base import BAR_COLUMNS, REJECTED_COLUMNS, Interval
from market_assets.sources.clean import RawRows, Window, clean_rows, count_expected
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from market_assets.universe import Ticker

NEW_YORK, LONDON, UTC_ZONE = ZoneInfo("America/New_York"), ZoneInfo("Europe/London"), ZoneInfo("UTC")
MINUTE_US = 60_000_000
LATER = datetime(2027, 1, 1, tzinfo=UTC)


def at(text: str, zone: ZoneInfo = UTC_ZONE) -> int:
    return to_us(datetime.fromisoformat(text).replace(tzinfo=zone))


def raw(stamps: list[int], zone: ZoneInfo = NEW_YORK, *, last_trade_us: int | None = None) -> RawRows:
    """Rows with distinguishable prices: row i opens at 100 + i."""
    base = np.arange(100, 100 + len(stamps), dtype=np.float64)
    return RawRows(np.array(stamps, dtype=np.int64), base, base + 2, base - 1, base + 1, base * 10, zone, last_trade_us)


def clean(
    rows: RawRows,
    ticker: str,
    interval: Interval,
    start: str,
    end: str,
    *,
    fetched_at: datetime = LATER,
    padding: timedelta = timedelta(0),
) -> tuple[pd.DataFrame, pd.DataFrame]:
    pad = int(padding.total_seconds()) * 1_000_000
    return clean_rows(
        rows,
        ticker=UNIVERSE[ticker],
        interval=interval,
        calendar=venue_calendar(UNIVERSE[ticker].venue),
        window=Window(at(start), at(end), at(start) - pad, at(end) + pad),
        fetched_at_us=to_us(fetched_at),
    )


def starts(frame: pd.DataFrame) -> list[str]:
    return [instant.strftime("%Y-%m-%d %H:%M:%S") for instant in frame["bar_start"]]


def as_us(instants: pd.Series[pd.Timestamp]) -> NDArray[np.int64]:
    return instants.dt.tz_localize(None).to_numpy(dtype="datetime64[us]").astype(np.int64)


def reasons(frame: pd.DataFrame) -> dict[str, str]:
    return dict(zip(starts(frame), frame["reason"].tolist(), strict=True))


# --- intraday ---------------------------------------------------------------------------------------------------------


def test_bars_have_utc_microseconds_floats_and_the_documented_columns() -> None:
    bars, rejected = clean(raw([at("2026-03-04 14:30")]), "QQQ", Interval.M15, "2026-03-04", "2026-03-05")
    assert list(bars.columns) == list(BAR_COLUMNS)
    assert list(rejected.columns) == list(REJECTED_COLUMNS)
    for frame in (bars, rejected):
        assert str(frame["bar_start"].dtype) == "datetime64[us, UTC]"
        assert {str(frame[name].dtype) for name in ("open", "high", "low", "close", "volume")} == {"float64"}
    assert bars.iloc[0][["open", "high", "low", "close", "volume"]].tolist() == [100, 102, 99, 101, 1000]


def test_an_hourly_bar_ends_with_the_session_even_on_a_half_day() -> None:
    stamps = [at(f"2025-11-28 {hour}:30", NEW_YORK) for hour in ("09", "10", "11", "12")]
    bars, _ = clean(raw(stamps), "QQQ", Interval.H1, "2025-11-28", "2025-11-29")
    assert [end.strftime("%H:%M") for end in bars["bar_end"]] == ["15:30", "16:30", "17:30", "18:00"]


def test_the_closing_print_of_a_half_day_is_no_bar() -> None:
    rows = raw([at("2025-11-28 12:45", NEW_YORK), at("2025-11-28 13:00", NEW_YORK), at("2025-11-28 13:15", NEW_YORK)])
    bars, rejected = clean(rows, "QQQ", Interval.M15, "2025-11-28", "2025-11-29")
    assert starts(bars) == ["2025-11-28 17:45:00"]
    assert set(rejected["reason"]) == {"off_session"}


def test_the_live_row_is_found_by_its_odd_second_or_by_the_time_of_the_last_trade() -> None:
    stamps = [at("2026-03-04 14:30"), at("2026-03-04 14:47:13"), at("2026-03-04 14:52")]
    rows = raw(stamps, last_trade_us=at("2026-03-04 14:52"))
    bars, rejected = clean(rows, "QQQ", Interval.M15, "2026-03-04", "2026-03-05")
    assert starts(bars) == ["2026-03-04 14:30:00"]
    assert set(rejected["reason"]) == {"live_row"}


def test_a_last_trade_on_the_grid_does_not_hide_the_bar_that_begins_there() -> None:
    rows = raw([at("2026-03-04 14:45")], last_trade_us=at("2026-03-04 14:45"))
    bars, _ = clean(rows, "QQQ", Interval.M15, "2026-03-04", "2026-03-05")
    assert starts(bars) == ["2026-03-04 14:45:00"]


def test_a_row_between_two_bars_is_off_the_grid() -> None:
    _, rejected = clean(raw([at("2026-03-04 14:50")]), "QQQ", Interval.M15, "2026-03-04", "2026-03-05")
    assert reasons(rejected) == {"2026-03-04 14:50:00": "off_grid"}


def test_a_bar_is_finished_once_its_feed_lag_has_passed() -> None:
    rows = raw([at("2026-03-04 14:30"), at("2026-03-04 14:45")])
    for ticker, expected in (("QQQ", 2), ("VIX", 1)):
        bars, rejected = clean(
            rows, ticker, Interval.M15, "2026-03-04", "2026-03-05", fetched_at=datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
        )
        assert len(bars) == expected
        assert set(rejected["reason"]) <= {"unfinished"}


def test_pre_market_weekend_and_holiday_rows_are_off_session() -> None:
    stamps = [at("2026-03-04 13:00"), at("2026-03-07 15:00"), at("2026-04-03 15:00")]  # Good Friday last
    bars, rejected = clean(raw(stamps), "QQQ", Interval.M15, "2026-03-01", "2026-04-10")
    assert bars.empty
    assert set(rejected["reason"]) == {"off_session"}


def test_the_vix_bar_that_begins_before_the_open_is_off_session() -> None:
    rows = raw([at("2026-03-04 09:00", NEW_YORK), at("2026-03-04 10:00", NEW_YORK), at("2026-03-04 16:00", NEW_YORK)])
    bars, rejected = clean(rows, "VIX", Interval.H1, "2026-03-04", "2026-03-05")
    assert [end.strftime("%H:%M") for end in bars["bar_end"]] == ["16:00", "21:15"]
    assert reasons(rejected) == {"2026-03-04 14:00:00": "off_session"}


def test_bars_that_the_calendar_does_not_expect_are_kept_if_the_venue_is_open() -> None:
    afternoon = at("2025-11-28 14:00", NEW_YORK)  # the dollar index on a half day of NYSE
    expected, _ = venue_calendar("ICE_USDX").expected_bars(Interval.M15, afternoon, afternoon + MINUTE_US)
    assert not len(expected)
    bars, _ = clean(raw([afternoon]), "DXY", Interval.M15, "2025-11-28", "2025-11-29")
    assert len(bars) == 1


def test_rows_appended_behind_the_window_are_outside_of_it() -> None:
    stamps = [at("2026-03-04 14:30"), at("2026-03-06 14:30"), at("2026-03-06 20:11:07")]
    bars, rejected = clean(raw(stamps), "QQQ", Interval.M15, "2026-03-04", "2026-03-05")
    assert starts(bars) == ["2026-03-04 14:30:00"]
    assert set(rejected["reason"]) == {"outside_window"}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("field", ["open", "high", "low", "close"])
def test_a_bar_without_one_of_its_prices_is_null(field: str, bad: float) -> None:
    rows = raw([at("2026-03-04 14:30"), at("2026-03-04 14:45")])
    getattr(rows, field)[0] = bad
    bars, rejected = clean(rows, "QQQ", Interval.M15, "2026-03-04", "2026-03-05")
    assert starts(bars) == ["2026-03-04 14:45:00"]
    assert reasons(rejected) == {"2026-03-04 14:30:00": "null_bar"}


def test_a_missing_volume_is_unknown_and_not_zero() -> None:
    rows = raw([at("2026-03-04 14:30")])
    rows.volume[0] = np.nan
    bars, _ = clean(rows, "QQQ", Interval.M15, "2026-03-04", "2026-03-05")
    assert bars["volume"].isna().all()


def test_the_first_of_two_rows_of_one_bar_counts_and_a_null_one_does_not() -> None:
    stamp = at("2026-03-04 14:30")
    rows = raw([stamp, stamp, stamp])
    rows.open[0] = np.nan
    bars, rejected = clean(rows, "QQQ", Interval.M15, "2026-03-04", "2026-03-05")
    assert bars["open"].tolist() == [101.0]
    assert rejected["reason"].tolist() == ["null_bar", "duplicate"]


def test_an_inverted_ticker_swaps_high_and_low_and_refuses_prices_that_have_no_inverse() -> None:
    rows = raw([at("2026-03-04 14:30"), at("2026-03-04 14:45")], LONDON)
    rows.close[1] = 0.0
    bars, rejected = clean(rows, "JPYUSD", Interval.M15, "2026-03-04", "2026-03-05")
    assert bars.iloc[0][["open", "high", "low", "close", "volume"]].tolist() == [
        1 / 100, 1 / 99, 1 / 102, 1 / 101, 1000,
    ]  # fmt: skip
    assert reasons(rejected) == {"2026-03-04 14:45:00": "null_bar"}


# --- daily ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ticker", "zone", "stamp", "start", "end"),
    [
        ("QQQ", NEW_YORK, "2026-03-04 09:30", "2026-03-04 14:30", "2026-03-04 21:00"),
        ("QQQ", NEW_YORK, "2026-07-02 09:30", "2026-07-02 13:30", "2026-07-02 20:00"),
        ("VIX", ZoneInfo("America/Chicago"), "2026-03-04 08:30", "2026-03-04 14:30", "2026-03-04 21:15"),
        ("DXY", NEW_YORK, "2026-03-04 00:00", "2026-03-04 00:00", "2026-03-04 22:00"),
        ("DXY", NEW_YORK, "2026-07-06 00:00", "2026-07-05 22:00", "2026-07-06 21:00"),
        ("EURUSD", LONDON, "2026-07-02 00:00", "2026-07-01 23:00", "2026-07-02 23:00"),
        ("EURUSD", LONDON, "2026-03-04 00:00", "2026-03-04 00:00", "2026-03-05 00:00"),
        ("BTC", UTC_ZONE, "2026-03-07 00:00", "2026-03-07 00:00", "2026-03-08 00:00"),
    ],
)
def test_a_daily_row_spans_the_session_of_its_local_date(
    ticker: str, zone: ZoneInfo, stamp: str, start: str, end: str
) -> None:
    bars, rejected = clean(
        raw([at(stamp, zone)], zone), ticker, Interval.D1, "2026-03-01", "2026-07-31", padding=timedelta(days=1)
    )
    assert rejected.empty
    assert [f"{bars[name].iloc[0]:%Y-%m-%d %H:%M}" for name in ("bar_start", "bar_end")] == [start, end]


def test_the_dates_of_daily_bars_are_the_calendars_labels_at_every_venue() -> None:
    for ticker in ("QQQ", "VIX", "DXY", "EURUSD", "BTC"):
        calendar = venue_calendar(UNIVERSE[ticker].venue)
        labels = calendar.sessions(date(2017, 1, 2), date(2030, 12, 30)).label
        zone = {"EURUSD": LONDON, "BTC": UTC_ZONE}.get(ticker, NEW_YORK)
        noons = [to_us(datetime(d.year, d.month, d.day, 12, tzinfo=zone)) for d in labels.tolist()]
        bars, rejected = clean(
            raw(noons, zone),
            ticker,
            Interval.D1,
            "2017-01-01",
            "2031-01-01",
            fetched_at=datetime(2032, 1, 1, tzinfo=UTC),
        )
        middle = bars["bar_start"] + (bars["bar_end"] - bars["bar_start"]) / 2
        assert middle.dt.date.tolist() == labels.tolist()
        assert rejected.empty


@pytest.mark.parametrize("closing", ["15:59:50", "16:00:00", "16:00:04"])
def test_after_the_close_the_daily_row_stamped_with_the_last_trade_is_the_bar(closing: str) -> None:
    stamp = at(f"2026-03-04 {closing}", NEW_YORK)
    bars, _ = clean(
        raw([at("2026-03-03 09:30", NEW_YORK), stamp], last_trade_us=stamp), "QQQ", Interval.D1, "2026-03-03",
        "2026-03-05", fetched_at=datetime(2026, 3, 4, 21, 1, tzinfo=UTC),
    )  # fmt: skip
    assert starts(bars) == ["2026-03-03 14:30:00", "2026-03-04 14:30:00"]


def test_a_row_of_a_trade_long_before_the_close_is_not_the_finished_day() -> None:
    bars, rejected = clean(raw([at("2026-03-04 15:40:07", NEW_YORK)]), "QQQ", Interval.D1, "2026-03-04", "2026-03-05")
    assert bars.empty
    assert set(rejected["reason"]) == {"live_row"}


def test_the_dollar_index_row_of_the_next_evening_is_not_the_finished_day() -> None:
    stamps = [at("2026-03-04 00:00", NEW_YORK), at("2026-03-05 19:40:12", NEW_YORK)]
    bars, rejected = clean(raw(stamps), "DXY", Interval.D1, "2026-03-03", "2026-03-07")
    assert len(bars) == 1
    assert set(rejected["reason"]) == {"live_row"}


def test_during_the_session_the_daily_row_is_unfinished() -> None:
    bars, rejected = clean(
        raw([at("2026-03-04 15:40:07", NEW_YORK)]), "QQQ", Interval.D1, "2026-03-04", "2026-03-05",
        fetched_at=datetime(2026, 3, 4, 20, 41, tzinfo=UTC),
    )  # fmt: skip
    assert bars.empty
    assert set(rejected["reason"]) == {"unfinished"}


def test_on_a_weekend_the_fx_live_row_does_not_pass_for_friday() -> None:
    # Its close is the price at Friday's end; the close of the real row is the price at Friday's start.
    live = at("2026-03-06 21:59:58", LONDON)
    stamps = [at("2026-03-05 00:00", LONDON), at("2026-03-06 00:00", LONDON), live]
    for rows, expected in ((raw(stamps, LONDON, last_trade_us=live), 2), (raw([stamps[0], live], LONDON), 1)):
        bars, rejected = clean(
            rows, "EURUSD", Interval.D1, "2026-03-05", "2026-03-08", fetched_at=datetime(2026, 3, 7, 12, tzinfo=UTC)
        )
        assert len(bars) == expected
        assert set(rejected["reason"]) == {"live_row"}


def test_the_partial_crypto_day_is_never_a_bar() -> None:
    stamps = [at("2026-03-06 00:00"), at("2026-03-07 00:00"), at("2026-03-07 23:59:58")]
    bars, rejected = clean(
        raw(stamps, UTC_ZONE, last_trade_us=stamps[2]), "BTC", Interval.D1, "2026-03-06", "2026-03-08",
        fetched_at=datetime(2026, 3, 7, 23, 59, 59, tzinfo=UTC),
    )  # fmt: skip
    assert starts(bars) == ["2026-03-06 00:00:00"]
    assert rejected["reason"].tolist() == ["unfinished", "unfinished"]


def test_a_daily_row_on_a_day_without_a_session_is_off_session() -> None:
    stamps = [at("2025-12-25 00:00", LONDON), at("2025-12-26 00:00", LONDON)]
    bars, rejected = clean(raw(stamps, LONDON), "EURUSD", Interval.D1, "2025-12-20", "2025-12-31")
    assert starts(bars) == ["2025-12-26 00:00:00"]
    assert reasons(rejected) == {"2025-12-25 00:00:00": "off_session"}


def test_daily_rows_asked_for_only_to_be_sure_are_not_reported() -> None:
    stamps = [at(f"2026-03-0{day} 09:30", NEW_YORK) for day in (3, 4, 5)]
    bars, rejected = clean(raw(stamps), "QQQ", Interval.D1, "2026-03-04", "2026-03-05", padding=timedelta(days=1))
    assert starts(bars) == ["2026-03-04 14:30:00"]
    assert rejected.empty


# --- properties -------------------------------------------------------------------------------------------------------

TICKERS = st.sampled_from([UNIVERSE[name] for name in ("QQQ", "JPYUSD", "VIX", "DXY", "BTC")])
ZONES = {"XNYS": NEW_YORK, "FX": LONDON, "CBOE_INDEX": NEW_YORK, "ICE_USDX": NEW_YORK, "UTC_24_7": UTC_ZONE}
WEEK_START = at("2025-11-22")  # around Thanksgiving: a holiday, a half day, a weekend
WEEK_US = 9 * US_PER_DAY


@st.composite
def answers(draw: st.DrawFn) -> tuple[RawRows, Ticker]:
    ticker = draw(TICKERS)
    on_grid = st.integers(-96, WEEK_US // MINUTE_US // 15 + 96).map(lambda n: WEEK_START + n * 15 * MINUTE_US)
    odd = st.integers(0, WEEK_US // 1_000_000).map(lambda n: WEEK_START + n * 1_000_000)
    stamps = draw(st.lists(on_grid | odd, max_size=40))
    good, bad = st.floats(0.5, 500.0), st.sampled_from([np.nan, np.inf, 0.0, -1.0])
    row = st.one_of(st.tuples(good, good, good, good), st.tuples(good, good, bad, good))
    values = draw(st.lists(row, min_size=len(stamps), max_size=len(stamps)))
    opened, high, low, close = np.array(values, dtype=np.float64).reshape(len(stamps), 4).T.copy()
    volume = np.arange(len(stamps), dtype=np.float64)
    rows = RawRows(np.array(stamps, dtype=np.int64), opened, high, low, close, volume, ZONES[ticker.venue])
    return rows, ticker


@given(answers(), st.sampled_from(list(Interval)), st.integers(0, WEEK_US // 1_000_000))
@settings(max_examples=100, deadline=None)
def test_every_row_is_a_bar_or_rejected_and_every_bar_is_finished_in_session_and_unique(
    answer: tuple[RawRows, Ticker], interval: Interval, fetched_after_seconds: int
) -> None:
    rows, ticker = answer
    calendar = venue_calendar(ticker.venue)
    fetched_at_us = WEEK_START + fetched_after_seconds * 1_000_000
    window = Window(WEEK_START, WEEK_START + WEEK_US, WEEK_START, WEEK_START + WEEK_US)
    bars, rejected = clean_rows(
        rows, ticker=ticker, interval=interval, calendar=calendar, window=window, fetched_at_us=fetched_at_us
    )
    begin, end = (as_us(bars[name]) for name in ("bar_start", "bar_end"))
    assert (np.diff(begin) > 0).all()
    assert ((begin >= window.start_us) & (begin < window.end_us) & (begin < end)).all()
    assert (end + int(ticker.feed_lag.total_seconds()) * 1_000_000 <= fetched_at_us).all()
    if interval is Interval.D1:
        assert set(begin) <= set(calendar.expected_bars(interval, window.start_us, window.end_us)[0])
    else:
        assert len(bars) + len(rejected) == len(rows.stamp_us)
        assert calendar.is_open(begin).all()
        assert calendar.is_open(end - 1).all()
    prices = bars[["open", "high", "low", "close"]].to_numpy()
    assert np.isfinite(prices).all()
    assert (prices > 0).all() or not ticker.inverted


@given(answers(), st.sampled_from(list(Interval)), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_rows_does_not_matter(
    answer: tuple[RawRows, Ticker], interval: Interval, shuffler: object
) -> None:
    rows, ticker = answer
    _, first = np.unique(rows.stamp_us, return_index=True)  # the first of two rows of one stamp counts, so no twins
    order = list(first)
    shuffler.shuffle(order)  # type: ignore[attr-defined]
    columns = ("stamp_us", "open", "high", "low", "close", "volume")
    frames = [
        clean_rows(
            replace(rows, **{name: getattr(rows, name)[index] for name in columns}),
            ticker=ticker,
            interval=interval,
            calendar=venue_calendar(ticker.venue),
            window=Window(WEEK_START, WEEK_START + WEEK_US, WEEK_START, WEEK_START + WEEK_US),
            fetched_at_us=WEEK_START + WEEK_US,
        )
        for index in (first, np.array(order, dtype=np.int64))
    ]
    for one, other in zip(*frames, strict=True):
        assert one.equals(other)


def test_expected_bars_are_counted_once_they_must_have_been_published() -> None:
    counts = [
        count_expected(
            ticker=UNIVERSE[name],
            interval=Interval.M15,
            calendar=venue_calendar(UNIVERSE[name].venue),
            start_us=at("2026-03-04"),
            end_us=at("2026-03-05"),
            fetched_at_us=at("2026-03-04 15:14:59"),
            grace=timedelta(minutes=15),
        )
        for name in ("QQQ", "VIX")
    ]
    assert counts == [1, 0]
