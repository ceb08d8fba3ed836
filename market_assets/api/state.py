"""`GET /status` and `GET /assets`: how the collector stands, and what it collects, for programs.

Belongs here: the two documents. Does not belong here: finding out (`overview.py`), the page.
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.responses import Response

from market_assets.api.parameters import text_of
from market_assets.api.problems import documented
from market_assets.api.recent import Recent
from market_assets.api.services import Services
from market_assets.api.views import next_tick
from market_assets.columns import ticker_columns
from market_assets.overview import gather
from market_assets.reading import correlations_at, latest_row

router = APIRouter(tags=["operation"])
_FRESH_SECONDS = 2.0


class Status(BaseModel):
    """How the collector stands; the same as `market-assets status --json`, and the next tick."""

    healthy: bool
    problems: list[str] = Field(description="What is wrong, in sentences; empty if all is well")
    at: datetime
    next_tick: datetime = Field(description="When the next scheduled collection starts")
    configured_source: str = Field(description="yahoo or simulator")
    rows_are_from: str | None = Field(description="Source of the stored rows; null: there are none")
    database: dict[str, Any] = Field(description="URL without password, kind, bytes, revision")
    interval_minutes: int
    collecting_now: str | None = Field(description="Run that is under way")
    latest_row: dict[str, Any] | None = Field(description="Time, counts and target of the newest row")
    days_to_catch_up: list[str] | None = Field(description="First and last day that the next tick collects again")
    stale_feature_days: int = Field(description="Days whose features stand on bars that were revised since")
    highly_correlated: list[str] = Field(description="Pairs above HIGH_CORRELATION_THRESHOLD")
    collections: list[dict[str, Any]] = Field(description="The last collections, newest first")
    runs: dict[str, int] = Field(description="Collections since the first, by status")
    tickers: dict[str, dict[str, Any]] = Field(description="By ticker: bars by interval, days, gaps, last error")
    alerts: dict[str, Any] = Field(description="Open alerts, and whether they reach anybody")


class TickerAsset(BaseModel):
    """One ticker of the universe."""

    name: str
    yahoo_symbol: str
    category: str
    venue: str
    unit: str = Field(description="Unit of the price")
    description: str
    feed_lag_minutes: int = Field(description="How late the source publishes its bars")
    features: list[str] = Field(description="Columns; empty for a crypto reference")
    documented_correlation: float | None = Field(description="What the market is said to do against Bitcoin")
    measured_correlations: dict[str, dict[str, float | None]] = Field(
        description="By crypto reference and window in sessions", examples=[{"BTC": {"20": 0.41, "90": 0.33}}]
    )


class IndicatorAsset(BaseModel):
    """One calculated series."""

    name: str
    column: str
    title: str
    formula: str
    unit: str
    inputs: list[str]
    plausible: tuple[float, float] = Field(description="Range outside of which a value is questioned")
    caveat: str


class Assets(BaseModel):
    """What is collected and computed."""

    tickers: list[TickerAsset]
    indicators: list[IndicatorAsset]


def recent_status(services: Services) -> Recent[Hashable, dict[str, Any]]:
    """Return what gathers the status, every few seconds at most."""

    def work() -> dict[str, Any]:
        now, settings = services.clock.now(), services.settings
        state = gather(services.store(), settings, now)
        tick = next_tick(now, settings.interval, timedelta(minutes=settings.settle_minutes))
        runs: dict[str, int] = {}
        for (_, status), count in services.store().runs.counts().items():
            runs[status] = runs.get(status, 0) + count
        return state | {"next_tick": text_of(tick), "runs": runs}

    async def ask(_question: Hashable) -> dict[str, Any]:
        return await services.read(work)

    return Recent(ask, seconds=_FRESH_SECONDS)


def recent_assets(services: Services) -> Recent[Hashable, dict[str, Any]]:
    """Return what lists the assets, every few seconds at most."""

    def work() -> dict[str, Any]:
        store, universe = services.store(), services.universe
        row = latest_row(store, services.clock.now(), universe)
        at = services.clock.now() if row is None else row.observed_at
        measured: dict[str, dict[str, dict[str, float | None]]] = {}
        with store.snapshot() as snapshot:
            for crypto in universe.crypto:
                for one in correlations_at(snapshot, crypto.name, at, universe):
                    of_ticker = measured.setdefault(one.ticker, {}).setdefault(crypto.name, {})
                    of_ticker[str(one.sessions)] = one.correlation
        tickers = [
            TickerAsset(
                name=ticker.name,
                yahoo_symbol=ticker.yahoo_symbol,
                category=ticker.category.value,
                venue=ticker.venue,
                unit=ticker.unit,
                description=ticker.description,
                feed_lag_minutes=int(ticker.feed_lag.total_seconds() // 60),
                features=list(ticker_columns(ticker)) if ticker.is_feature else [],
                documented_correlation=ticker.documented_crypto_correlation,
                measured_correlations=measured.get(ticker.name, {}),
            )
            for ticker in universe
        ]
        indicators = [
            IndicatorAsset(
                name=one.name,
                column=one.column,
                title=one.title,
                formula=one.formula,
                unit=one.unit,
                inputs=list(one.inputs),
                plausible=one.plausible,
                caveat=one.caveat,
            )
            for one in services.indicators
        ]
        return Assets(tickers=tickers, indicators=indicators).model_dump()

    async def ask(_question: Hashable) -> dict[str, Any]:
        return await services.read(work)

    return Recent(ask, seconds=_FRESH_SECONDS)


_ERRORS = documented(HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)


@router.get("/status", response_model=Status, summary="How the collector stands", responses=_ERRORS)
async def status(request: Request) -> Response:
    """Return what was collected, what is stored, what is wrong."""
    recent: Recent[Hashable, dict[str, Any]] = request.app.state.status
    return JSONResponse(await recent.get(""), headers={"Cache-Control": "no-cache"})


@router.get("/assets", response_model=Assets, summary="What is collected and computed", responses=_ERRORS)
async def assets(request: Request) -> Response:
    """Return the universe with its metadata, documented correlations beside the measured ones."""
    recent: Recent[Hashable, dict[str, Any]] = request.app.state.assets
    return JSONResponse(await recent.get(""), headers={"Cache-Control": "no-cache"})
