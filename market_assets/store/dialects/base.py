"""The interface that every database implements, and what they share.

Belongs here: the interface. Does not belong here: SQL of one database.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from market_assets.store.frames import NO_INSTANT, Arrays, row_count

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import sqlalchemy as sa
    from numpy.typing import NDArray

    from market_assets.store.scopes import ScopeSet
    from market_assets.store.types import Kind


#: seconds for which a client may be silent inside of a writing transaction, whose locks keep every other writer out
IDLE_SECONDS = 120


class Backend(ABC):
    """One kind of database. Stateless; every method works on the connection it is handed."""

    #: what `Store.describe` calls it
    label: ClassVar[str]
    #: base class of the driver's errors; bulk paths that use the driver directly raise them unwrapped
    driver_error: ClassVar[type[Exception]]
    #: execution options of reading and of writing transactions
    read_options: ClassVar[dict[str, Any]] = {}
    write_options: ClassVar[dict[str, Any]] = {}

    @contextmanager
    def reading(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        """Open a transaction in which all reads see one state of the database; it is rolled back at the end."""
        with engine.connect().execution_options(**self.read_options) as connection, connection.begin() as transaction:
            yield connection
            transaction.rollback()

    @contextmanager
    def writing(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        """Open a writing transaction, committed at the end unless an exception passes."""
        with engine.connect().execution_options(**self.write_options) as connection, connection.begin():
            self.bound_idle_time(connection)
            yield connection

    def bound_idle_time(self, connection: sa.Connection) -> None:  # noqa: B027 - not every database can
        """Let the server end the writing transaction when its client falls silent: a frozen process keeps its locks."""

    @abstractmethod
    def now(self, connection: sa.Connection) -> datetime:
        """Return the database's clock, UTC, as of this statement and not of the transaction's start."""

    @abstractmethod
    def micros(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Return an expression that reads an instant as integer microseconds, without a datetime per row."""

    @abstractmethod
    def claim(
        self, connection: sa.Connection, ledger: sa.Table, scopes: ScopeSet, fetched_us: int, source: str
    ) -> NDArray[np.int64]:
        """Lock the scopes against other writers, in order, and return the `fetched_at` stored for each.

        A scope that was never written shows NO_INSTANT or `fetched_us` itself.
        """

    @abstractmethod
    def upsert(self, connection: sa.Connection, table: sa.Table, arrays: Arrays, *, overwrite: bool = True) -> None:
        """Insert the rows; where the primary key exists, overwrite the row or leave it alone."""

    @abstractmethod
    def delete(self, connection: sa.Connection, table: sa.Table, keys: Arrays) -> None:
        """Delete the rows with these primary keys."""

    @abstractmethod
    def schema_change(self, engine: sa.Engine) -> AbstractContextManager[sa.Connection]:
        """Open a transaction that no other schema change can overlap."""

    @abstractmethod
    def add_columns(self, connection: sa.Connection, table: sa.Table, names: list[str]) -> None:
        """Add the columns `names` of `table` to the table in the database."""

    @abstractmethod
    def is_retryable(self, error: BaseException) -> bool:
        """Whether the driver's `error` says that the same transaction can succeed when tried again."""

    @abstractmethod
    def version(self, connection: sa.Connection) -> str:
        """Return the server's version."""

    @abstractmethod
    def size_bytes(self, connection: sa.Connection) -> int:
        """Return the size of the database on disk."""

    @abstractmethod
    def encode(self, kind: Kind, values: NDArray[Any]) -> list[Any]:
        """Return `values` as what the driver binds fastest. Nothing may be lost: doubles keep their bits."""

    def rows(self, table: sa.Table, arrays: Arrays) -> list[tuple[Any, ...]]:
        """Return the rows as tuples for the driver, in the order of `arrays`."""
        encoded = [self.encode(table.columns[name].info["kind"], values) for name, values in arrays.items()]
        return list(zip(*encoded, strict=True))

    def column_definition(self, engine_or_connection: sa.Connection, column: sa.Column[Any]) -> str:
        """Return `name type` of a nullable column, as DDL."""
        dialect = engine_or_connection.dialect
        return f"{dialect.identifier_preparer.quote(column.name)} {column.type.compile(dialect=dialect)}"


def quoted(connection: sa.Connection, names: list[str]) -> list[str]:
    """Return identifiers quoted for the database: `interval` and `open` are words of its own in some."""
    return [connection.dialect.identifier_preparer.quote_identifier(name) for name in names]


def key_names(table: sa.Table) -> list[str]:
    """Return the names of the primary key's columns."""
    return [column.name for column in table.primary_key.columns]


def value_names(table: sa.Table, arrays: Arrays) -> list[str]:
    """Return the names in `arrays` that are no part of the primary key."""
    keys = set(key_names(table))
    return [name for name in arrays if name not in keys]


def batches(arrays: Arrays, size: int) -> Iterator[Arrays]:
    """Split into batches of at most `size` rows."""
    for start in range(0, row_count(arrays), size):
        yield {name: values[start : start + size] for name, values in arrays.items()}


def with_nulls(values: NDArray[Any], nulls: NDArray[np.bool_]) -> list[Any]:
    """Return a list with None where `nulls` is set."""
    if not nulls.any():
        return list(values.tolist())
    objects = values.astype(object)
    objects[nulls] = None
    return list(objects.tolist())


def doubles_to_list(values: NDArray[np.float64]) -> list[float | None]:
    """Return doubles with None for NaN."""
    return with_nulls(values, np.isnan(values))


def instants_to_text(values: NDArray[np.int64]) -> list[str | None]:
    """Return instants as `YYYY-MM-DDTHH:MM:SS.ffffff` in UTC without a zone."""
    return with_nulls(np.datetime_as_string(values.view("datetime64[us]")), values == NO_INSTANT)


def instants_to_datetimes(values: NDArray[np.int64]) -> list[datetime | None]:
    """Return instants as timezone-aware datetimes."""
    return with_nulls(pd.to_datetime(values.view("datetime64[us]"), utc=True).to_pydatetime(), values == NO_INSTANT)
