"""`POST /collect` and `GET /collect/{run_id}`: starting a collection, and how it goes.

Belongs here: who may start one, and what is told of it. Does not belong here: starting (`launch.py`).
"""

from __future__ import annotations

import asyncio
import math
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import Response

from market_assets.api.documents import Collection, Started, TickerResult
from market_assets.api.launch import API_KIND, LaunchError, RunState
from market_assets.api.limits import Bucket
from market_assets.api.problems import ProblemError, documented
from market_assets.api.services import Services, services_of
from market_assets.errors import NoDatabaseError, SchemaOutdatedError
from market_assets.store import CollectionLock

if TYPE_CHECKING:
    from market_assets.store import CollectionRecord

router = APIRouter(tags=["collection"])
_BEARER = HTTPBearer(auto_error=False, description="API_TOKEN of the server's settings")
_HOUR = 3600.0
#: the first collection makes the embedded database
_NOT_YET = (NoDatabaseError, SchemaOutdatedError)
#: kinds of collections that collect the current day
_CURRENT = frozenset({"tick", "ad_hoc", "quickstart", API_KIND})


class CollectGate:
    """Lets one request at a time start a collection, and not too many an hour."""

    def __init__(self, per_hour: int) -> None:
        """Begin with all of an hour's."""
        self.one_at_a_time = asyncio.Lock()
        self.bucket = Bucket(per_hour, _HOUR)


def _authorised(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> None:
    token = services_of(request).settings.api_token
    if token is None:
        raise ProblemError(HTTPStatus.FORBIDDEN, "POST /collect is off: the server has no API_TOKEN; set one to use it")
    given = "" if credentials is None else credentials.credentials
    if not secrets.compare_digest(given.encode(), token.get_secret_value().encode()):
        raise ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "the bearer token is missing or wrong; send `Authorization: Bearer <API_TOKEN>`",
            headers={"WWW-Authenticate": "Bearer"},
        )


@router.post(
    "/collect",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Started,
    summary="Collect today, now",
    dependencies=[Depends(_authorised)],
    responses=documented(
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def start(request: Request) -> Response:
    """Start the collect job for the current UTC day, unless one is under way: then that one is named."""
    services = services_of(request)
    gate: CollectGate = request.app.state.collect_gate
    day = services.clock.now().date().isoformat()
    async with gate.one_at_a_time:
        try:
            run_id = await _under_way(services, day)
            known = run_id is not None
            if run_id is None:
                wait = gate.bucket.take()
                if wait:
                    raise ProblemError(
                        HTTPStatus.TOO_MANY_REQUESTS,
                        f"{gate.bucket.size} collections an hour (API_COLLECT_PER_HOUR) were started; ask again later",
                        headers={"Retry-After": str(math.ceil(wait))},
                    )
                run_id = await services.launcher.launch(day)
        except LaunchError as error:
            raise ProblemError(HTTPStatus.BAD_GATEWAY, str(error)) from error
    path = f"/collect/{run_id}"
    answer = Started(run_id=run_id, already_running=known, status_url=path, run_url=_run_url(services, run_id))
    return JSONResponse(answer.model_dump(), HTTPStatus.ACCEPTED, headers={"Location": path})


async def _under_way(services: Services, day: str) -> str | None:
    """Return the run that collects `day` already; None if there is none."""

    def holder() -> str | None:
        try:
            store = services.store()
        except _NOT_YET:
            return None
        held = CollectionLock(store).describe()
        record = None if held is None else store.runs.collection(held.holder)
        return None if record is None or record.kind not in _CURRENT else record.run_id

    return await services.read(holder) or await services.launcher.running(day)


@router.get(
    "/collect/{run_id}",
    response_model=Collection,
    summary="How a collection went",
    responses=documented(
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
async def progress(
    request: Request,
    run_id: Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="As POST /collect or /status names it")],
) -> Response:
    """Return what became of each ticker, as far as it has come."""
    services = services_of(request)

    def look() -> tuple[CollectionRecord | None, bool, set[str]]:
        try:
            store = services.store()
        except _NOT_YET:
            return None, False, set()
        held = CollectionLock(store).describe()
        return store.runs.collection(run_id), held is not None and held.holder == run_id, store.runs.recorded_by(run_id)

    record, holds_lock, recorded = await services.read(look)
    state = None
    if record is None or (record.finished_at is None and not holds_lock):
        try:
            state = await services.launcher.state(run_id)
        except LaunchError as error:
            raise ProblemError(HTTPStatus.BAD_GATEWAY, str(error)) from error
    if record is None and state is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"no collection {run_id} is known")
    told = _told(services, run_id, record, state, recorded, holds_lock=holds_lock)
    return JSONResponse(told.model_dump(mode="json"), headers={"Cache-Control": "no-store"})


def _told(
    services: Services,
    run_id: str,
    record: CollectionRecord | None,
    state: RunState | None,
    recorded: set[str],
    *,
    holds_lock: bool,
) -> Collection:
    summary = {} if record is None else dict(record.summary)
    if record is not None and record.finished_at is not None:
        status = record.status
    elif holds_lock or state is RunState.RUNNING:
        status = "running"
    elif state is RunState.QUEUED:
        status = "queued"
    else:
        # A collection that was killed never wrote its end.
        status = "failed" if record is None else "interrupted"
    failed: dict[str, str] = summary.get("failed", {})
    done = {name: TickerResult(status="stored") for name in summary.get("stored", sorted(recorded))}
    done |= {name: TickerResult(status="failed", error=message) for name, message in failed.items()}
    return Collection(
        run_id=run_id,
        kind=None if record is None else record.kind,
        status=status,
        started_at=None if record is None else record.started_at,
        finished_at=None if record is None else record.finished_at,
        first_day=summary.get("first_day"),
        last_day=summary.get("last_day"),
        tickers={name: done[name] for name in sorted(done)},
        features=summary.get("features", {}),
        run_url=_run_url(services, run_id),
    )


def _run_url(services: Services, run_id: str) -> str | None:
    root = services.settings.dagster_ui_url
    return None if root is None else f"{root}/runs/{run_id}"
