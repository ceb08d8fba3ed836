"""`GET /metrics`: the server's own counters, and the collector as the store shows it, for Prometheus.

Belongs here: names and units of what is measured. Does not belong here: counting requests (`measuring.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.responses import Response

from market_assets.api.measuring import RequestMetrics
from market_assets.api.recent import Recent
from market_assets.api.services import Services
from market_assets.collection.catch_up import GOOD_STATUSES
from market_assets.errors import StoreError
from market_assets.reading import latest_row

router = APIRouter(tags=["operation"])
_FRESH_SECONDS = 5.0
#: what is counted as failing lately
_LATELY = timedelta(hours=24)


class CollectorMetrics:
    """A Prometheus collector that reads the store."""

    def __init__(self, services: Services) -> None:
        """Read nothing yet."""
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Return what is measured; with a database that cannot be read, that alone."""
        reachable = GaugeMetricFamily("market_assets_database_up", "Whether the database could be read")
        try:
            families = list(self._families())
        except StoreError:
            reachable.add_metric([], 0)
            yield reachable
            return
        reachable.add_metric([], 1)
        yield reachable
        yield from families

    def _families(self) -> Iterator[Metric]:
        services = self._services
        store, now = services.store(), services.clock.now()
        yield from self._row()
        ages = GaugeMetricFamily(
            "market_assets_ticker_bar_age_seconds", "Since the end of the newest stored bar", labels=["ticker"]
        )
        newest: dict[str, float] = {}
        for coverage in store.runs.ticker_coverage():
            age = (now - coverage.last_bar_end).total_seconds()
            newest[coverage.ticker] = min(age, newest.get(coverage.ticker, age))
        for name, age in newest.items():
            ages.add_metric([name], age)
        yield ages
        runs = CounterMetricFamily(
            "market_assets_collections", "Collections since the first", labels=["kind", "status"]
        )
        for (kind, status), count in store.runs.counts().items():
            runs.add_metric([kind, status], count)
        yield runs
        failures = GaugeMetricFamily(
            "market_assets_fetch_failures_24h", "Failed fetches of the last 24 hours", labels=["ticker", "cause"]
        )
        counted: Counter[tuple[str, str]] = Counter()
        for run in store.runs.collections_since(now - _LATELY):
            for name, message in run.summary.get("failed", {}).items():
                # A message begins with the code of its error.
                counted[name, str(message).partition(":")[0]] += 1
        for (name, cause), count in counted.items():
            failures.add_metric([name, cause], count)
        yield failures
        last = store.runs.last_current(GOOD_STATUSES)
        if last is not None and last.finished_at is not None:
            yield _gauge("market_assets_last_good_tick_timestamp_seconds", "Start of it", last.started_at.timestamp())
            seconds = (last.finished_at - last.started_at).total_seconds()
            yield _gauge("market_assets_last_good_tick_seconds", "What it took", seconds)

    def _row(self) -> Iterator[Metric]:
        services = self._services
        now = services.clock.now()
        row = latest_row(services.store(), now, services.universe)
        if row is None:
            return
        yield _gauge("market_assets_features", "Known and fresh features of the newest row", row.feature_count)
        yield _gauge("market_assets_core_features", "The same of the core ones", row.core_count)
        yield _gauge(
            "market_assets_feature_target", "The least of a healthy row", services.settings.ml_feature_count_target
        )
        age = (now - row.observed_at).total_seconds()
        yield _gauge("market_assets_row_age_seconds", "Since the newest row's observation time", age)
        stale = GaugeMetricFamily(
            "market_assets_ticker_stale_minutes",
            "Open-market minutes since the next bar should have been there, at that time",
            labels=["ticker"],
        )
        for name, (_, minutes, _) in row.ages.items():
            stale.add_metric([name], minutes)
        yield stale


def _gauge(name: str, what: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, what)
    family.add_metric([], value)
    return family


def recent_exposition(services: Services) -> Recent[str, bytes]:
    """Return what renders the metrics of the collector, every few seconds at most."""
    registry = CollectorRegistry()
    registry.register(CollectorMetrics(services))

    async def ask(_question: str) -> bytes:
        return await services.read(lambda: generate_latest(registry))

    return Recent(ask, seconds=_FRESH_SECONDS)


@router.get(
    "/metrics",
    summary="Measurements for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Text format 0.0.4"}},
)
async def metrics(request: Request) -> Response:
    """Return the counters of this process and the state of the collector."""
    own: RequestMetrics = request.app.state.metrics
    collector: Recent[str, bytes] = request.app.state.exposition
    return Response(generate_latest(own.registry) + await collector.get(""), media_type=CONTENT_TYPE_LATEST)
