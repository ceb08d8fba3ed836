"""Rows as CSV, Parquet or Arrow, piece by piece, in memory that does not grow with the answer.

Belongs here: writing formats, and how many streams there are at once. Does not belong here: which rows.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.responses import StreamingResponse

from market_assets.api.accept import RowFormat
from market_assets.api.problems import ProblemError
from market_assets.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from market_assets.api.services import Services

#: streams that one process sends at once
MOST_STREAMS = 8


async def stream(
    services: Services,
    pieces: Iterator[pd.DataFrame],
    form: RowFormat,
    headers: Mapping[str, str],
    facts: Mapping[str, str],
) -> StreamingResponse:
    """Return an answer that writes frames as they are read; `facts` stand in the metadata of formats that have some.

    The first piece is written before the answer begins: what fails by then is a proper error.

    Raises:
        ProblemError: too many streams are under way.
        MissingExtraError: the format needs a package that is not installed.
    """
    if services.streams >= MOST_STREAMS:
        raise ProblemError(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"{MOST_STREAMS} streams are under way; ask again later",
            headers={"Retry-After": "10"},
        )
    written = _csv(pieces) if form is RowFormat.CSV else _columnar(pieces, form, facts)
    services.streams += 1
    try:
        first = await services.read(lambda: next(written, b""))
    except BaseException:
        services.streams -= 1
        raise
    return StreamingResponse(_sent(services, first, written), headers=dict(headers), media_type=form.media_type)


async def _sent(services: Services, first: bytes, written: Iterator[bytes]) -> AsyncIterator[bytes]:
    try:
        yield first
        while True:
            part = await services.read(lambda: next(written, None))
            if part is None:
                return
            yield part
    finally:
        # Also when the client has gone away.
        services.streams -= 1


def _csv(pieces: Iterator[pd.DataFrame]) -> Iterator[bytes]:
    """Write every float64 with all its bits, instants in ISO 8601."""
    for number, frame in enumerate(pieces):
        shown = frame.assign(
            **{
                name: frame[name].map(lambda instant: instant.isoformat().replace("+00:00", "Z")).astype(object)
                for name in ("observed_at", "known_from")
            }
        )
        yield shown.to_csv(index=False, header=number == 0).encode()


def _columnar(pieces: Iterator[pd.DataFrame], form: RowFormat, facts: Mapping[str, str]) -> Iterator[bytes]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional extra
        from pyarrow import parquet  # noqa: PLC0415 - likewise
    except ImportError:
        raise MissingExtraError(
            "Parquet and Arrow need the package pyarrow on the server: pip install 'market-assets[parquet]'"
        ) from None

    sink = _Sink()
    writer = None
    for frame in pieces:
        if writer is None:
            # Stated: a piece without rows does not show what its columns hold.
            types = {"datetime64[us, UTC]": pa.timestamp("us", "UTC"), "float64": pa.float64(), "int64": pa.int64()}
            fields = [pa.field(name, types.get(str(kind), pa.string())) for name, kind in frame.dtypes.items()]
            schema = pa.schema(fields, metadata=dict(facts))
            arrow = form is RowFormat.ARROW
            writer = pa.ipc.new_stream(sink, schema) if arrow else parquet.ParquetWriter(sink, schema)
        writer.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))
        yield sink.taken()
    if writer is not None:
        writer.close()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """What was written since it was last taken."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        """Return that it is."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written in all: Parquet notes where its pieces are."""
        return self._position

    def write(self, data: Any) -> int:  # noqa: ANN401 - whatever has bytes
        """Keep a copy."""
        part = bytes(data)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def taken(self) -> bytes:
        """Return what was written, and forget it."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken
