"""Yahoo's wire format: the JSON bodies of the v8 chart service and of its errors.

Belongs here: turning rows into bytes, and reading the query. Does not belong here: where the rows come from
(`bars.py`), HTTP (`app.py`). Keys, their order and the wording follow answers recorded from Yahoo.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from market_assets.calendars import from_us, local_midnight_us
from market_assets.sources.simulator.bars import DAY_US, INTERVAL_US, SECOND_US

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from numpy.typing import NDArray

    from market_assets.sources.simulator.bars import Event, Rows, View

Json = dict[str, Any]

VALID_RANGES = ("1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max")
_DAYS_OF_RANGE = {"1mo": 30, "3mo": 91, "6mo": 182, "1y": 365, "2y": 730, "5y": 1826, "10y": 3652}
_SESSIONS_OF_RANGE = {"1d": 1, "5d": 5}
#: how far back Yahoo serves an interval, in days; daily bars have no limit
REACH_DAYS = {"5m": 60, "15m": 60, "30m": 60, "60m": 730, "1h": 730}


class YahooError(Exception):
    """An answer that is not a chart: HTTP status and JSON body."""

    def __init__(self, status: int, code: str, description: str, *, service: str = "chart") -> None:
        """Take the HTTP status and the two fields of Yahoo's error object."""
        super().__init__(description)
        self.status = status
        self.body = dump({service: {"result": None, "error": {"code": code, "description": description}}})


def dump(value: Json) -> bytes:
    """Return compact JSON, as Yahoo sends it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def not_found() -> YahooError:
    """Return the answer for an unknown symbol."""
    return YahooError(404, "Not Found", "No data found, symbol may be delisted")


def invalid_crumb() -> YahooError:
    """Return the answer to a crumb that does not belong to the cookie."""
    return YahooError(401, "Unauthorized", "Invalid Crumb", service="finance")


@dataclass(frozen=True, slots=True)
class ChartQuery:
    """What a client asked the chart service for; the window is in whole seconds of the epoch, half-open."""

    symbol: str
    interval: str
    start: int
    end: int
    #: the `range` parameter, or empty when the window was given by its ends
    range: str
    events: frozenset[str]


def read_query(symbol: str, parameters: Mapping[str, str], view: View) -> ChartQuery:
    """Return the query that `parameters` spell; raise YahooError as Yahoo would answer a bad one."""
    interval = parameters.get("interval", "1d")
    if interval not in INTERVAL_US:
        raise YahooError(
            422,
            "Unprocessable Entity",
            f"Invalid input - interval={interval} is not supported. Valid intervals: [{', '.join(INTERVAL_US)}]",
        )
    now = view.now_us // SECOND_US
    named = ""
    if "period1" in parameters or "period2" in parameters:
        try:
            start, end = int(parameters.get("period1", 0)), int(parameters.get("period2", now + 1))
        except ValueError:
            raise YahooError(400, "Bad Request", "Invalid input - period1 and period2 must be integers") from None
        if start > end:
            detail = f"start date cannot be after end date. startDate = {start}, endDate = {end}"
            raise YahooError(400, "Bad Request", f"Invalid input - {detail}")
    else:
        named = parameters.get("range", "1d")
        start, end = _start_of_range(named, view), now + 1
    reach = REACH_DAYS.get(interval)
    if reach is not None and start < now - reach * 86_400:
        # Yahoo's limit rolls by the second, it does not wait for midnight.
        raise YahooError(
            422,
            "Unprocessable Entity",
            f"{interval} data not available for startTime={start} and endTime={end}. "
            f"The requested range must be within the last {reach} days.",
        )
    if start > now or end <= view.first_open_us // SECOND_US:
        raise YahooError(400, "Bad Request", f"Data doesn't exist for startDate = {start}, endDate = {end}")
    events = frozenset(part.strip() for part in parameters.get("events", "").replace("|", ",").split(",") if part)
    return ChartQuery(symbol, interval, start, end, named, events)


def chart(view: View, query: ChartQuery, rows: Rows) -> Json:
    """Return the body that shows `rows` as the answer to `query`."""
    result: Json = {"meta": _meta(view, query)}
    is_daily = query.interval == "1d"
    if not len(rows):
        result["indicators"] = {"quote": [{}], "adjclose": [{}]} if is_daily else {"quote": [{}]}
        return _envelope(result)
    result["timestamp"] = (rows.start_us // SECOND_US).tolist()
    events = _events(view, query)
    if events:
        result["events"] = events
    columns = {"open": rows.open, "high": rows.high, "low": rows.low, "close": rows.close}
    quote: Json = {name: _numbers(column) for name, column in columns.items()}
    quote["volume"] = [None if np.isnan(volume) else int(volume) for volume in rows.volume.tolist()]
    result["indicators"] = {"quote": [quote]}
    if is_daily:
        result["indicators"]["adjclose"] = [{"adjclose": _numbers(view.adjusted_close(rows))}]
    return _envelope(result)


def _envelope(result: Json) -> Json:
    return {"chart": {"result": [result], "error": None}}


def _numbers(column: NDArray[np.float64]) -> list[float | None]:
    values: list[float | None] = column.tolist()
    return [None if value != value else value for value in values] if np.isnan(column).any() else values  # noqa: PLR0124


def _start_of_range(named: str, view: View) -> int:
    """Return the first second of Yahoo's named range."""
    if named in _SESSIONS_OF_RANGE:
        sessions = view.sessions(view.end_us - 21 * DAY_US, view.end_us)
        first = sessions.label[-_SESSIONS_OF_RANGE[named] :][0].tolist()
        return local_midnight_us(first, view.zone) // SECOND_US
    today = from_us(view.now_us).astimezone(view.zone).date()
    if named in _DAYS_OF_RANGE:
        return local_midnight_us(today - timedelta(days=_DAYS_OF_RANGE[named]), view.zone) // SECOND_US
    if named == "ytd":
        return local_midnight_us(today.replace(month=1, day=1), view.zone) // SECOND_US
    if named == "max":
        return view.first_open_us // SECOND_US
    detail = f"range={named} is not supported. Valid ranges: [{', '.join(VALID_RANGES)}]"
    raise YahooError(422, "Unprocessable Entity", f"Invalid input - {detail}")


def _events(view: View, query: ChartQuery) -> Json:
    start_us, end_us = query.start * SECOND_US, query.end * SECOND_US
    found: Json = {}
    if {"div", "dividends"} & query.events:
        dividends = view.dividends(start_us, end_us)
        if dividends:
            found["dividends"] = {
                str(event.stamp_us // SECOND_US): {"amount": event.value, "date": event.stamp_us // SECOND_US}
                for event in dividends
            }
    if {"split", "splits"} & query.events:
        splits = view.splits(start_us, end_us)
        if splits:
            found["splits"] = {str(event.stamp_us // SECOND_US): _split(event) for event in splits}
    return found


def _split(event: Event) -> Json:
    ratio = Fraction(event.value).limit_denominator(1000)
    return {
        "date": event.stamp_us // SECOND_US,
        "numerator": ratio.numerator,
        "denominator": ratio.denominator,
        "splitRatio": f"{ratio.numerator}:{ratio.denominator}",
    }


def _meta(view: View, query: ChartQuery) -> Json:
    instrument = view.instrument
    local = from_us(view.now_us).astimezone(view.zone)
    day = view.latest_day()
    low, high = view.year_range()
    decimals = max(4, instrument.decimals)
    price = round(view.last_price(), decimals)
    before = view.close_before(query.start * SECOND_US)
    meta: Json = {
        "currency": instrument.currency,
        "symbol": instrument.symbol,
        "exchangeName": instrument.exchange_name,
        "fullExchangeName": instrument.full_exchange_name,
        "instrumentType": instrument.instrument_type,
        "firstTradeDate": view.first_open_us // SECOND_US,
        "regularMarketTime": view.last_trade_us // SECOND_US,
        "hasPrePostMarketData": instrument.has_extended_hours,
        "gmtoffset": _offset(local),
        "timezone": local.tzname(),
        "exchangeTimezoneName": instrument.timezone,
        "regularMarketPrice": price,
        "fiftyTwoWeekHigh": round(max(high, price), decimals),
        "fiftyTwoWeekLow": round(min(low, price), decimals),
        "regularMarketDayHigh": round(float(day.high[-1]), decimals),
        "regularMarketDayLow": round(float(day.low[-1]), decimals),
        "regularMarketVolume": int(day.volume[-1]),
        "longName": instrument.name,
        "shortName": instrument.name,
        "chartPreviousClose": price if before is None else round(before, decimals),
    }
    is_daily = query.interval == "1d"
    if not is_daily:
        previous = view.close_before(int(day.start_us[-1]))
        meta["previousClose"] = price if previous is None else round(previous, decimals)
        meta["scale"] = 3
    meta["priceHint"] = instrument.price_hint
    meta["currentTradingPeriod"] = _current_period(view)
    periods = [] if is_daily else _trading_periods(view, query)
    if periods:
        meta["tradingPeriods"] = periods
    meta["dataGranularity"] = query.interval
    meta["range"] = query.range
    meta["validRanges"] = list(VALID_RANGES)
    return meta


def _offset(local: datetime) -> int:
    offset = local.utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _period(start_us: int, end_us: int, zone: ZoneInfo) -> Json:
    local = from_us(start_us).astimezone(zone)
    return {
        "timezone": local.tzname(),
        "start": start_us // SECOND_US,
        "end": end_us // SECOND_US,
        "gmtoffset": _offset(local),
    }


def _local_day(view: View, instant_us: int) -> tuple[int, int]:
    """Return 00:00 and 23:59 of the venue-local day that `instant_us` lies in, microseconds UTC."""
    local = datetime.fromtimestamp(instant_us // SECOND_US, UTC).astimezone(view.zone)
    midnight = local_midnight_us(local.date(), view.zone)
    return midnight, local_midnight_us(local.date() + timedelta(days=1), view.zone) - 60 * SECOND_US


_PRE_MARKET_US = 330 * 60 * SECOND_US
_POST_MARKET_US = 240 * 60 * SECOND_US


def _current_period(view: View) -> Json:
    """Return today's (after the evening: the next session's) pre-market, regular and post-market hours."""
    if view.instrument.trades_around_the_clock:
        start, end = _local_day(view, view.now_us)
        before = after = 0
    else:
        before, after = (_PRE_MARKET_US, _POST_MARKET_US) if view.instrument.has_extended_hours else (0, 0)
        coming = view.calendar.sessions_between_us(view.now_us - after, view.now_us + 14 * DAY_US)
        start, end = int(coming.open_us[0]), int(coming.close_us[0])
    return {
        "pre": _period(start - before, start, view.zone),
        "regular": _period(start, end, view.zone),
        "post": _period(end, end + after, view.zone),
    }


def _trading_periods(view: View, query: ChartQuery) -> list[list[Json]]:
    """Return the regular hours of every session in the window that has begun."""
    start_us, end_us = query.start * SECOND_US, query.end * SECOND_US
    sessions = view.sessions(start_us, end_us)
    bounds = list(zip(sessions.open_us.tolist(), sessions.close_us.tolist(), strict=True))
    if view.instrument.trades_around_the_clock:
        # One period per local day on which something trades; a session may touch two.
        reached = {instant for first, last in bounds for instant in (max(first, start_us), min(last, end_us) - 1)}
        bounds = sorted({_local_day(view, instant) for instant in reached})
    return [[_period(first, last, view.zone)] for first, last in bounds]
