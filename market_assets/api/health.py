"""`GET /health` and `GET /ready`: whether the process lives, and whether its answers can be relied on.

Belongs here: the two questions of an orchestrator. Does not belong here: judging the collector at large (`/status`).
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from http import HTTPStatus
from importlib.metadata import version

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from starlette.responses import Response

from market_assets.api.documents import Health, Part, Readiness
from market_assets.api.parameters import Asked
from market_assets.api.problems import documented
from market_assets.api.services import Services, services_of
from market_assets.calendars import to_us, venue_calendar
from market_assets.collection.catch_up import GOOD_STATUSES
from market_assets.errors import NoDatabaseError, SchemaOutdatedError, StoreError

router = APIRouter(tags=["operation"])


class ReadyAsked(Asked):
    """The parameters of `/ready`."""

    ticks: bool = Field(
        default=True,
        description="false: leave the ticks out. For a load balancer: what is stored can be read without ticks, and "
        "a first collection can be asked for",
    )


@cache
def package_version() -> str:
    """Return the version of the installed package."""
    return version("market-assets")


@router.get("/health", summary="Whether the process answers", responses=documented(HTTPStatus.INTERNAL_SERVER_ERROR))
async def health() -> Health:
    """Return at once, without asking the database: for a liveness probe."""
    return Health(status="ok", version=package_version())


@router.get(
    "/ready",
    response_model=Readiness,
    summary="Whether answers can be relied on",
    responses={
        503: {"model": Readiness, "description": "A part is not right; `parts` says which"},
        **documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.INTERNAL_SERVER_ERROR),
    },
    openapi_extra=ReadyAsked.documented(),
)
async def ready(request: Request) -> Response:
    """Look at the database, its schema, and the last tick: for a readiness probe."""
    services = services_of(request)
    asked = ReadyAsked.of(request)
    parts = await services.read(lambda: readiness(services, ticks=asked.ticks))
    whole = Readiness(ready=all(part.ok for part in parts), parts=parts)
    return JSONResponse(whole.model_dump(), 200 if whole.ready else 503, headers={"Cache-Control": "no-store"})


def readiness(services: Services, *, ticks: bool = True) -> list[Part]:
    """Return each part and what was found; the first that is not right is the last. `ticks`: look at them, too."""
    try:
        store = services.store()
        watermark = store.watermark()
    except NoDatabaseError as error:
        return [Part(part="database", ok=False, detail=f"{error}; collect first: market-assets collect")]
    except SchemaOutdatedError as error:
        return [
            Part(part="database", ok=True, detail="reachable"),
            Part(part="schema", ok=False, detail=str(error)),
        ]
    except StoreError as error:
        return [Part(part="database", ok=False, detail=str(error))]
    parts = [
        Part(part="database", ok=True, detail=f"reachable; last commit {watermark:%Y-%m-%d %H:%M:%S} UTC"),
        Part(part="schema", ok=True, detail="of this version"),
    ]
    return [*parts, _ticks(services)] if ticks else parts


def _ticks(services: Services) -> Part:
    now = services.clock.now()
    settings = services.settings
    patience = 2 * settings.interval + timedelta(minutes=settings.settle_minutes)
    last = services.store().runs.last_current(GOOD_STATUSES)
    if last is None:
        return Part(part="ticks", ok=False, detail="no collection of the current day has succeeded yet")
    told = f"the last good tick began {last.started_at:%Y-%m-%d %H:%M} UTC"
    if now - last.started_at <= patience:
        return Part(part="ticks", ok=True, detail=told)
    at = to_us(now)
    open_venues = sorted({one.venue for one in services.universe.features if venue_calendar(one.venue).is_open(at)})
    if not open_venues:
        return Part(part="ticks", ok=True, detail=f"{told}; every venue is closed")
    return Part(part="ticks", ok=False, detail=f"{told}, more than two intervals ago; open: {', '.join(open_venues)}")
