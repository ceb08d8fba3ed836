"""SELECTs that end in arrays.

Belongs here: reading columns in bulk, without a Python object per instant. Does not belong here: versions, scopes,
frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from market_assets.store.frames import Arrays, concatenate, from_rows
from market_assets.store.types import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

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
            by_column = zip(*rows, strict=True)
            chunks.append(
                {
                    column.name: from_rows(kind, values)
                    for column, kind, values in zip(columns, kinds, by_column, strict=True)
                }
            )
    if not chunks:
        return {column.name: from_rows(kind, ()) for column, kind in zip(columns, kinds, strict=True)}
    return concatenate(chunks)
