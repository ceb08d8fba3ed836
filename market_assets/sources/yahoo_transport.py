"""The HTTP session that yfinance is given: where requests go, how many, and which answers end the matter.

Belongs here: the address, the count of requests and the policy per kind of request. Does not belong here: yfinance
(`yahoo.py` alone imports it), the meaning of a chart (`yahoo_chart.py`) and retries (`pool.py`).

Left alone, yfinance 1.7 multiplies requests: it asks fc.yahoo.com again on every call when no cookie could be stored,
and repeats every refused chart request with a second cookie strategy (three to six requests for one 404 or one 429).
The session is the seam that yfinance offers, so the policy lives here instead of in patches of yfinance:

* a chart answer of 400 and above ends the fetch at once; only 401 and 403 are left to yfinance, which then renews
  cookie and crumb by its other strategy,
* cookie, crumb and consent answers are asked once and remembered for a while, failures too: a chart needs neither, so
  a blocked cookie host costs one request and not one per ticker.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from curl_cffi import CurlOpt, requests
from curl_cffi.requests.exceptions import ConnectionError as CurlConnectionError
from curl_cffi.requests.exceptions import RequestException

from market_assets.errors import SettingsError, SourceUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

CHART_URL = "https://query2.finance.yahoo.com/v8/finance/chart/"

#: seconds for which cookie, crumb and consent answers (and their failures) are remembered
_REMEMBERED_SECONDS = 600.0
#: no cookie or crumb is worth waiting longer for: a chart is answered without them
_SIGN_IN_TIMEOUT = 5.0

_AUTH_STATUSES = frozenset({401, 403})
_ERROR_STATUS = 400


class RefusedError(Exception):
    """A chart request was answered with an error status; `explained` if the explanation is in Yahoo's own form."""

    def __init__(self, status: int, reason: str, *, explained: bool) -> None:
        self.status = status
        self.explained = explained
        super().__init__(f"HTTP {status}: {reason}")


class YahooSession(requests.Session[requests.Response]):
    """A browser-like session to Yahoo, or to the server at `base_url` that speaks Yahoo's protocol.

    Thread-safe: every thread has its own connection, the cookies are shared. With `base_url` only scheme and port of a
    request change; host name and cookies stay, every name leads to that one server and nothing ever leaves for another.
    """

    def __init__(self, *, base_url: str | None, timeout: float) -> None:
        """Open no connection yet; `timeout` in seconds holds for one request.

        Raises:
            SettingsError: `base_url` is no root of a server, e.g. http://127.0.0.1:8080.
            SourceUnavailableError: the host name of `base_url` is unknown.
        """
        self._redirect = _Redirect(base_url) if base_url is not None else None
        options = self._redirect.curl_options() if self._redirect is not None else {}
        super().__init__(impersonate="chrome", curl_options=options)
        self._limit = timeout
        self._lock = threading.Lock()
        self._legs: Counter[str] = Counter()
        self._remembered: dict[str, tuple[float, requests.Response | RequestException]] = {}

    def legs(self) -> Mapping[str, int]:
        """Return how many requests of each kind went out: `chart`, `cookie`, `crumb`, `consent`."""
        with self._lock:
            return dict(self._legs)

    def request(  # type: ignore[override]
        self,
        method: str,
        url: str,
        **kwargs: Any,  # noqa: ANN401 - handed on to curl_cffi, which types each of them
    ) -> requests.Response:
        """Send a request, or answer a repeated sign-in request from memory; see the module's policy.

        Raises:
            RefusedError: a chart request was answered with an error status other than 401 and 403.
            RequestException: no complete answer; or the crumb was refused, which yfinance takes for passing trouble.
        """
        kind = _kind(url)
        if kind == "chart":
            response = self._send(kind, method, url, self._limit, kwargs)
            if response.status_code in _AUTH_STATUSES:
                with self._lock:
                    self._remembered.clear()
            elif response.status_code >= _ERROR_STATUS:
                raise refusal_of(response)
            return response
        if method != "GET":
            return self._send(kind, method, url, min(self._limit, _SIGN_IN_TIMEOUT), kwargs)
        return self._remember(kind, url, kwargs)

    def _send(self, kind: str, method: str, url: str, limit: float, kwargs: dict[str, Any]) -> requests.Response:
        with self._lock:
            self._legs[kind] += 1
        # yfinance waits 30 s for a cookie, whatever timeout it was given
        kwargs["timeout"] = min(float(kwargs.get("timeout") or limit), limit)
        target = url if self._redirect is None else self._redirect.address(url)
        return super().request(method, target, **kwargs)  # type: ignore[arg-type]

    def _remember(self, kind: str, url: str, kwargs: dict[str, Any]) -> requests.Response:
        """Return the remembered answer to a sign-in GET or ask; yfinance calls this under its own cookie lock."""
        with self._lock:
            asked_at, known = self._remembered.get(url, (0.0, None))
        if known is None or time.monotonic() - asked_at > _REMEMBERED_SECONDS:
            known = self._sign_in(kind, url, kwargs)
            with self._lock:
                self._remembered[url] = (time.monotonic(), known)
        if isinstance(known, RequestException):
            # a new object: one exception raised in several threads would share its traceback
            raise CurlConnectionError(f"{kind} request to {urlsplit(url).hostname} failed: {known}") from known
        return known

    def _sign_in(self, kind: str, url: str, kwargs: dict[str, Any]) -> requests.Response | RequestException:
        try:
            response = self._send(kind, "GET", url, min(self._limit, _SIGN_IN_TIMEOUT), kwargs)
        except RequestException as error:
            return error
        if kind == "crumb" and response.status_code >= _ERROR_STATUS:
            # yfinance would take the text of the refusal for the crumb and send it with every request from then on
            return RequestException(f"HTTP {response.status_code} instead of a crumb")
        return response


class _Redirect:
    """The server that stands in for Yahoo."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or parts.hostname is None or parts.path.strip("/") or parts.query:
            raise SettingsError(
                f"YAHOO_BASE_URL={base_url!r} is not the root of a server; give scheme, host and port, "
                "e.g. http://127.0.0.1:8080"
            )
        self._scheme = parts.scheme
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._host = parts.hostname

    def curl_options(self) -> dict[CurlOpt, Any]:
        """Lead every host name to the server, the standard ports too: a redirect must not reach the real Yahoo."""
        try:
            address = str(socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0][4][0])
        except OSError as error:
            raise SourceUnavailableError(f"the host {self._host!r} of YAHOO_BASE_URL is unknown: {error}") from error
        pinned = f"[{address}]" if ":" in address else address
        return {
            CurlOpt.RESOLVE: [f"*:{port}:{pinned}" for port in sorted({self._port, 80, 443})],
            # a proxy of the environment would resolve the names by itself
            CurlOpt.NOPROXY: "*",
        }

    def address(self, url: str) -> str:
        """Return `url` with the server's scheme and port; host name, path and query stay."""
        parts = urlsplit(url)
        return urlunsplit((self._scheme, f"{parts.hostname}:{self._port}", parts.path, parts.query, ""))


def _kind(url: str) -> str:
    parts = urlsplit(url)
    if parts.path.startswith("/v8/finance/chart/"):
        return "chart"
    if parts.path.endswith("/getcrumb"):
        return "crumb"
    return "cookie" if parts.hostname == "fc.yahoo.com" else "consent"


def refusal_of(response: requests.Response) -> RefusedError:
    """Return the error for an answer with an error status, with Yahoo's explanation if it gave one."""
    try:
        body = json.loads(response.content)
        error = (body.get("chart") or body.get("finance"))["error"]
        reason = f"{error['code']}: {error['description']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        text = " ".join(response.text.split())
        reason = "a web page" if text.startswith("<") else text[:200] or "no explanation"
        return RefusedError(response.status_code, reason, explained=False)
    return RefusedError(response.status_code, reason, explained=True)
