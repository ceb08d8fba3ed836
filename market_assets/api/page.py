"""`GET /` and `GET /docs`: the state at a glance, and the addresses, for people.

Belongs here: gathering what the page shows, the templates, the policy for browsers. Does not belong here: what the
values mean (`views.py`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import jinja2
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from starlette.responses import Response

from market_assets.api import views
from market_assets.api.problems import ProblemError
from market_assets.api.recent import Recent
from market_assets.api.services import Services, services_of
from market_assets.crypto_join import CORRELATION_SESSIONS
from market_assets.errors import NoDatabaseError, StoreError
from market_assets.overview import gather
from market_assets.reading import correlations_at, row_at

router = APIRouter(include_in_schema=False)
#: windows that the heat map shows, in sessions
_WINDOWS = (CORRELATION_SESSIONS, 90)
_COVERAGE_DAYS = 14
_FRESH_SECONDS = 5.0
#: nothing is fetched from anywhere else, nothing runs, nobody frames the page
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_STATIC = {"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
_YEAR_SECONDS = 31_536_000


@dataclass(frozen=True, slots=True)
class Page:
    """A rendered page."""

    html: str
    status: int


def recent_page(services: Services) -> Recent[str, Page]:
    """Return what renders the page, every few seconds at most."""

    async def ask(_question: str) -> Page:
        return await services.read(lambda: render_page(services))

    return Recent(ask, seconds=_FRESH_SECONDS)


@router.get("/")
async def page(request: Request) -> Response:
    """Show the collector's state."""
    pages: Recent[str, Page] = request.app.state.page
    try:
        shown = await pages.get("/")
    except ProblemError as problem:
        shown = Page(
            _render_view(services_of(request), _down(services_of(request), problem.detail)), int(problem.status)
        )
    return _html(shown)


@router.get("/docs")
async def docs(request: Request) -> Response:
    """Show the addresses of the API."""
    return _html(Page(_render_docs(json.dumps(request.app.openapi(), sort_keys=True), _dagster_ui(request)), 200))


@router.get("/static/{tag}/{name}")
async def static(tag: str, name: str) -> Response:
    """Return a file of the page; its address changes when it does."""
    if name not in _STATIC or tag != _tag(name):
        raise ProblemError(HTTPStatus.NOT_FOUND, "no such file")
    headers = {"Cache-Control": f"public, max-age={_YEAR_SECONDS}, immutable"}
    return Response(_content(name), headers=headers, media_type=_STATIC[name])


def render_page(services: Services) -> Page:
    """Read the state and render it; a database that cannot be read is a page, too."""
    try:
        view = _view(services)
    except NoDatabaseError as error:
        return Page(_render_view(services, _empty(services, str(error))), 200)
    except StoreError as error:
        return Page(_render_view(services, _down(services, str(error))), int(HTTPStatus.SERVICE_UNAVAILABLE))
    return Page(_render_view(services, view), 200)


def _view(services: Services) -> views.PageView:
    now = services.clock.now()
    store, settings = services.store(), services.settings
    state = gather(store, settings, now)
    with store.snapshot() as snapshot:
        row = row_at(snapshot, now, services.universe)
        if row is None:
            return _empty(services, "no feature row is stored yet")
        measured = {
            one.name: correlations_at(snapshot, one.name, row.observed_at, services.universe)
            for one in services.universe.crypto
        }
    rows = services.client().history(row.observed_at - timedelta(days=views.SPARK_DAYS), as_of=row.known_from)
    days = [now.date() - timedelta(days=ago) for ago in reversed(range(_COVERAGE_DAYS))]
    heads, lines = views.correlation_views(measured, services.universe, _WINDOWS)
    healthy = bool(state["healthy"])
    tickers = tuple(
        views.ticker_view(ticker, row, rows, state["tickers"].get(ticker.name, {}), days)
        for ticker in services.universe
    )
    failing = [ticker.name for ticker in tickers if ticker.state == "failed"]
    headline = "Healthy" if healthy else "Not healthy"
    if healthy and failing:
        headline = f"{', '.join(failing)} {'was' if len(failing) == 1 else 'were'} not collected; the rest is healthy"
    return views.PageView(
        verdict="good" if healthy and not failing else "bad",
        headline=headline,
        problems=tuple(problem[0].upper() + problem[1:] for problem in state["problems"]),
        at=now,
        facts=_facts(services, state, row.observed_at),
        simulated=state["rows_are_from"] == "simulator",
        tickers=tickers,
        indicators=tuple(views.indicator_view(one, row, rows) for one in services.indicators),
        correlation_heads=heads,
        correlations=lines,
        alerts=tuple(state.get("alerts", {}).get("open", ())),
        runs=tuple(_run(run, settings.dagster_ui_url) for run in state["collections"]),
        days=tuple(days),
    )


def _facts(services: Services, state: dict[str, Any], observed_at: datetime) -> tuple[tuple[str, str], ...]:
    now, settings = services.clock.now(), services.settings
    latest = state["latest_row"]
    tick = views.next_tick(now, settings.interval, timedelta(minutes=settings.settle_minutes))
    age = views.age_words((now - observed_at).total_seconds() / 60)
    return (
        ("Newest row", f"{observed_at:%H:%M} UTC, {age} ago"),
        ("Next tick", f"{tick:%H:%M} UTC, in {views.age_words((tick - now).total_seconds() / 60)}"),
        ("Features", f"{latest['feature_count']} of {latest['of']} (target {latest['target']})"),
        ("Core features", f"{latest['core_count']} of 43"),
        ("Source", str(state["rows_are_from"])),
    )


def _run(run: dict[str, Any], ui: str | None) -> dict[str, Any]:
    days = [run["first_day"], run["last_day"]]
    failed = run["failed"] or {}
    return {
        "url": None if ui is None else f"{ui}/runs/{run['run_id']}",
        "began": run["started_at"].replace("T", " ").removesuffix("Z"),
        "kind": run["kind"],
        "days": "" if days[0] is None else days[0] if days[0] == days[1] else f"{days[0]} to {days[1]}",
        "status": run["status"],
        "state": "ok" if run["status"] == "ok" else run["status"],
        "failed": "; ".join(f"{name}: {message}" for name, message in failed.items()),
        "stored": f"{run['stored']} of {run['tickers']}" if run["tickers"] is not None else "",
        "took": "" if run["seconds"] is None else f"{run['seconds']:.0f} s",
    }


def _empty(services: Services, why: str) -> views.PageView:
    now, settings = services.clock.now(), services.settings
    tick = views.next_tick(now, settings.interval, timedelta(minutes=settings.settle_minutes))
    return views.PageView(
        verdict="empty",
        headline="Nothing was collected yet",
        problems=(f"{why}: start the scheduler (make ui), or collect once: market-assets collect",),
        at=now,
        facts=(("Next scheduled tick", f"{tick:%H:%M} UTC"),),
        simulated=False,
    )


def _down(services: Services, why: str) -> views.PageView:
    return views.PageView(
        verdict="bad",
        headline="The database cannot be read",
        problems=(why,),
        at=services.clock.now(),
        facts=(),
        simulated=False,
    )


# --- templates --------------------------------------------------------------------------------------------------------


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("market_assets.api"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        style=f"/static/{_tag('style.css')}/style.css", icon=f"/static/{_tag('icon.svg')}/icon.svg"
    )
    return environment


@cache
def _content(name: str) -> bytes:
    return files("market_assets.api").joinpath("static", name).read_bytes()


@cache
def _tag(name: str) -> str:
    return hashlib.sha256(_content(name)).hexdigest()[:12]


def _render_view(services: Services, view: views.PageView) -> str:
    template = _environment().get_template("page.html")
    return template.render(view=view, here="/", dagster_ui=services.settings.dagster_ui_url)


@cache
def _render_docs(openapi: str, dagster_ui: str | None) -> str:
    described = json.loads(openapi)
    template = _environment().get_template("docs.html")
    return template.render(
        description=described["info"]["description"],
        routes=list(_routes(described)),
        here="/docs",
        dagster_ui=dagster_ui,
    )


def _routes(described: dict[str, Any]) -> list[dict[str, Any]]:
    routes = []
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            answers = [(code, answer.get("description", "")) for code, answer in route["responses"].items()]
            routes.append(
                {
                    "method": method.upper(),
                    "path": path,
                    "summary": route["summary"],
                    "description": route.get("description", ""),
                    "parameters": [_parameter(one) for one in route.get("parameters", ())],
                    "answers": answers,
                    "example": _example(method, path),
                }
            )
    return routes


def _parameter(one: dict[str, Any]) -> dict[str, str]:
    return {"name": one["name"], "description": one.get("description", ""), "allowed": _allowed(one["schema"])}


def _allowed(schema: dict[str, Any]) -> str:
    parts = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    words = []
    for part in parts:
        if "anyOf" in part:
            words.append(_allowed(part))
        elif "enum" in part:
            words.append(", ".join(map(str, part["enum"])))
        elif "$ref" in part:
            words.append("see /openapi.json")
        else:
            words.append(str(part.get("format") or part.get("type", "")))
    return " or ".join(dict.fromkeys(words))


def _example(method: str, path: str) -> str:
    if method == "post":
        return f'curl -X POST -H "Authorization: Bearer $API_TOKEN" http://localhost:8000{path}'
    query = "?start=2026-01-01&end=2026-02-01" if path.endswith("history") else ""
    return f'curl "http://localhost:8000{path}{query}"'


def _dagster_ui(request: Request) -> str | None:
    return services_of(request).settings.dagster_ui_url


def _html(shown: Page) -> Response:
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return HTMLResponse(shown.html, shown.status, headers=headers)
