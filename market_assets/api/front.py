"""What every request passes first: its id, its limits, its line in the log, the headers that every answer has.

Belongs here: plain ASGI, for it runs for every request. Does not belong here: routes.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

from market_assets.api.latest import LATEST, LatestAsked
from market_assets.api.problems import ProblemError, response

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from fastapi import FastAPI
    from starlette.responses import Response
    from starlette.types import Message, Receive, Scope, Send

    from market_assets.api.measuring import RequestMetrics
    from market_assets.api.recent import Recent
    from market_assets.api.rendering import Rendered

#: what the metrics call an answer that was at hand
_LATEST_ROUTE = Route(LATEST, endpoint=lambda _request: None)
#: takes the facts of one request
AccessLog = Callable[[dict[str, object]], None]
_LOG = logging.getLogger(__name__)

#: bytes of path and query, and of a body
MOST_ADDRESS = 8_192
MOST_BODY = 16_384
#: bytes from which packing pays, and how hard it tries
_LEAST_PACKED, _LEVEL = 1024, 5
#: seconds in which a client must take a piece of an answer
_SLOWEST_PIECE = 30.0
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
#: an id of our own: which process, and its how many-th request
_PROCESS, _COUNT = secrets.token_hex(4), itertools.count(1)
#: methods that are told apart in what is counted
_METHODS = frozenset({"GET", "HEAD", "POST"})
#: of every answer; the page has a policy of its own
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)


class Front:
    """Wraps the application."""

    def __init__(self, app: FastAPI, metrics: RequestMetrics, log: AccessLog | None) -> None:
        """Stand in front of `app`; `log` is given a line for each request."""
        self.app = app
        self._packing = GZipMiddleware(app, minimum_size=_LEAST_PACKED, compresslevel=_LEVEL)
        self._latest: Recent[LatestAsked, Rendered] = app.state.latest
        self._metrics = metrics
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id, refusal = _looked_at(scope)
        scope["request_id"] = request_id
        answer = _Answer(send, request_id)
        self._metrics.under_way.inc()
        try:
            if refusal is not None:
                await response(refusal, request_id)(scope, receive, answer.send)
            else:
                kept = self._kept_answer(scope)
                # The newest row is packed already, once for all who ask.
                inner = kept or (self.app if scope["path"] == LATEST else self._packing)
                await inner(scope, receive if scope["method"] == "GET" else _limited(receive), answer.send)
        except _ClientTooSlowError:
            answer.broken_off = "the client did not take a piece of the answer in time"
        except OSError:
            answer.broken_off = "the client has gone away"
        except Exception as error:
            # The handlers have told the client; here it ends.
            answer.broken_off = type(error).__name__
            if answer.status == 0:
                bug = ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, f"see the server's log for request {request_id}")
                _LOG.error("request %s failed", request_id, exc_info=error)
                await response(bug, request_id)(scope, receive, answer.send)
            elif answer.begun and not answer.ended:
                # The client must see that the answer is not whole: the server closes the connection.
                raise
        finally:
            self._metrics.under_way.dec()
            seconds = time.perf_counter() - began
            if self._log is not None:
                self._log(_line(scope, answer, request_id, seconds))
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.count(method, _route(scope), answer.status, seconds)

    def _kept_answer(self, scope: Scope) -> Response | None:
        """Return the answer for the newest row if it is at hand: routing would take as long as everything else."""
        if scope["path"] != LATEST or scope["method"] != "GET":
            return None
        try:
            rendered = self._latest.fresh(LatestAsked.read(scope["query_string"]))
        except RequestValidationError:
            return None  # the route says what is wrong
        if rendered is None:
            return None
        scope["route"] = _LATEST_ROUTE
        return rendered.answer(scope["headers"])


class _ClientTooSlowError(Exception):
    """A piece of an answer was not taken in time."""


class _Answer:
    """What was sent of one answer."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._headers = [*_HEADERS, (b"x-request-id", request_id.encode())]
        self.status = 0
        self.size = 0
        self.ended = False
        self.broken_off = ""

    @property
    def begun(self) -> bool:
        return self.status != 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._headers]
            await self._send(message)
            return
        self.size += len(message.get("body", b""))
        if message.get("more_body", False):
            try:
                async with asyncio.timeout(_SLOWEST_PIECE):
                    await self._send(message)
            except TimeoutError:
                raise _ClientTooSlowError from None
        else:
            await self._send(message)
            self.ended = True


def _looked_at(scope: Scope) -> tuple[str, ProblemError | None]:
    """Return a request's id, and why it is not answered at all, None if it is."""
    request_id, refusal = "", None
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MOST_ADDRESS:
        refusal = ProblemError(HTTPStatus.REQUEST_URI_TOO_LONG, f"an address has {MOST_ADDRESS} bytes at most")
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            request_id = value.decode()
        elif name == b"content-length" and (not value.isdigit() or int(value) > MOST_BODY):
            refusal = ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has {MOST_BODY} bytes at most")
    return request_id or f"{_PROCESS}-{next(_COUNT):x}", refusal


def _limited(receive: Receive) -> Receive:
    """Return a `receive` that refuses a body which does not say how long it is, and is too long."""
    taken = 0

    async def limited() -> MutableMapping[str, Any]:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MOST_BODY:
            raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has {MOST_BODY} bytes at most")
        return message

    return limited


def _route(scope: Scope) -> str:
    route = scope.get("route")
    return getattr(route, "path", "none")


def _line(scope: Scope, answer: _Answer, request_id: str, seconds: float) -> dict[str, object]:
    """Return what is logged of a request. The query is left out: it may be long, and the route says enough."""
    facts: dict[str, object] = {
        "request_id": request_id,
        "method": scope["method"],
        "path": scope["path"],
        "status": answer.status,
        "bytes": answer.size,
        "ms": round(seconds * 1000, 2),
    }
    if answer.broken_off:
        facts["broken_off"] = answer.broken_off
    return facts
