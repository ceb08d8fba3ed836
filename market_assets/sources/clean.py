"""From rows as a source states them to bars: which rows are bars, of which session, and why the others are not.

Belongs here: pure functions over arrays and a venue calendar. Does not belong here: any wire format (`yahoo_chart.py`),
requests, the clock, and judging prices (bad prices of real bars are quarantined by the write).

What looks like a bar and is none (each ends in `rejected` with its reason):

* `live_row`: the last trade as a row of its own, at an odd second or at the time of the last trade
* `unfinished`: the bar has not ended, or its feed lag has not passed
* `feed_behind`: the bar has ended by the clock, but the source's last trade is older than its feed lag allows and lies
  inside of it: the feed is late, and this is the bar that is running there
* `off_session`, `off_grid`: before or after the venue's hours (half-day closing prints, night sessions); between bars
* `null_bar`: a placeholder without prices
* `outside_window`: appended by the source behind the end of the window that was asked for
* `duplicate`: a second row of the same bar

Instants are int64 microseconds since the epoch, UTC; windows are half-open.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from market_assets.calendars import US_PER_DAY, US_PER_MINUTE
from market_assets.sources.base import BAR_COLUMNS, BAR_LENGTH, FEED_BEHIND, Interval

if TYPE_CHECKING:
    from datetime import timedelta
    from zoneinfo import ZoneInfo

    from numpy.typing import NDArray

    from market_assets.calendars import VenueCalendar
    from market_assets.universe import Ticker

_US_PER_SECOND = 1_000_000
#: every session begins on a quarter of an hour, and so does every bar
_US_PER_QUARTER = 15 * US_PER_MINUTE
#: A daily row stamped with its last trade is the finished bar if that trade was the closing one. Seen: 10 s before the
#: close to 4 s after it. Later, it may belong to the next session: the dollar index reopens after two hours.
_CLOSING_EARLY_US = US_PER_MINUTE
_CLOSING_LATE_US = 15 * US_PER_MINUTE

_REASONS = (
    "",
    "outside_window",
    "live_row",
    "off_session",
    "off_grid",
    "unfinished",
    "null_bar",
    "duplicate",
    FEED_BEHIND,
)
_KEPT, _OUTSIDE, _LIVE, _OFF_SESSION, _OFF_GRID, _UNFINISHED, _NULL, _DUPLICATE, _BEHIND = range(len(_REASONS))
#: A feed is late if its last trade is older than its lag and this. Of the ETFs' minutes of 2019-12, ten of twelve have
#: a trade in every quarter of an hour; the two others are marked as thinly traded in the universe.
_SILENCE_US = 15 * US_PER_MINUTE
#: Whatever the source says, a bar that ended (and was due) so long ago is finished: a venue falls silent at its close.
_BEHIND_AT_MOST_US = 60 * US_PER_MINUTE


@dataclass(frozen=True, slots=True)
class RawRows:
    """Rows of an answer as stated, in any order: parallel arrays, NaN is null."""

    stamp_us: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    #: the source's time zone for the ticker: a daily row belongs to the date that its stamp has there
    zone: ZoneInfo
    #: when the source last saw a trade, if it says so
    last_trade_us: int | None = None

    def live(self) -> NDArray[np.bool_]:
        """Return which rows are stamped with a trade instead of the start of a bar."""
        odd: NDArray[np.bool_] = self.stamp_us % US_PER_MINUTE != 0
        return odd if self.last_trade_us is None else odd | (self.stamp_us == self.last_trade_us)


class Window(NamedTuple):
    """Bars with `start_us <= bar_start < end_us` are wanted; the source was asked for stamps in the asked window."""

    start_us: int
    end_us: int
    asked_start_us: int
    asked_end_us: int


class _Placed(NamedTuple):
    """For each row the bar that it belongs to; where `reason` is set, start and end mean nothing."""

    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]
    #: index into _REASONS
    reason: NDArray[np.int8]
    #: stamped with the last trade and not with the start of its bar
    live: NDArray[np.bool_]
    #: rows that belong to no bar of the window only because more was asked than was wanted
    ignored: NDArray[np.bool_]


def clean_rows(
    rows: RawRows,
    *,
    ticker: Ticker,
    interval: Interval,
    calendar: VenueCalendar,
    window: Window,
    fetched_at_us: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (bars, rejected) with BAR_COLUMNS and REJECTED_COLUMNS of base.py, in the ticker's published orientation.

    `calendar` is the one of the ticker's venue, `fetched_at_us` the start of the request.

    Raises:
        CalendarRangeError: the window lies outside of the venue calendar.
    """
    rows = _sorted(rows)
    place = _place_daily if interval is Interval.D1 else _place_intraday
    placed = place(rows, interval, calendar, window)
    rows, null = _oriented(rows, inverted=ticker.inverted)
    reason = placed.reason
    unfinished = placed.end_us + _us(ticker.feed_lag) > fetched_at_us
    reason[(reason == _KEPT) & unfinished] = _UNFINISHED
    reason[(reason == _KEPT) & _still_running(placed, rows, ticker, fetched_at_us)] = _BEHIND
    # Until the next session begins, Yahoo stamps a finished session's daily row with its last trade instead of its
    # open. A venue without a close has no such row: there it is a day in progress, or an FX price of the wrong day.
    after_close = rows.stamp_us - placed.end_us
    closing = (after_close >= -_CLOSING_EARLY_US) & (after_close < _CLOSING_LATE_US)
    if ticker.is_fx or ticker.is_crypto:
        closing[:] = False
    reason[(reason == _KEPT) & placed.live & ~closing] = _LIVE
    reason[(reason == _KEPT) & null] = _NULL
    _mark_duplicates(placed)
    kept = np.flatnonzero((reason == _KEPT) & ~placed.ignored)
    kept = kept[np.argsort(placed.start_us[kept])]
    dropped = np.flatnonzero((reason != _KEPT) & ~placed.ignored)
    bars = {"bar_start": _instants(placed.start_us[kept]), "bar_end": _instants(placed.end_us[kept])}
    rejected = {"bar_start": _instants(rows.stamp_us[dropped])}
    values = {name: getattr(rows, name) for name in BAR_COLUMNS[2:]}
    return (
        pd.DataFrame(bars | {name: column[kept] for name, column in values.items()}),
        pd.DataFrame(
            rejected
            | {name: column[dropped] for name, column in values.items()}
            | {"reason": pd.Series(np.array(_REASONS, dtype=object)[reason[dropped]], dtype=object)}
        ),
    )


def count_expected(
    *,
    ticker: Ticker,
    interval: Interval,
    calendar: VenueCalendar,
    start_us: int,
    end_us: int,
    fetched_at_us: int,
    grace: timedelta,
) -> int:
    """Return how many bars of the window must have been published `grace` before `fetched_at_us`."""
    _, ends = calendar.expected_bars(interval, start_us, end_us)
    return int(np.count_nonzero(ends + _us(ticker.feed_lag) + _us(grace) <= fetched_at_us))


def _still_running(placed: _Placed, rows: RawRows, ticker: Ticker, fetched_at_us: int) -> NDArray[np.bool_]:
    """Return which bars run on in a feed that is later than its stated lag."""
    last = rows.last_trade_us
    if last is None or ticker.thinly_traded or fetched_at_us - last <= _us(ticker.feed_lag) + _SILENCE_US:
        return np.zeros(placed.end_us.shape, dtype=np.bool_)
    # Nothing is traded in the last seconds of most bars.
    inside = (placed.start_us <= last) & (last < placed.end_us - US_PER_MINUTE)
    return np.asarray(inside & (fetched_at_us < placed.end_us + _us(ticker.feed_lag) + _BEHIND_AT_MOST_US))


def _sorted(rows: RawRows) -> RawRows:
    order = np.argsort(rows.stamp_us, kind="stable")
    columns = {name: getattr(rows, name)[order] for name in ("stamp_us", *BAR_COLUMNS[2:])}
    return replace(rows, **columns)


def _oriented(rows: RawRows, *, inverted: bool) -> tuple[RawRows, NDArray[np.bool_]]:
    """Return the rows as published and which of them have no usable price; 1/x swaps high and low."""
    prices = np.stack([rows.open, rows.high, rows.low, rows.close])
    null = ~np.asarray(np.isfinite(prices).all(axis=0), dtype=np.bool_)
    if not inverted:
        return rows, null
    null |= ~np.asarray((prices > 0).all(axis=0), dtype=np.bool_)
    with np.errstate(divide="ignore"):
        opened, lowest, highest, closed = np.reciprocal(prices)
    return replace(rows, open=opened, high=highest, low=lowest, close=closed), null


def _place_intraday(rows: RawRows, interval: Interval, calendar: VenueCalendar, window: Window) -> _Placed:
    """Find for each stamp the session that it lies in; every quarter of an hour inside of one may start a bar.

    The grid is the source's: of a calendar's expected bars, a source may have more (half days of the dollar index).
    """
    stamp = rows.stamp_us
    sessions = calendar.sessions_between_us(window.start_us, window.end_us)
    row = np.searchsorted(sessions.open_us, stamp, side="right") - 1
    closes = np.append(sessions.close_us, 0)[row]  # -1, before the first session: never open
    outside = (stamp < window.start_us) | (stamp >= window.end_us)
    off_grid = stamp % _US_PER_QUARTER != 0
    # A stamp on the grid starts a bar, even if it is also the time of the last trade.
    live = (off_grid | (stamp >= closes)) & rows.live()
    reason = np.select([outside, live, stamp >= closes, off_grid], [_OUTSIDE, _LIVE, _OFF_SESSION, _OFF_GRID], _KEPT)
    nowhere = np.zeros(stamp.shape, dtype=np.bool_)
    ends = np.minimum(stamp + _us(BAR_LENGTH[interval]), closes)
    return _Placed(stamp, ends, reason.astype(np.int8), live=nowhere, ignored=nowhere)


def _place_daily(rows: RawRows, interval: Interval, calendar: VenueCalendar, window: Window) -> _Placed:
    """Find for each stamp the session of its date; the stamp itself may be the open, midnight or the last trade."""
    stamp = rows.stamp_us
    first_us = max(window.asked_start_us, calendar.day_start_us(calendar.first_day))
    starts, ends = calendar.expected_bars(interval, first_us, window.asked_end_us)
    # The middle of a daily bar lies on the UTC date of its session, whether it spans a session, a London or a UTC day.
    labels = (starts + ends) // 2 // US_PER_DAY
    local = pd.DatetimeIndex(stamp.astype("datetime64[us]"), tz="UTC").tz_convert(rows.zone).tz_localize(None)
    dates = local.to_numpy().astype("datetime64[us]").astype(np.int64) // US_PER_DAY
    start, end, matched = _matched(dates, labels, starts, ends)
    live = rows.live()
    outside = (stamp < window.asked_start_us) | (stamp >= window.asked_end_us)
    reason = np.select([outside, ~matched & live, ~matched], [_OUTSIDE, _LIVE, _OFF_SESSION], _KEPT)
    begins = np.where(matched, start, stamp)
    wanted = (begins >= window.start_us) & (begins < window.end_us)
    return _Placed(start, end, reason.astype(np.int8), live=live, ignored=~wanted & ~outside)


def _matched(
    keys: NDArray[np.int64], known: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return start and end of the bar with each key, and whether there is one; `known` is ascending."""
    if not len(known):
        zero = np.zeros(keys.shape, dtype=np.int64)
        return zero, zero, np.zeros(keys.shape, dtype=np.bool_)
    row = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return starts[row], ends[row], np.equal(known[row], keys)


def _mark_duplicates(placed: _Placed) -> None:
    """Keep one row of each bar: the first, and a row stamped with its bar before one stamped with the last trade."""
    kept = np.flatnonzero(placed.reason == _KEPT)
    kept = kept[np.lexsort((kept, placed.live[kept], placed.start_us[kept]))]
    repeated = placed.start_us[kept[1:]] == placed.start_us[kept[:-1]]
    placed.reason[kept[1:][repeated]] = _DUPLICATE


def _instants(instants_us: NDArray[np.int64]) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(instants_us.astype("datetime64[us]"), tz="UTC")


def _us(length: timedelta) -> int:
    return int(length.total_seconds()) * _US_PER_SECOND
