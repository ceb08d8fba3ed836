"""The bodies of answers, as models: what OpenAPI says of them.

Belongs here: shape, units and examples. Does not belong here: reading and rendering.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, Field

_OBSERVED = "2026-01-30T15:30:00Z"


class Health(BaseModel):
    """The process answers."""

    status: str = Field("ok", examples=["ok"])
    version: str = Field(description="Version of the package", examples=["0.1.0"])


class Part(BaseModel):
    """One thing that must be right."""

    part: str = Field(description="database, schema or ticks", examples=["ticks"])
    ok: bool
    detail: str = Field(description="What was found", examples=["the last good tick began 2026-01-30 15:31 UTC"])


class Readiness(BaseModel):
    """Whether answers can be relied on."""

    ready: bool
    parts: list[Part]


class TickerAge(BaseModel):
    """How old the price of one ticker is at the observation time."""

    minutes: float = Field(description="Minutes since the end of the bar that gives the price", examples=[0.0])
    stale_minutes: float = Field(
        description="Open-market minutes since the next bar should have been there", examples=[0.0]
    )
    venue: str = Field(description="open or closed", examples=["open"])


class Correlation(BaseModel):
    """Correlation of a crypto reference with one ticker: Pearson, daily log total returns, sampled at its closes."""

    ticker: str = Field(examples=["QQQ"])
    sessions: int = Field(description="Length of the window", examples=[20])
    session: date = Field(description="Last session of the window")
    correlation: float | None = Field(description="null: too few returns", examples=[0.41])
    pairs: int = Field(description="Returns that went in", examples=[20])


class LatestFeatures(BaseModel):
    """The newest feature row."""

    timestamp: datetime = Field(description="When this version of the row was stored, UTC", examples=[_OBSERVED])
    observed_at: datetime = Field(description="The time that the row is of, UTC", examples=[_OBSERVED])
    features: dict[str, float | None] = Field(
        description="Value by name, null where `reasons` says why; with `symbol` its 20-session correlations, too",
        examples=[{"ml_qqq_price": 512.3, "ml_risk_on_ratio": 5.21}],
    )
    feature_count: int = Field(description="Features that are known and fresh, of all 58", examples=[58])
    core_count: int = Field(description="The same of the 43 core ones", examples=[43])
    target: int = Field(description="ML_FEATURE_COUNT_TARGET: the least of a healthy row", examples=[35])
    stale: bool = Field(description="Whether the row is older than two intervals and the settle minutes")
    reasons: dict[str, str] = Field(description="Why a feature is null, by name", examples=[{}])
    notes: dict[str, list[str]] = Field(description="What to know of a ticker's values", examples=[{}])
    ages: dict[str, TickerAge] = Field(description="By ticker")
    origin: str = Field(description="live, catch_up or backfill", examples=["live"])
    symbol: str | None = Field(None, description="The crypto reference that was asked for", examples=["BTC"])
    correlations: list[Correlation] | None = Field(None, description="Of `symbol`, with every ticker")


class HistoryPage(BaseModel):
    """Feature rows, ascending by observation time."""

    as_of: datetime = Field(description="Watermark: asked for again, it gives the same rows", examples=[_OBSERVED])
    count: int = Field(description="Rows on this page", examples=[1])
    rows: list[dict[str, Any]] = Field(
        description="observed_at, the features (null: unknown), feature_count, core_count, origin, known_from"
    )
    next: str | None = Field(description="Path of the next page; null: this is the last one")


class Started(BaseModel):
    """A collection that is under way."""

    run_id: str = Field(examples=["2f4f2c3e-5d0c-4f0a-9a43-0c9f6e0a5c11"])
    already_running: bool = Field(description="Whether it was before this request")
    status_url: str = Field(description="Path that says how it goes", examples=["/collect/2f4f2c3e"])
    run_url: str | None = Field(description="The run in Dagster's UI; null: DAGSTER_UI_URL is not set")


class TickerResult(BaseModel):
    """What became of one ticker."""

    status: str = Field(description="stored or failed", examples=["stored"])
    error: str | None = Field(default=None, description="Why it failed")


class Collection(BaseModel):
    """How a collection went, or goes."""

    run_id: str
    kind: str | None = Field(description="tick, catch_up, settle, rebuild, backfill, api, ...", examples=["tick"])
    status: str = Field(
        description="queued, running, ok, partial (a ticker failed), failed, interrupted", examples=["ok"]
    )
    started_at: datetime | None
    finished_at: datetime | None
    first_day: date | None = Field(None, description="First UTC day that was collected")
    last_day: date | None = None
    tickers: dict[str, TickerResult] = Field(description="By ticker, as far as they have come")
    features: dict[str, Any] = Field(description="Rows written, and the counts of the newest")
    run_url: str | None
