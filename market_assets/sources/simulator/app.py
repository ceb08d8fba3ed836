"""The simulator as a web application: routes, faults, played-back answers, recorded requests.

Belongs here: HTTP. Does not belong here: bodies of charts (`wire.py`), sockets and threads (`server.py`). Routing is by
path alone: a client keeps Yahoo's host names in the Host header and changes only scheme and port.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from market_assets.calendars import to_us
from market_assets.sources.simulator import auth, wire
from market_assets.sources.simulator.admin import admin_routes
from market_assets.sources.simulator.bars import SECOND_US, View
from market_assets.sources.simulator.faults import Fault, FaultBook, FaultKind, spoil
from market_assets.sources.simulator.market import Market

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from market_assets.clock import Clock

_TOO_MANY = "Too Many Requests\r\n"
_SORRY_PAGE = (
    b"<!DOCTYPE html>\n<html lang='en-us'><head><meta charset='utf-8'><title>Yahoo</title></head>"
    b"<body><h1>Will be right back...</h1><p>Thank you for your patience.</p></body></html>\n"
)


#: faults that answer with one of Yahoo's JSON errors
_ERRORS: dict[str, wire.YahooError] = {
    FaultKind.INVALID_CRUMB: wire.invalid_crumb(),
    FaultKind.NOT_FOUND: wire.not_found(),
    # Not an error of the chart service: clients that look for "chart" find nothing.
    FaultKind.SERVER_ERROR: wire.YahooError(500, "internal-error", "STREAMED", service="finance"),
}


@dataclass(slots=True)
class RecordedRequest:
    """One request as the server saw it; `status` is None until it is answered."""

    #: instant on the simulator's clock, UTC
    at: datetime
    host: str
    path: str
    symbol: str | None = None
    interval: str | None = None
    #: start and end of the window asked for, UTC; None where a named range or nothing was asked
    window: tuple[datetime, datetime] | None = None
    status: int | None = None


class Simulator:
    """Yahoo's services over one market and one clock. Thread-safe; `app` is the ASGI application."""

    def __init__(self, clock: Clock, *, seed: int = 7, latency: timedelta = timedelta(0)) -> None:
        """Serve the market of `seed` at the instant of `clock`, each answer after `latency`."""
        self._clock = clock
        self.market = Market(seed)
        self.latency = latency
        self.offset = timedelta(0)
        self.faults = FaultBook()
        #: every request but those to /__simulator__/; list operations are atomic: read and clear it at any time
        self.requests: list[RecordedRequest] = []
        self.in_flight = 0
        self.in_flight_peak = 0
        self._lock = threading.Lock()
        self._played: dict[tuple[str, str | None], tuple[bytes, int]] = {}
        self._released = asyncio.Event()
        self.app = Starlette(routes=self._routes())

    # --- controls -----------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """Return the simulator's instant: its clock plus the offset set by hand."""
        return self._clock.now() + self.offset

    def play(self, symbol: str, body: bytes, *, status: int = 200, interval: str | None = None) -> None:
        """Answer chart requests for `symbol` (and `interval`, if given) with `body`, byte for byte."""
        self._played = {**self._played, (symbol.upper(), interval): (body, status)}

    def stop_playing(self) -> None:
        """Forget all bodies to be played."""
        self._played = {}

    def hold(self) -> None:
        """Let requests hang again; call it before serving in a new event loop."""
        self._released = asyncio.Event()

    def release(self) -> None:
        """Let hanging requests go; call it in the event loop that serves."""
        self._released.set()

    # --- routes -------------------------------------------------------------------------------------------------------

    def _routes(self) -> list[Route]:
        yahoo: list[tuple[str, str, Callable[[Request, RecordedRequest], Awaitable[Response]]]] = [
            ("/", "GET", self._cookie),
            ("/consent", "GET", self._consent),
            ("/v2/collectConsent", "POST", self._accept_consent),
            ("/copyConsent", "GET", self._accept_consent),
            ("/v1/test/getcrumb", "GET", self._crumb),
            ("/v8/finance/chart/{symbol}", "GET", self._chart),
            ("/v10/finance/quoteSummary/{symbol}", "GET", self._no_summary),
            ("/v7/finance/quote", "GET", self._no_quote),
            ("/ws/fundamentals-timeseries/v1/finance/timeseries/{symbol}", "GET", self._no_fundamentals),
            ("/{rest:path}", "GET", self._nothing),
        ]
        return [
            *admin_routes(self),
            *(Route(path, self._recorded(handler), methods=[method]) for path, method, handler in yahoo),
        ]

    def _recorded(
        self, handler: Callable[[Request, RecordedRequest], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            record = RecordedRequest(self.now(), request.headers.get("host", ""), request.url.path)
            self.requests.append(record)
            with self._lock:
                self.in_flight += 1
                self.in_flight_peak = max(self.in_flight_peak, self.in_flight)
            try:
                if self.latency:
                    await asyncio.sleep(self.latency.total_seconds())
                response = await handler(request, record)
            finally:
                with self._lock:
                    self.in_flight -= 1
            record.status = response.status_code
            return response

        return endpoint

    async def _cookie(self, _request: Request, _record: RecordedRequest) -> Response:
        # fc.yahoo.com answers 404 and sets the cookie all the same.
        return HTMLResponse("<html><body>Not Found</body></html>", 404, {"set-cookie": auth.new_cookie()})

    async def _consent(self, _request: Request, _record: RecordedRequest) -> Response:
        return HTMLResponse(auth.consent_page(f"3_cc-session_{secrets.token_hex(18)}"))

    async def _accept_consent(self, _request: Request, _record: RecordedRequest) -> Response:
        # Yahoo redirects to its front page; that would lead the client out of the simulator.
        return HTMLResponse("<html><body></body></html>", headers={"set-cookie": auth.new_cookie()})

    async def _crumb(self, request: Request, _record: RecordedRequest) -> Response:
        refused = self.faults.meet_crumb()
        if refused:
            return _plain_refusal(refused[0].status)
        cookie = request.cookies.get(auth.COOKIE)
        if cookie is None:
            error = wire.YahooError(401, "Unauthorized", "Invalid Cookie", service="finance")
            return _json(error.body, error.status)
        return PlainTextResponse(auth.crumb_of(cookie))

    async def _no_summary(self, request: Request, _record: RecordedRequest) -> Response:
        missing = f"Quote not found for symbol: {request.path_params['symbol']}"
        error = wire.YahooError(404, "Not Found", missing, service="quoteSummary")
        return _json(error.body, error.status)

    async def _no_quote(self, _request: Request, _record: RecordedRequest) -> Response:
        return _json(wire.dump({"quoteResponse": {"result": [], "error": None}}))

    async def _no_fundamentals(self, _request: Request, _record: RecordedRequest) -> Response:
        return _json(wire.dump({"timeseries": {"result": [], "error": None}}))

    async def _nothing(self, _request: Request, _record: RecordedRequest) -> Response:
        return HTMLResponse("<html><body>Not Found</body></html>", 404)

    # --- the chart service --------------------------------------------------------------------------------------------

    async def _chart(self, request: Request, record: RecordedRequest) -> Response:
        parameters = request.query_params
        symbol, interval = request.path_params["symbol"].upper(), parameters.get("interval", "1d")
        record.symbol, record.interval, record.window = symbol, interval, _window(parameters)
        faults = self.faults.meet_chart(symbol, interval)
        for fault in faults:
            answer = await self._fail(fault)
            if answer is not None:
                return answer
        crumb = parameters.get("crumb")
        if crumb is not None and crumb != auth.crumb_of(request.cookies.get(auth.COOKIE, "")):
            error = wire.invalid_crumb()
            return _json(error.body, error.status)
        played = self._played.get((symbol, interval)) or self._played.get((symbol, None))
        if played is not None:
            return _json(*played)
        try:
            body = self._body(symbol, parameters, faults)
        except wire.YahooError as error:
            return _json(error.body, error.status)
        if any(fault.kind is FaultKind.TRUNCATED for fault in faults):
            body = body[: len(body) // 2]
        return _json(body)

    async def _fail(self, fault: Fault) -> Response | None:
        """Return the answer of a fault of transport, or None after waiting or if there is nothing to do."""
        if fault.kind is FaultKind.SLOW:
            await self._wait(fault.delay)
        elif fault.kind is FaultKind.HANG:
            await self._wait(None)
            return PlainTextResponse("", 503)
        elif fault.kind is FaultKind.RATE_LIMITED:
            return _plain_refusal(429)
        elif fault.kind is FaultKind.BAD_GATEWAY:
            return HTMLResponse(_SORRY_PAGE, 502)
        elif fault.kind in _ERRORS:
            error = _ERRORS[fault.kind]
            return _json(error.body, error.status)
        return None

    async def _wait(self, delay: timedelta | None) -> None:
        """Wait for `delay` (None: for ever), but not beyond the server's stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._released.wait(), None if delay is None else delay.total_seconds())

    def _body(self, symbol: str, parameters: Mapping[str, str], faults: list[Fault]) -> bytes:
        instrument = self.market.instrument(symbol)
        if instrument is None:
            raise wire.not_found()
        delay = sum((fault.delay for fault in faults if fault.kind is FaultKind.LATE_BARS), timedelta(0))
        try:
            view = View(self.market, instrument, to_us(self.now()), delay_us=int(delay.total_seconds() * SECOND_US))
        except ValueError as error:  # the clock stands outside of the simulated years
            raise wire.YahooError(400, "Bad Request", str(error)) from error
        query = wire.read_query(symbol, parameters, view)
        rows = view.rows(query.interval, query.start * SECOND_US, query.end * SECOND_US)
        for fault in faults:
            spoil(rows, fault)
        answer = wire.chart(view, query, rows)
        for fault in faults:
            if fault.kind is FaultKind.WRONG_SYMBOL:
                answer["chart"]["result"][0]["meta"]["symbol"] = fault.other_symbol
        return wire.dump(answer)


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _plain_refusal(status: int) -> Response:
    return PlainTextResponse(_TOO_MANY if status == 429 else "Unauthorized", status)  # noqa: PLR2004 - HTTP's number


def _window(parameters: Mapping[str, str]) -> tuple[datetime, datetime] | None:
    try:
        start, end = int(parameters["period1"]), int(parameters["period2"])
        return datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC)
    except (KeyError, ValueError, OverflowError):
        return None
