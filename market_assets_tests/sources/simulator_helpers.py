"""What the simulator's tests share: a plain HTTP client, one warmed-up market, instants as text.

Belongs here: helpers of `test_simulator_*`. Does not belong here: tests, and anything that knows yfinance.
"""

from __future__ import annotations

import http.client
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from numpy.testing import assert_array_equal

from market_assets.calendars import to_us
from market_assets.clock import ManualClock
from market_assets.sources.simulator import Market, SimulatorServer
from market_assets.sources.simulator.bars import Rows, View

if TYPE_CHECKING:
    from email.message import Message

#: a Wednesday, New York open, winter time
NOW = datetime(2025, 11, 19, 15, 7, tzinfo=UTC)
#: long after everything that the tests look at
LATE = "2028-06-01T00:00"


def utc(text: str) -> datetime:
    """Return the instant that ISO 8601 `text` means in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@cache
def market() -> Market:
    """Return one market for all tests that do not change it."""
    return Market(7)


def view(symbol: str, now: str | datetime, source: Market | None = None) -> View:
    """Return `symbol` as published at `now`."""
    instant = utc(now) if isinstance(now, str) else now
    owner = source or market()
    instrument = owner.instrument(symbol)
    assert instrument is not None
    return View(owner, instrument, to_us(instant))


def rows(symbol: str, interval: str, start: str, end: str, *, now: str, source: Market | None = None) -> Rows:
    """Return the rows of [start, end) as published at `now`."""
    return view(symbol, now, source).rows(interval, to_us(utc(start)), to_us(utc(end)))


def stamps(found: Rows) -> list[str]:
    """Return the stamps of rows as ISO 8601 text in UTC, to the second."""
    return [str(stamp) for stamp in found.start_us.astype("datetime64[us]").astype("datetime64[s]")]


def server_at(now: datetime = NOW, **options: Any) -> SimulatorServer:
    """Return a server, not yet started, that shares the warmed-up market and stands at `now`."""
    server = SimulatorServer(ManualClock(now), **options)
    server.market = market()
    return server


def assert_same(left: Rows, right: Rows) -> None:
    """Assert that two sets of rows have the same bits."""
    for name in ("start_us", "open", "high", "low", "close", "volume"):
        assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


class Answer(NamedTuple):
    """Status, body and headers of an answer."""

    status: int
    body: bytes
    headers: Message

    def json(self) -> Any:
        """Return the body read as JSON."""
        return json.loads(self.body)

    def result(self) -> dict[str, Any]:
        """Return the only result of a chart."""
        assert self.status == 200, self.body[:300]
        found: dict[str, Any] = self.json()["chart"]["result"][0]
        return found


def ask(
    server: SimulatorServer,
    path: str,
    *,
    method: str = "GET",
    body: object = None,
    headers: dict[str, str] | None = None,
    timeout: float = 10.0,
) -> Answer:
    """Send one request over its own connection."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=timeout)
    try:
        payload = None if body is None else json.dumps(body).encode()
        connection.request(method, path, body=payload, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.read(), response.headers)
    finally:
        connection.close()


def chart_path(symbol: str, interval: str, window: tuple[datetime, datetime] | None = None, **parameters: str) -> str:
    """Return the path of a chart request."""
    query = {"interval": interval, "includePrePost": "False", "events": "div,splits,capitalGains", **parameters}
    if window is not None:
        query |= {"period1": str(int(window[0].timestamp())), "period2": str(int(window[1].timestamp()))}
    return f"/v8/finance/chart/{quote(symbol)}?{urlencode(query)}"


def ask_chart(
    server: SimulatorServer,
    symbol: str,
    interval: str,
    days: float | None = 5,
    *,
    end: datetime | None = None,
    **parameters: str,
) -> Answer:
    """Ask for the last `days` until `end` (default: the server's now), or for a named range if `days` is None."""
    if days is None:
        return ask(server, chart_path(symbol, interval, None, **parameters))
    until = end or server.now()
    return ask(server, chart_path(symbol, interval, (until - timedelta(days=days), until), **parameters))
