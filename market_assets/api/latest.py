"""`GET /ml-features`: the newest feature row, for many readers at once.

Belongs here: the document, and keeping it for a moment. Does not belong here: reading a row (`reading.py`).

An answer is a second old at most, and the database is asked twice a second at most for each question, however many ask
it; what it does not answer is an error, never an old row.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from pydantic import Field

from market_assets.api.documents import LatestFeatures
from market_assets.api.parameters import Asked, FeatureSet, Instant, Symbol, text_of
from market_assets.api.problems import ProblemError, documented
from market_assets.api.recent import Recent
from market_assets.api.rendering import Rendered
from market_assets.columns import CORRELATION_COLUMNS, core_columns, feature_columns
from market_assets.crypto_join import CORRELATION_SESSIONS
from market_assets.reading import correlations_at, row_at

if TYPE_CHECKING:
    from starlette.responses import Response

    from market_assets.api.services import Services
    from market_assets.reading import FeatureRow, MeasuredCorrelation

router = APIRouter(tags=["features"])
LATEST = "/ml-features"
#: seconds for which an answer is given again without asking the database
_FRESH_SECONDS = 1.0


class LatestAsked(Asked):
    """Parameters of `GET /ml-features`."""

    feature_set: FeatureSet = Field(FeatureSet.ALL, alias="set", description="core: 43 features; all: 58")
    at: Instant | None = Field(None, description="The newest row at or before this time. Default: now")
    as_of: Instant | None = Field(None, description="Only what was known then. Default: now")
    symbol: Symbol | None = Field(None, description="Add this crypto reference's correlations")


def latest_rows(services: Services) -> Recent[LatestAsked, Rendered]:
    """Return what answers the question for the newest row."""

    async def ask(asked: LatestAsked) -> Rendered:
        return await services.read(lambda: render(services, asked))

    return Recent(ask, seconds=_FRESH_SECONDS)


def render(services: Services, asked: LatestAsked) -> Rendered:
    """Read and render the answer.

    Raises:
        ProblemError: there is no such row.
        StoreError: the database cannot be read.
    """
    now = services.clock.now()
    at = now if asked.at is None else min(asked.at, now)
    measured: list[MeasuredCorrelation] = []
    with services.store().snapshot(asked.as_of) as snapshot:
        row = row_at(snapshot, at, services.universe) if at.year >= _FIRST_YEAR else None
        if row is not None and asked.symbol is not None:
            measured = correlations_at(snapshot, asked.symbol, row.observed_at, services.universe)
    if row is None:
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            f"no feature row was known at {text_of(at)}; collect first: POST /collect, or market-assets collect",
        )
    return Rendered.of(_document(services, asked, row, measured, at - row.observed_at), row.known_from)


#: no source has anything from before, and no calendar
_FIRST_YEAR = 2017


def _document(
    services: Services,
    asked: LatestAsked,
    row: FeatureRow,
    measured: list[MeasuredCorrelation],
    age: timedelta,
) -> dict[str, Any]:
    settings = services.settings
    universe, indicators = services.universe, services.indicators
    is_core = asked.feature_set is FeatureSet.CORE
    names = core_columns(universe, indicators) if is_core else feature_columns(universe, indicators)
    features = {name: row.values[name] for name in names}
    reasons = {name: reason for name, reason in row.reasons.items() if name in features}
    document: dict[str, Any] = {
        "timestamp": text_of(row.known_from),
        "observed_at": text_of(row.observed_at),
        "features": features,
        "feature_count": row.feature_count,
        "core_count": row.core_count,
        "target": settings.ml_feature_count_target,
        "stale": age > 2 * settings.interval + timedelta(minutes=settings.settle_minutes),
        "reasons": reasons,
        "notes": row.notes,
        "ages": {
            name: {"minutes": minutes, "stale_minutes": stale, "venue": venue}
            for name, (minutes, stale, venue) in row.ages.items()
        },
        "origin": row.origin,
        "symbol": asked.symbol,
        "correlations": None,
    }
    if asked.symbol is not None:
        short = {one.ticker: one.correlation for one in measured if one.sessions == CORRELATION_SESSIONS}
        for column, ticker in CORRELATION_COLUMNS.items():
            features[column] = short.get(ticker)
            if features[column] is None:
                reasons[column] = "too_few_returns" if ticker in short else "no_correlation_stored"
        document["correlations"] = [asdict(one) | {"session": one.session.isoformat()} for one in measured]
    return document


@router.get(
    LATEST,
    response_model=LatestFeatures,
    summary="The newest feature row",
    openapi_extra=LatestAsked.documented(),
    responses={
        304: {"description": "Not changed since the tag or time that the request names"},
        **documented(
            HTTPStatus.NOT_FOUND,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.INTERNAL_SERVER_ERROR,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    },
)
async def latest(request: Request) -> Response:
    """Return the newest feature row at or before a time, as it was known at a time.

    Whoever asks often sends `If-None-Match` with the last answer's `ETag`, and gets 304 until something changes.
    """
    rows: Recent[LatestAsked, Rendered] = request.app.state.latest
    return (await rows.get(LatestAsked.of(request))).answer(request.scope["headers"])
