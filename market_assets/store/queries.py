"""SELECTs that end in arrays.

Belongs here: reading columns in bulk, without a Python object per instant. Does not belong here: versions, scopes,
frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from market_assets.errors import StoreError
from market_assets.store.frames import Arrays, concatenate, from_rows
from market_assets.store.types import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from market_assets.store.dialects.base import Backend

#: rows that are fetched at once
_CHUNK_ROWS = 256


def select_arrays(
    connection: sa.Connection,
    backend: Backend,
    columns: Sequence[sa.Column[Any]],
    *where: sa.ColumnElement[bool],
) -> Arrays:
    """Return the rows of the columns' table that satisfy every condition, as arrays by column name, in no order."""
    kinds: list[Kind] = [column.info["kind"] for column in columns]
    read = [
        # NullType: no result processor of SQLAlchemy's runs per value
        (backend.micros(column) if kind is Kind.TIMESTAMP else sa.type_coerce(column, sa.types.NullType())).label(
            f"c{number}"
        )
        for number, (column, kind) in enumerate(zip(columns, kinds, strict=True))
    ]
    chunks: list[Arrays] = []
    with connection.execute(sa.select(*read).where(*where)) as result:
        # The driver's own tuples: wrapping each in a Row would take a fifth of the time. In small chunks: values that
        # become arrays while the processor's cache holds them take half the time.
        while rows := result.cursor.fetchmany(_CHUNK_ROWS) if result.cursor is not None else []:
            chunks.append(
                {
                    column.name: _array(column, kind, values, columns, rows)
                    for column, kind, values in zip(columns, kinds, zip(*rows, strict=True), strict=True)
                }
            )
    if not chunks:
        return {column.name: from_rows(kind, ()) for column, kind in zip(columns, kinds, strict=True)}
    return concatenate(chunks)


def _array(
    column: sa.Column[Any],
    kind: Kind,
    values: Sequence[Any],
    columns: Sequence[sa.Column[Any]],
    rows: Sequence[Sequence[Any]],
) -> NDArray[Any]:
    """Return one column of `rows`; raise StoreError, naming the row, for a value that no column of its kind holds."""
    try:
        return from_rows(kind, values)
    except (ValueError, TypeError, OverflowError):
        # SQLite stores anything anywhere, if it is told to.
        odd = next(number for number, value in enumerate(values) if not _fits(kind, value))
        key = ", ".join(f"{one.name}={value}" for one, value in zip(columns, rows[odd], strict=True) if one.primary_key)
        raise StoreError(
            f"{column.table.name}.{column.name} holds {values[odd]!r}, which is no {kind}, in the row {key}: something "
            "else than this program wrote it; restore the table from a backup"
        ) from None


def _fits(kind: Kind, value: Any) -> bool:  # noqa: ANN401 - what a driver returns
    try:
        from_rows(kind, [value])
    except (ValueError, TypeError, OverflowError):
        return False
    return True
