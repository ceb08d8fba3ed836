"""Opening a database: URLs, engines, pools, pragmas, and errors that carry no secret.

Belongs here: everything between a URL and a transaction. Does not belong here: what happens inside a transaction.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from market_assets.errors import SettingsError, StoreError
from market_assets.store.dialects import Backend, backend_of
from market_assets.store.dialects.sqlite import IMMEDIATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Result = TypeVar("_Result")

#: a bare name means whatever driver SQLAlchemy's version prefers; these are the ones in the lock file
_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    # SQLAlchemy's mariadb dialect differs from its mysql one in nothing that is used here
    "mariadb": "mysql+pymysql",
    "mariadb+pymysql": "mysql+pymysql",
}
_SUPPORTED = frozenset(_DRIVERS.values())
_ATTEMPTS = 4  # one and three retries
_SQLITE_BUSY_SECONDS = 30.0
_CONNECT_SECONDS = 10
_EXAMPLES = (
    "postgresql+psycopg://user:password@host:5432/database, mysql+pymysql://user:password@host:3306/database "
    "or sqlite:////absolute/path.db"
)


def normalise_url(url: str | URL) -> URL:
    """Return `url` with an explicit driver; raise SettingsError, never showing the URL, if it is unusable."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # ValueError: a password with an unescaped `/` is taken for a port; the message would contain part of it
        raise SettingsError(
            f"DATABASE_URL cannot be parsed (the value is not shown): write e.g. {_EXAMPLES}; "
            "percent-encode special characters of the password"
        ) from None
    driver = _DRIVERS.get(parsed.drivername, parsed.drivername)
    if driver not in _SUPPORTED:
        raise SettingsError(f"DATABASE_URL names {parsed.drivername}; use e.g. {_EXAMPLES}")
    parsed = parsed.set(drivername=driver)
    if driver == _DRIVERS["sqlite"] and parsed.database in {None, "", ":memory:"}:
        raise SettingsError(
            "DATABASE_URL names an in-memory SQLite database, which every connection sees empty; name a file"
        )
    return parsed


class Database:
    """An engine and its backend; runs transactions and turns driver errors into StoreErrors."""

    def __init__(self, url: str | URL) -> None:
        """Prepare connections to `url`; none is opened yet."""
        self.url = normalise_url(url)
        self.engine = _create_engine(self.url)
        self.backend: Backend = backend_of(self.engine.dialect.name)
        self._fence: Callable[[sa.Connection], None] | None = None

    @contextmanager
    def fenced(self, fence: Callable[[sa.Connection], None]) -> Iterator[None]:
        """While the block lasts, call `fence` at the end of every write of this object; if it raises, nothing changes.

        Raises RuntimeError if this object is fenced already.
        """
        if self._fence is not None:
            raise RuntimeError("the database is fenced already; give each collection a Database of its own")
        self._fence = fence
        try:
            yield
        finally:
            self._fence = None

    @property
    def redacted_url(self) -> str:
        """The URL without its password."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Open a transaction whose reads all see one state of the database."""
        with self._explained("read"), self.backend.reading(self.engine) as connection:
            yield connection

    def write(self, work: Callable[[sa.Connection], _Result], *, fenced: bool = True) -> _Result:
        """Run `work` in a writing transaction; run all of it again, up to three times, when it lost a race.

        `fenced=False` is for what nobody else writes.
        """
        retrying = Retrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.05, max=2.0),
            retry=retry_if_exception(self.is_retryable),
            reraise=True,
        )
        with self._explained("write"):
            result: _Result = retrying(self._write_once, work, self._fence if fenced else None)
            return result

    def _write_once(
        self, work: Callable[[sa.Connection], _Result], fence: Callable[[sa.Connection], None] | None
    ) -> _Result:
        with self.backend.writing(self.engine) as connection:
            result = work(connection)
            if fence is not None:
                fence(connection)
            return result

    @contextmanager
    def schema_change(self) -> Iterator[sa.Connection]:
        """Open a transaction that no other schema change can overlap."""
        with self._explained("change the schema of"), self.backend.schema_change(self.engine) as connection:
            yield connection

    def is_retryable(self, error: BaseException) -> bool:
        """Whether `error` says that the same transaction can succeed when tried again."""
        original = error.orig if isinstance(error, DBAPIError) else error
        return original is not None and self.backend.is_retryable(original)

    def dispose(self) -> None:
        """Close all idle connections."""
        self.engine.dispose()

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, self.backend.driver_error) as error:
            original = error.orig if isinstance(error, DBAPIError) else error
            reason = str(original).strip()
            if self.url.password:
                reason = reason.replace(str(self.url.password), "***")
            raise StoreError(f"cannot {verb} {self.redacted_url}: {type(original).__name__}: {reason}") from error


def _create_engine(url: URL) -> sa.Engine:
    # hide_parameters: rows do not belong in error messages, and a message of a bulk insert would be megabytes
    common: dict[str, Any] = {"hide_parameters": True}
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(
            url, connect_args={"timeout": _SQLITE_BUSY_SECONDS, "check_same_thread": False}, **common
        )
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    pooled = common | {"pool_pre_ping": True, "pool_recycle": 1800, "isolation_level": "READ COMMITTED"}
    if url.get_backend_name() == "postgresql":
        # prepared statements break behind a transaction-pooling PgBouncer
        arguments: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS, "prepare_threshold": None}
        return sa.create_engine(url, connect_args=arguments, **pooled)
    arguments = {
        "connect_timeout": _CONNECT_SECONDS,
        "charset": "utf8mb4",
        # strict: without it MariaDB cuts long strings and wraps numbers with a mere warning
        "init_command": (
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00'"
        ),
    }
    return sa.create_engine(url, connect_args=arguments, **pooled)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN is deferred and comes too late; ours is explicit
    cursor = connection.cursor()
    deadline = time.monotonic() + _SQLITE_BUSY_SECONDS
    while True:
        try:
            # The change to WAL ignores the busy timeout while another process makes the same change.
            cursor.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    cursor.execute("PRAGMA synchronous = NORMAL")  # in WAL mode a power cut can lose the last commits, never corrupt
    cursor.execute("PRAGMA temp_store = MEMORY")
    cursor.execute("PRAGMA cache_size = -32000")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    immediate = connection.get_execution_options().get(IMMEDIATE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
