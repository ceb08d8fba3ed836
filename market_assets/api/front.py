"""What every request passes first: its id, its limits, its line in the log, the headers that every answer has.

Belongs here: plain ASGI, for it runs for every request. Does not belong here: routes.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from market_assets.api.problems import ProblemError, response

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from market_assets.api.measuring import RequestMetrics

ACCESS_LOG = logging.getLogger("market_assets.api.access")
_LOG = logging.getLogger(__name__)

#: bytes of path and query, and of a body
MOST_ADDRESS = 8_192
MOST_BODY = 16_384
#: seconds in which a client must take a piece of an answer
_SLOWEST_PIECE = 30.0
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
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

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        """Stand in front of `app`."""
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = _request_id(scope)
        scope["request_id"] = request_id
        answer = _Answer(send, request_id)
        self._metrics.under_way.inc()
        try:
            refusal = _refusal(scope)
            if refusal is not None:
                await response(refusal, request_id)(scope, receive, answer.send)
            else:
                await self.app(scope, _limited(receive), answer.send)
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
            _note(scope, answer, request_id, seconds)
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.count(method, _route(scope), answer.status, seconds)


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


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value.decode())
    return secrets.token_hex(8)


def _refusal(scope: Scope) -> ProblemError | None:
    """Return why a request is not even looked at, None if it is."""
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MOST_ADDRESS:
        return ProblemError(HTTPStatus.REQUEST_URI_TOO_LONG, f"an address has {MOST_ADDRESS} bytes at most")
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > MOST_BODY):
            return ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has {MOST_BODY} bytes at most")
    return None


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


def _note(scope: Scope, answer: _Answer, request_id: str, seconds: float) -> None:
    """Log one line. The query is left out: it may be long, and the route says enough."""
    if not ACCESS_LOG.isEnabledFor(logging.INFO):
        return
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
    ACCESS_LOG.info("%s %s %d", scope["method"], scope["path"], answer.status, extra={"facts": facts})
