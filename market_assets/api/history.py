"""`GET /ml-features/history`: a range of feature rows, as pages or as a stream.

Belongs here: the parameters and the pages. Does not belong here: writing formats (`streams.py`), reading rows (the
client).

Every piece of an answer is read as of one watermark, so that it is one state of the log however long it takes; no
transaction stays open while a slow client reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BeforeValidator, Field, WithJsonSchema
from starlette.responses import Response

from market_assets.api.accept import RowFormat, wanted_format
from market_assets.api.documents import HistoryPage
from market_assets.api.parameters import Asked, Instant, plain, text_of
from market_assets.api.problems import ProblemError, documented
from market_assets.api.services import Services, services_of
from market_assets.api.streams import stream
from market_assets.client.request import Basis, Vintage
from market_assets.columns import VIX_FEAR_INDEX, feature_columns

if TYPE_CHECKING:
    import pandas as pd

router = APIRouter(tags=["features"])

#: rows of a page, at most and by default
MOST_ROWS = 10_000
_ROWS = 1_000
#: rows that are read at once for a stream
_PIECE_ROWS = 5_000
#: what a request without `start` goes back from its end
_DEFAULT_SPAN = timedelta(days=7)
#: no source has anything from before
_EARLIEST = datetime(2017, 1, 1, tzinfo=UTC)


def _listed(value: object) -> object:
    # A query model hands over every occurrence of the parameter.
    parts = value if isinstance(value, list | tuple) else [value]
    return [name.strip() for part in parts for name in str(part).split(",")]


_NAMES = {
    "type": "array",
    "items": {"type": "string", "enum": [*feature_columns(), VIX_FEAR_INDEX]},
    "uniqueItems": True,
}


class HistoryAsked(Asked):
    """Parameters of `GET /ml-features/history`."""

    start: Instant | None = Field(None, description="First observation time. Default: seven days before the end")
    end: Instant | None = Field(None, description="End of the range, not included. Default: now")
    features: Annotated[list[str], BeforeValidator(_listed), WithJsonSchema(_NAMES)] | None = Field(
        None, description="Names, separated by commas or repeated. Default: all", examples=[["ml_qqq_price"]]
    )
    as_of: Instant | None = Field(None, description="Only what was known then. Default: now")
    vintage: Vintage = Field("revised", description="Of each row the newest version known, or the first (served)")
    basis: Basis = Field("as_of", description="as_of: continuous over splits; at_T: as each row was served")
    limit: int = Field(_ROWS, ge=1, le=MOST_ROWS, description="Rows of a page of JSON; other formats come whole")
    format: RowFormat | None = Field(None, description="Stands above the header Accept, for browsers")


@dataclass(frozen=True, slots=True)
class History:
    """One question, with its range and its watermark settled."""

    services: Services
    asked: HistoryAsked
    start: datetime
    end: datetime
    as_of: datetime

    @classmethod
    def settle(cls, services: Services, asked: HistoryAsked) -> History:
        """Settle what the parameters leave open; raise ProblemError for a range that is none."""
        now = services.clock.now()
        with services.store().snapshot(asked.as_of) as snapshot:
            watermark = snapshot.watermark
        # Nothing is observed before the earliest bars, nor after now; a range may lie outside of it, and is empty then.
        latest = now + timedelta(microseconds=1)
        end = latest if asked.end is None else asked.end
        begin = end - _DEFAULT_SPAN if asked.start is None and end > _EARLIEST else asked.start or _EARLIEST
        if asked.start is not None and asked.end is not None and asked.start > asked.end:
            raise ProblemError(
                HTTPStatus.NOT_FOUND,
                f"start={text_of(asked.start)} lies after end={text_of(asked.end)}; swap them",
            )
        return cls(services, asked, min(max(begin, _EARLIEST), latest), min(end, latest), watermark)

    def pieces(self, rows: int = _PIECE_ROWS) -> Iterator[pd.DataFrame]:
        """Return frames of at most so many rows each, ascending; at least one, which may be empty."""
        span = self.services.settings.interval * rows
        client = self.services.client()
        start = self.start
        while True:
            stop = max(start, min(self.end, start + span))
            frame = client.history(
                start,
                stop,
                features=self.asked.features,
                as_of=self.as_of,
                vintage=self.asked.vintage,
                basis=self.asked.basis,
            )
            # pandas copies them, deeply, for every column that is looked at
            frame.attrs = {}
            yield frame
            start = stop
            if start >= self.end:
                return

    def page(self) -> dict[str, Any]:
        """Return the first rows as plain values, and where the next ones are."""
        rows: list[dict[str, Any]] = []
        limit = self.asked.limit
        following = None
        for frame in self.pieces(min(limit + 1, _PIECE_ROWS)):
            taken = frame.iloc[: limit - len(rows)]
            columns = [[plain(value) for value in taken[name].tolist()] for name in taken.columns]
            rows += [dict(zip(taken.columns, values, strict=True)) for values in zip(*columns, strict=True)]
            if len(taken) < len(frame):
                following = self._from(frame["observed_at"].iloc[len(taken)].to_pydatetime())
                break
        return {"as_of": text_of(self.as_of), "count": len(rows), "rows": rows, "next": following}

    def _from(self, start: datetime) -> str:
        parameters: list[tuple[str, str]] = [
            ("start", text_of(start)),
            ("end", text_of(self.end)),
            ("as_of", text_of(self.as_of)),
            ("vintage", self.asked.vintage),
            ("basis", self.asked.basis),
            ("limit", str(self.asked.limit)),
        ]
        if self.asked.features:
            parameters.append(("features", ",".join(self.asked.features)))
        if self.asked.format is not None:
            parameters.append(("format", self.asked.format.value))
        return f"/ml-features/history?{urlencode(parameters)}"


_CONTENT: dict[str, Any] = {
    RowFormat.CSV.media_type: {"schema": {"type": "string"}},
    RowFormat.PARQUET.media_type: {"schema": {"type": "string", "format": "binary"}},
    RowFormat.ARROW.media_type: {"schema": {"type": "string", "format": "binary"}},
}


@router.get(
    "/ml-features/history",
    response_model=HistoryPage,
    summary="A range of feature rows",
    openapi_extra=HistoryAsked.documented(),
    responses={
        200: {
            "content": _CONTENT,
            "description": "A page of rows as JSON, or all of them as CSV, Parquet or an Arrow stream",
        },
        **documented(
            HTTPStatus.NOT_FOUND,
            HTTPStatus.NOT_ACCEPTABLE,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.TOO_MANY_REQUESTS,
            HTTPStatus.INTERNAL_SERVER_ERROR,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    },
)
async def history(request: Request) -> Response:
    """Return the rows with start <= observed_at < end, as they were known at `as_of`.

    JSON comes in pages (`limit`, `next`); CSV, Parquet and Arrow come whole, in pieces, with the watermark in
    `X-As-Of`: asked again with it, the same bits come back. An answer that breaks off is not complete.
    """
    services, asked = services_of(request), HistoryAsked.of(request)
    form = asked.format or wanted_format(request.headers.get("accept", ""))
    settled = await services.read(lambda: History.settle(services, asked))
    headers = {"X-As-Of": text_of(settled.as_of), "Cache-Control": "no-store"}
    if form is RowFormat.JSON:
        page = await services.read(settled.page)
        if page["next"] is not None:
            headers["Link"] = f'<{page["next"]}>; rel="next"'
        return JSONResponse(page, headers=headers)
    name = f"ml_features_{settled.start:%Y%m%d}_{settled.end:%Y%m%d}.{form.value}"
    headers["Content-Disposition"] = f'attachment; filename="{name}"'
    facts = {"as_of": text_of(settled.as_of), "vintage": asked.vintage, "basis": asked.basis}
    return await stream(services, settled.pieces(), form, headers, facts)
