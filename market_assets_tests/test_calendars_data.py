"""Tests of the venue calendars by property, and against the dates of real data."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_assets.calendars import FIRST_DAY, LAST_DAY, US_PER_MINUTE, VenueCalendar, from_us, to_us, venue_calendar
from market_assets.sources.base import Interval

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

VENUES = ("XNYS", "FX", "CBOE_INDEX", "ICE_USDX", "UTC_24_7")
INTRADAY = (Interval.M15, Interval.H1)

#: Cboe's VIX rows on days on which NYSE is shut, up to 2026-07-23: global hours only, never a session
VIX_OFF_SESSION = {
    f"{year}-{day}"
    for year, days in {
        2022: "05-30 06-20 07-04 09-05 11-24",
        2023: "01-16 02-20 05-29 06-19 07-04 09-04 11-23",
        2024: "01-15 02-19 05-27 06-19 07-04 09-02 11-28",
        2025: "01-09 01-20 02-17 05-26 06-19 07-04 09-01 11-27",
        2026: "01-19 02-16 05-25 06-19 07-03",
    }.items()
    for day in days.split()
}
#: Yahoo's DXY rows on days on which NYSE is shut, up to 2026-07-23: two of about sixty such days
DXY_OFF_SESSION = {"2025-01-09", "2025-05-26"}
#: Yahoo's FX rows, London days: those of the two shut days exist, three weekdays are missing
FX_HOLIDAY = {"12-25", "01-01"}
FX_MISSING = {"2017-07-11", "2017-11-16", "2019-05-22"}


def utc(text: str) -> int:
    """Microseconds of an ISO date, UTC."""
    return to_us(datetime.fromisoformat(text).replace(tzinfo=UTC))


def whole_table(calendar: VenueCalendar) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    table = calendar.sessions(calendar.first_day, calendar.last_day)
    return table.open_us, table.close_us


# --- properties ------------------------------------------------------------------------------------------------------

instants = st.integers(utc("2015-01-05") // US_PER_MINUTE, utc("2040-12-28") // US_PER_MINUTE).map(
    lambda minute: minute * US_PER_MINUTE
)
venues = st.sampled_from(VENUES)


@settings(max_examples=100, deadline=None)
@given(venues, instants, st.integers(1, 4 * 1440))
def test_open_minutes_equal_a_count_of_the_open_minutes(venue: str, start: int, minutes: int) -> None:
    calendar = venue_calendar(venue)
    end = start + minutes * US_PER_MINUTE
    opens, closes = whole_table(calendar)
    near = (closes > start) & (opens < end)
    spans = list(zip(opens[near].tolist(), closes[near].tolist(), strict=True))
    each = range(start, end, US_PER_MINUTE)
    counted = [any(opened <= minute < closed for opened, closed in spans) for minute in each]
    assert calendar.open_minutes(start, end) == sum(counted)
    assert calendar.is_open(np.array(each)).tolist() == counted


@settings(max_examples=100, deadline=None)
@given(venues, instants, instants, instants)
def test_open_minutes_add_up_and_never_decrease(venue: str, one: int, two: int, three: int) -> None:
    calendar = venue_calendar(venue)
    start, middle, end = sorted((one + 7, two + 11, three + 13))
    whole = float(calendar.open_minutes(start, end))
    parts = calendar.open_minutes([start, middle], [middle, end])
    assert float(parts.sum()) == pytest.approx(whole, rel=1e-12)
    assert 0.0 <= parts[0] <= whole <= (end - start) / US_PER_MINUTE
    assert calendar.open_minutes(end, start) == 0.0


@pytest.mark.parametrize("venue", VENUES)
def test_sessions_are_ascending_and_disjoint(venue: str) -> None:
    calendar = venue_calendar(venue)
    table = calendar.sessions(FIRST_DAY, LAST_DAY)
    assert (np.diff(table.label) > np.timedelta64(0, "D")).all()
    assert (table.open_us < table.close_us).all()
    assert (table.close_us[:-1] <= table.open_us[1:]).all()
    last_instant = [from_us(us - 1).astimezone(calendar.timezone).date() for us in table.close_us.tolist()]
    assert last_instant == table.label.tolist()


@pytest.mark.parametrize("interval", INTRADAY)
@pytest.mark.parametrize("venue", VENUES)
def test_intraday_bars_tile_the_sessions_up_to_the_named_exceptions(venue: str, interval: Interval) -> None:
    calendar = venue_calendar(venue)
    table = calendar.sessions_between_us(utc("2024-01-01"), utc("2027-01-01"))
    starts, ends = calendar.expected_bars(interval, int(table.open_us[0]), int(table.close_us[-1]))
    length = {Interval.M15: 15, Interval.H1: 60}[interval] * US_PER_MINUTE
    assert (starts < ends).all()
    assert (ends - starts <= length).all()
    assert (ends[:-1] <= starts[1:]).all()
    row = np.searchsorted(table.open_us, starts, side="right") - 1
    assert (ends <= table.close_us[row]).all(), "a bar reaches beyond its session"
    covered = np.bincount(row, weights=(ends - starts) / US_PER_MINUTE, minlength=len(table.label))
    missing = (table.close_us - table.open_us) / US_PER_MINUTE - covered
    if venue in {"XNYS", "UTC_24_7"} or (venue, interval) == ("CBOE_INDEX", Interval.M15):
        assert not missing.any()
    elif venue == "CBOE_INDEX":
        assert set(missing) == {30.0}  # 09:30 to 10:00
    elif venue == "FX":
        monday = np.is_busday(table.label, weekmask="1000000")
        assert not missing[~monday].any()
        assert set(missing[monday]) == {120.0, 180.0}  # Sunday from 17:00 New York to midnight in London
    else:
        evening, night, afternoon = (
            300.0,
            570.0,
            240.0,
        )  # of a holiday; and the rest of a half day: 00:00-09:30, 13:00-17:00
        assert set(missing) == {0.0, evening, night + afternoon, evening + night + afternoon}
        half_days = "2024-07-03 2024-11-29 2024-12-24 2025-07-03 2025-11-28 2025-12-24 2026-11-27 2026-12-24"
        assert " ".join(table.label[missing > evening].astype(str)) == half_days
        assert "2026-09-08" in table.label[missing == evening].astype(str)  # after Labor Day


@settings(max_examples=50, deadline=None)
@given(venues, st.sampled_from(list(Interval)), instants, st.integers(0, 20 * 1440), st.integers(0, 20 * 1440))
def test_expected_bars_of_two_adjoining_windows_are_those_of_the_whole(
    venue: str, interval: Interval, start: int, first: int, second: int
) -> None:
    calendar = venue_calendar(venue)
    start = min(start, utc("2040-11-01"))
    middle = start + first * US_PER_MINUTE
    end = middle + second * US_PER_MINUTE
    whole = calendar.expected_bars(interval, start, end)
    parts = [calendar.expected_bars(interval, start, middle), calendar.expected_bars(interval, middle, end)]
    for column in (0, 1):
        assert np.array_equal(whole[column], np.concatenate([part[column] for part in parts]))


# --- real data -------------------------------------------------------------------------------------------------------


def dates_in(path: Path, symbol: str) -> set[str]:
    frame = pd.read_csv(path, usecols=["symbol", "date"])
    return set(frame.loc[frame["symbol"] == symbol, "date"])


def labels_over(venue: str, dates: set[str]) -> set[str]:
    table = venue_calendar(venue).sessions(date.fromisoformat(min(dates)), date.fromisoformat(max(dates)))
    return set(table.label.astype(str).tolist())


@pytest.mark.parametrize("symbol", ["QQQ", "SPY"])
def test_nyse_sessions_are_the_days_on_which_the_etfs_traded(shared_dir: Path, symbol: str) -> None:
    dates = dates_in(shared_dir / "market/daily/etf_ohlcv_yahoo_unadjusted_kittycapital.csv.gz", symbol)
    assert len(dates) > 2300
    assert labels_over("XNYS", dates) == dates


def test_vix_sessions_are_cboes_days_without_those_of_global_hours_only(shared_dir: Path) -> None:
    dates = dates_in(shared_dir / "market/daily/vix_ohlc_cboe.csv.gz", "VIX")
    labels = labels_over("CBOE_INDEX", dates)
    assert labels - dates == set()
    assert dates - labels == VIX_OFF_SESSION


def test_dollar_index_sessions_are_the_days_of_yahoos_daily_rows(shared_dir: Path) -> None:
    dates = dates_in(shared_dir / "market/daily/dxy_ohlc_yahoo_kittycapital.csv.gz", "DXY")
    labels = labels_over("ICE_USDX", dates)
    assert labels - dates == set()
    assert dates - labels == DXY_OFF_SESSION


@pytest.mark.parametrize("symbol", ["EURUSD=X", "JPY=X"])
def test_currency_days_are_yahoos_daily_rows_up_to_christmas_and_new_year(shared_dir: Path, symbol: str) -> None:
    dates = dates_in(shared_dir / "market/daily/fx_ohlc_yahoo_alex.csv.gz", symbol)
    labels = labels_over("FX", dates)
    assert labels - dates == FX_MISSING
    assert {day[5:] for day in dates - labels} == FX_HOLIDAY


def test_broker_bars_of_the_euro_lie_in_currency_sessions_but_for_the_named_nights(shared_dir: Path) -> None:
    path = shared_dir / "market/intraday/A_eurusd_30m_broker_2019-06_2020-10.csv.gz"
    starts = pd.to_datetime(pd.read_csv(path)["ts_utc"], utc=True)
    inside = venue_calendar("FX").is_open(starts.astype("datetime64[us, UTC]").astype("int64").to_numpy())
    outside = starts[~inside].dt.tz_convert("America/New_York").dt.strftime("%Y-%m-%d")
    assert inside.mean() > 0.998
    assert set(outside) <= {"2019-12-24", "2019-12-25", "2019-12-31"}, set(outside)


def test_minutes_of_an_etf_around_christmas_lie_in_sessions(shared_dir: Path) -> None:
    frame = pd.read_csv(shared_dir / "market/intraday/A_etf_1m_yahoo_2019-12_2020-01.csv.gz")
    spy = pd.to_datetime(frame.loc[frame["symbol"] == "SPY", "ts_utc"], utc=True).drop_duplicates()
    at = spy.astype("datetime64[us, UTC]").astype("int64").to_numpy()
    calendar = venue_calendar("XNYS")
    outside = spy[~calendar.is_open(at)].dt.tz_convert("America/New_York")
    # Yahoo prints one closing row at the close itself
    assert set(outside.dt.strftime("%H:%M")) <= {"13:00", "16:00"}
    table = calendar.sessions(date(2019, 12, 24), date(2019, 12, 24))
    assert at[(at >= table.open_us[0]) & (at < table.close_us[0])].size == 210
