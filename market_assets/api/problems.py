"""Errors as RFC 9457 problem documents.

Belongs here: what a client is told when something cannot be answered. Does not belong here: deciding what is wrong.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from market_assets.errors import (
    FeatureRequestError,
    MarketAssetsError,
    MissingExtraError,
    NaiveTimestampError,
    StoreError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI, Request
    from starlette.responses import Response

_LOG = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
#: seconds after which a client may ask again when the database could not be read
_RETRY_SECONDS = 5
#: of a value that is told back
_VALUE_LENGTH = 100


class FieldProblem(BaseModel):
    """One field of a request that cannot be used."""

    field: str = Field(description="Name of the parameter or field", examples=["as_of"])
    value: str = Field(description="What was sent, cut to 100 characters", examples=["yesterday"])
    remedy: str = Field(description="What to send instead", examples=["is no time; write e.g. 2026-01-31T14:30Z"])


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field("about:blank", description="Kind of problem; about:blank: the status says it all")
    title: str = Field(description="The status in words", examples=["Unprocessable Content"])
    status: int = Field(description="HTTP status", examples=[422])
    detail: str = Field(description="What is wrong, and what to do", examples=["as_of=yesterday: is no time"])
    request_id: str = Field(description="Stands in the server's log and in the header X-Request-ID", examples=["a1b2"])
    fields: list[FieldProblem] = Field(default=[], description="Fields of the request that cannot be used")


class ProblemError(Exception):
    """Raised where a request cannot be answered; becomes a problem document."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        fields: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Say what is wrong and what to do about it."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.fields = tuple(fields)
        self.headers = dict(headers or {})


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that can end with these errors, for OpenAPI."""
    return {
        int(status): {
            "model": Problem,
            "description": status.phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""
    app.add_exception_handler(ProblemError, _of_problem)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(MarketAssetsError, _of_ours)
    app.add_exception_handler(Exception, _of_bug)


def response(problem: ProblemError, request_id: str) -> Response:
    """Return the problem document of an error."""
    body = Problem(
        type="about:blank",
        title=problem.status.phrase,
        status=int(problem.status),
        detail=problem.detail,
        request_id=request_id,
        fields=list(problem.fields),
    )
    headers = {"Cache-Control": "no-store", **problem.headers}
    return JSONResponse(body.model_dump(), int(problem.status), headers=headers, media_type=MEDIA_TYPE)


def of_store(error: StoreError) -> ProblemError:
    """Return the error for a database that cannot be read."""
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": str(_RETRY_SECONDS)})


def _request_id(request: Request) -> str:
    return str(request.scope.get("request_id", ""))


async def _of_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 - registered for it alone
    return response(error, _request_id(request))


async def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - likewise
    fields = [
        FieldProblem(
            field=".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0]),
            value=_cut(problem.get("input")),
            remedy=_remedy(problem),
        )
        for problem in error.errors()
    ]
    detail = "; ".join(f"{one.field}={one.value}: {one.remedy}" for one in fields)
    return response(ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, detail, fields=fields), _request_id(request))


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - likewise
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.NOT_FOUND:
        detail = f"{request.url.path} does not exist; /docs lists what does"
    elif status is HTTPStatus.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not possible here; see the header Allow"
    else:
        detail = str(error.detail)
    return response(ProblemError(status, detail, headers=error.headers), _request_id(request))


async def _of_ours(request: Request, error: Exception) -> Response:
    if isinstance(error, StoreError):
        _LOG.error("the database could not be read: %s", error, extra={"request_id": _request_id(request)})
        return response(of_store(error), _request_id(request))
    if isinstance(error, FeatureRequestError | NaiveTimestampError):
        return response(ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)), _request_id(request))
    if isinstance(error, MissingExtraError):
        return response(ProblemError(HTTPStatus.NOT_ACCEPTABLE, str(error)), _request_id(request))
    return await _of_bug(request, error)


async def _of_bug(request: Request, error: Exception) -> Response:
    request_id = _request_id(request)
    _LOG.error("request %s failed", request_id, exc_info=error, extra={"request_id": request_id})
    detail = f"an error of the server; its log tells more about request {request_id}"
    return response(ProblemError(HTTPStatus.INTERNAL_SERVER_ERROR, detail), request_id)


def _remedy(problem: Any) -> str:  # noqa: ANN401 - pydantic's own dictionary
    if problem["type"] == "extra_forbidden":
        return "is no parameter of this address; /docs lists them"
    text = str(problem["msg"]).removeprefix("Value error, ")
    return text[0].lower() + text[1:]


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= _VALUE_LENGTH else f"{text[:_VALUE_LENGTH]}..."
