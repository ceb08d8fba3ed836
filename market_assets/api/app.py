"""The application: routes, what they share, and what stands in front of them.

Belongs here: wiring. Does not belong here: what a route does.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from market_assets.api import collecting, exposition, health, history, latest, page, problems, state
from market_assets.api.front import AccessLog, Front
from market_assets.api.launch import launcher_of
from market_assets.api.measuring import RequestMetrics
from market_assets.api.services import Services
from market_assets.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from market_assets.api.launch import Launcher
    from market_assets.clock import Clock
    from market_assets.settings import Settings

_DESCRIPTION = """\
Traditional-market features for crypto models, as they could be known at each moment. All times are UTC; a day means
00:00 UTC of it. An address with a parameter that it does not know is refused. Errors are problem documents (RFC 9457).
"""


def create_app(
    settings: Settings,
    *,
    clock: Clock | None = None,
    launcher: Launcher | None = None,
    access_log: AccessLog | None = None,
) -> Front:
    """Return the ASGI application; nothing is opened before the first request. `access_log` takes each request."""
    services = Services(settings, clock or SystemClock(), launcher or launcher_of(settings))
    metrics = RequestMetrics()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await services.launcher.close()
        services.close()

    app = FastAPI(
        title="ML Market Collector",
        description=_DESCRIPTION,
        version=health.package_version(),
        lifespan=lifespan,
        # Swagger's page is fetched from another host; `/docs` is our own.
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services
    app.state.metrics = metrics
    app.state.latest = latest.latest_rows(services)
    app.state.page = page.recent_page(services)
    app.state.status = state.recent_status(services)
    app.state.assets = state.recent_assets(services)
    app.state.exposition = exposition.recent_exposition(services)
    app.state.collect_gate = collecting.CollectGate(settings.api_collect_per_hour)
    problems.install(app)
    # The most asked for comes first: routes are looked through in order.
    for module in (latest, health, history, state, exposition, collecting, page):
        app.include_router(module.router)
    return Front(app, metrics, access_log)
