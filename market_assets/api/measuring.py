"""What the server counts about itself, for Prometheus.

Belongs here: the counters of requests. Does not belong here: what is measured of the collector (`metrics.py`).
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

#: seconds; the newest row takes about one of the first
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class RequestMetrics:
    """Counters of one server; a registry of its own, so that two servers in one process do not mix."""

    def __init__(self) -> None:
        """Count nothing yet."""
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "market_assets_http_requests_total", "Requests", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "market_assets_http_request_seconds",
            "Seconds until an answer was sent whole",
            ("route",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.under_way = Gauge(
            "market_assets_http_requests_under_way", "Requests that are being answered", registry=self.registry
        )
        # To look a child up by its labels costs more than to count.
        self._by_answer: dict[tuple[str, str, int], Counter] = {}
        self._by_route: dict[str, Histogram] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer. `route` is the pattern, never the address: there are few of them."""
        key = (method, route, status)
        counter = self._by_answer.get(key)
        if counter is None:
            counter = self._by_answer[key] = self._requests.labels(method, route, str(status))
        counter.inc()
        histogram = self._by_route.get(route)
        if histogram is None:
            histogram = self._by_route[route] = self._seconds.labels(route)
        histogram.observe(seconds)
