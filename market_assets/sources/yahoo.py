"""Yahoo Finance as a source of bars: the only module that imports yfinance, and only when something is fetched.

Belongs here: one request to one answer, and the classification of everything that goes wrong. Does not belong here:
the session's policy (`yahoo_transport.py`), the wire format (`yahoo_chart.py`), which rows are bars (`clean.py`),
retries and concurrency (`pool.py`).

From yfinance comes what changes with Yahoo: cookie, crumb, consent and their fallback. Each source has a client of its
own instead of yfinance's process-wide one, so sources with different servers cannot mix cookies or crumbs, and nothing
is memoised: a second fetch is a second request. yfinance's on-disk caches are not used. The requests of a process are
one cookie, one crumb, and exactly one chart request per fetch.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from curl_cffi.requests.exceptions import HTTPError, RequestException, Timeout

from market_assets.calendars import from_us, to_us, venue_calendar
from market_assets.errors import (
    EmptyAnswerError,
    MalformedAnswerError,
    RateLimitedError,
    SourceAuthError,
    SourceError,
    SourceTimeoutError,
    SourceUnavailableError,
    SymbolNotFoundError,
    WindowRefusedError,
    WrongSymbolError,
)
from market_assets.sources.base import FetchAnswer, FetchRequest, Interval
from market_assets.sources.clean import Window, clean_rows, count_expected
from market_assets.sources.yahoo_chart import Chart, ChartFormatError, parse_chart
from market_assets.sources.yahoo_transport import CHART_URL, RefusedError, YahooSession, refusal_of
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from market_assets.clock import Clock
    from market_assets.universe import Ticker

#: how far back Yahoo serves each interval; both limits roll by the second
_HISTORY = MappingProxyType({Interval.M15: timedelta(days=60), Interval.H1: timedelta(days=730)})
#: kept away from the limit, for clocks that differ and requests that wait
_LIMIT_MARGIN = timedelta(minutes=5)
#: A bar that ended this recently may not be published yet: its absence makes no answer empty.
_GRACE = MappingProxyType(
    {Interval.M15: timedelta(minutes=15), Interval.H1: timedelta(minutes=15), Interval.D1: timedelta(hours=6)}
)
#: A daily row's stamp lies up to four hours from the open of its session (DXY: midnight against 20:00), so a day more
#: is asked for on both sides.
_DAILY_PADDING = timedelta(days=1)
_PROBE_WINDOW = timedelta(days=10)

_OK = 200
_SERVER_ERROR = 500
_STATUS_ERRORS: Mapping[int, type[SourceError]] = MappingProxyType(
    {
        400: WindowRefusedError,
        401: SourceAuthError,
        403: SourceAuthError,
        404: SymbolNotFoundError,
        408: SourceTimeoutError,
        422: WindowRefusedError,
        429: RateLimitedError,
        # Yahoo's own "unable to process request at this time": too many requests
        999: RateLimitedError,
    }
)


@dataclass(frozen=True, slots=True)
class Reachability:
    """Whether the source answers; `detail` says what happened, `code` is the failure's class (None if it answers)."""

    ok: bool
    detail: str
    seconds: float
    code: str | None = None


class YahooSource:
    """Bars from Yahoo Finance, or from a server that speaks its protocol. Thread-safe; satisfies MarketDataSource."""

    def __init__(
        self, *, clock: Clock, base_url: str | None = None, timeout: timedelta, label: str | None = None
    ) -> None:
        """Connect to nothing yet.

        Args:
            clock: stamps `fetched_at`.
            base_url: root of a server that stands in for Yahoo, None for Yahoo itself.
            timeout: for one HTTP request.
            label: name stored beside every row; by default `yahoo`, or `simulator` where `base_url` is given.
        """
        self._clock = clock
        self._base_url = base_url
        self._timeout = timeout
        self._label = label or ("yahoo" if base_url is None else "simulator")
        self._lock = threading.Lock()
        self._session: YahooSession | None = None
        self._client: Any = None

    @property
    def label(self) -> str:
        """Name stored beside every row."""
        return self._label

    def oldest_available(self, interval: Interval, now: datetime) -> datetime | None:
        """Return the first instant that Yahoo still serves for `interval` at `now`, a little inside its limit."""
        history = _HISTORY.get(interval)
        return None if history is None else now - history + _LIMIT_MARGIN

    def legs(self) -> Mapping[str, int]:
        """Return how many HTTP requests went out so far, by kind: `chart`, `cookie`, `crumb`, `consent`."""
        return {} if self._session is None else self._session.legs()

    def fetch(self, request: FetchRequest) -> FetchAnswer:
        """Fetch once, without retrying.

        The answer covers the request cut to what Yahoo serves and to now. Without a bar it is an EmptyAnswerError if
        the venue had finished bars in the window, else an answer without bars (a weekend, a holiday).

        Raises:
            SourceError: see errors.py; the cause is chained and the message names ticker, interval and window.
            CalendarRangeError: the window lies outside of the venue calendar.
            SettingsError: `base_url` is no root of a server.
        """
        fetched_at = self._clock.now()
        oldest = self.oldest_available(request.interval, fetched_at)
        start = request.start if oldest is None else max(request.start, oldest)
        if start >= min(request.end, fetched_at):
            served = "only the past" if oldest is None else f"bars from {oldest:%Y-%m-%dT%H:%M:%SZ} until now"
            raise WindowRefusedError(f"{request}: the source serves {served}; not asked")
        chart = self._chart(request, start)
        calendar = venue_calendar(request.ticker.venue)
        padding = _padding(request.interval)
        bars, rejected = clean_rows(
            chart.rows,
            ticker=request.ticker,
            interval=request.interval,
            calendar=calendar,
            window=Window(to_us(start), to_us(request.end), to_us(start - padding), to_us(request.end + padding)),
            fetched_at_us=to_us(fetched_at),
        )
        covered_end = min(request.end, fetched_at)
        if bars.empty:
            expected = count_expected(
                ticker=request.ticker,
                interval=request.interval,
                calendar=calendar,
                start_us=to_us(start),
                end_us=to_us(covered_end),
                fetched_at_us=to_us(fetched_at),
                grace=_GRACE[request.interval],
            )
            if expected:
                reasons = rejected["reason"].value_counts().to_dict() or "none"
                raise EmptyAnswerError(
                    f"{request}: no bar though the venue finished {expected}; rows that are no bars: {reasons}"
                )
        return FetchAnswer(
            request=request,
            fetched_at=fetched_at,
            source=self._label,
            bars=bars,
            actions=chart.actions(start.date(), from_us(to_us(covered_end) - 1).date()),
            rejected=rejected,
            covered_start=start,
            covered_end=covered_end,
        )

    def probe(self, ticker: Ticker | None = None, *, timeout: timedelta = timedelta(seconds=4)) -> Reachability:
        """Ask for a few daily bars of `ticker` (default: the universe's first) and say within `timeout` how it went.

        Raises:
            SettingsError: `base_url` is no root of a server.
        """
        now = self._clock.now()
        request = FetchRequest(ticker or next(iter(UNIVERSE)), Interval.D1, now - _PROBE_WINDOW, now)
        # Imports and calendars are no matter of the network: they come before the time starts to count.
        _client_class()
        venue_calendar(request.ticker.venue)
        outcome: Future[FetchAnswer] = Future()

        def ask() -> None:
            try:
                outcome.set_result(self.fetch(request))
            except Exception as error:  # noqa: BLE001 - handed to the one who waits
                outcome.set_exception(error)

        code: str | None = None
        began = time.monotonic()
        # A name server that does not answer blocks for longer than any HTTP timeout: the thread is left behind.
        threading.Thread(target=ask, name="yahoo-probe", daemon=True).start()
        try:
            count = len(outcome.result(timeout.total_seconds()).bars)
        except TimeoutError:
            code, detail = SourceTimeoutError.code, f"no answer within {timeout.total_seconds():g} s"
        except SourceError as error:
            code, detail = error.code, str(error)
        else:
            detail = f"{self._label} answered with {count} daily bars of {request.ticker.name}"
        return Reachability(ok=code is None, detail=detail, seconds=time.monotonic() - began, code=code)

    def _chart(self, request: FetchRequest, start: datetime) -> Chart:
        """Ask for the chart and check that it is the one that was asked for."""
        padding = _padding(request.interval)
        params = {
            "period1": to_us(start - padding) // 1_000_000,
            "period2": -(-to_us(request.end + padding) // 1_000_000),
            "interval": request.interval.value,
            "includePrePost": False,
            "events": "div,splits,capitalGains",
        }
        body = self._ask(request, params)
        try:
            chart = parse_chart(body)
        except ChartFormatError as error:
            raise MalformedAnswerError(f"{request}: {error}") from error
        if chart.symbol != request.ticker.yahoo_symbol:
            raise WrongSymbolError(f"{request}: the answer is about {chart.symbol!r}")
        # Yahoo has answered 30m requests with hourly rows; on the grid, those would pass for bars of the wrong length.
        if chart.granularity not in {None, request.interval.value}:
            raise MalformedAnswerError(f"{request}: the answer has bars of {chart.granularity}")
        return chart

    def _ask(self, request: FetchRequest, params: Mapping[str, object]) -> bytes:
        """Return the body of a chart answer with status 200; everything else becomes a SourceError."""
        client = self._opened()
        url = CHART_URL + request.ticker.yahoo_symbol
        try:
            response = client.get(url, params=params, timeout=self._timeout.total_seconds())
        except RefusedError as error:
            raise _refused(request, error) from error
        except RequestException as error:
            # without libcurl's pointer to its list of errors
            raise _failure(error)(f"{request}: {str(error).partition(' See https:')[0]}") from error
        except Exception as error:
            # yfinance's own: a 429 to its second attempt after a 401, or a sign-in page that it cannot read
            kind = RateLimitedError if type(error).__name__ == "YFRateLimitError" else SourceAuthError
            raise kind(f"{request}: {error!r}") from error
        if response.status_code != _OK:
            refusal = refusal_of(response)
            raise _refused(request, refusal) from refusal
        body: bytes = response.content
        return body

    def _opened(self) -> Any:  # noqa: ANN401 - yfinance ships no types
        """Return this source's yfinance client, made once."""
        with self._lock:
            if self._client is None:
                self._session = YahooSession(base_url=self._base_url, timeout=self._timeout.total_seconds())
                # YfData is a singleton by its metaclass; called past it, each source has a client of its own.
                self._client = type.__call__(_client_class(), session=self._session)
            return self._client


@cache
def _client_class() -> type:
    """Return yfinance's client without its on-disk cookie cache."""
    from yfinance.data import YfData  # noqa: PLC0415 - a third of a CPU second, needed only by a process that fetches

    class Client(YfData):  # type: ignore[misc]
        """Cookies live in the session: a file would be shared with other sources and fail on a read-only disk."""

        def _load_cookie_curlCffi(self) -> bool:  # noqa: N802 - yfinance's name
            return False

        def _save_cookie_curlCffi(self) -> bool:  # noqa: N802 - yfinance's name
            return False

    # Whatever it logs is raised here as an error, or is about a cookie that a chart does not need.
    logging.getLogger("yfinance").setLevel(logging.CRITICAL)
    return Client


def _refused(request: FetchRequest, refusal: RefusedError) -> SourceError:
    """Return the error that an HTTP status stands for."""
    kind = SourceUnavailableError if refusal.status >= _SERVER_ERROR else SourceError
    kind = _STATUS_ERRORS.get(refusal.status, kind)
    if not refusal.explained and kind in {SymbolNotFoundError, WindowRefusedError}:
        # Something on the way answered, not Yahoo: that says nothing about the symbol or the window.
        kind = SourceUnavailableError
    return kind(f"{request}: {refusal}")


def _failure(error: Exception) -> type[SourceError]:
    """Return the error that a request without a complete answer stands for."""
    if isinstance(error, Timeout):
        return SourceTimeoutError
    # a body that ends early or breaks the protocol; statuses never come as HTTPError here
    return MalformedAnswerError if isinstance(error, HTTPError) else SourceUnavailableError


def _padding(interval: Interval) -> timedelta:
    return _DAILY_PADDING if interval is Interval.D1 else timedelta(0)
