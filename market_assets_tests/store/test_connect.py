"""URLs, errors without secrets, and transactions that are tried again."""

from __future__ import annotations

import pickle
import sqlite3
import threading
import traceback
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from market_assets.errors import SettingsError, StoreError
from market_assets.store import Store
from market_assets.store.connect import Database, normalise_url
from market_assets.store.revision import HEAD_REVISION
from market_assets.store.tables import STORE_INFO
from market_assets_tests.store.builders import FETCHED, HOUR, closes, write_bars

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "hunter2"  # noqa: S105 - what must not be seen
REMOTE = ("postgresql://me:{}@127.0.0.1:1/market", "mysql://me:{}@127.0.0.1:1/market")


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://me@host/db", "postgresql+psycopg"),
        ("postgres://me@host/db", "postgresql+psycopg"),
        ("mysql://me@host/db", "mysql+pymysql"),
        ("mariadb://me@host/db", "mysql+pymysql"),
        ("mariadb+pymysql://me@host/db", "mysql+pymysql"),
        ("sqlite:///market.db", "sqlite+pysqlite"),
        ("postgresql+psycopg://me@host/db", "postgresql+psycopg"),
    ],
)
def test_every_usual_url_gets_the_driver_that_is_installed(url: str, driver: str) -> None:
    assert normalise_url(url).drivername == driver


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_an_in_memory_database_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="in-memory SQLite"):
        Store.connect(url)


@pytest.mark.parametrize(
    "url", [f"no url {SECRET}", f"postgresql://me@host:{SECRET}/db", f"oracle://me:{SECRET}@host/db", ""]
)
def test_an_unusable_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SettingsError, match="postgresql\\+psycopg://user") as caught:
        Store.connect(url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", REMOTE)
def test_a_server_that_cannot_be_reached_is_named_without_its_password(url: str) -> None:
    store = Store.connect(url.format(SECRET))
    for action in (store.check_schema, store.migrate, store.describe):
        with pytest.raises(StoreError, match=r"me:\*\*\*@127.0.0.1:1/market") as caught:
            action()
        assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert SECRET not in repr(store)


def test_a_failing_statement_does_not_show_the_rows(store: Store) -> None:
    def write(connection: sa.Connection) -> None:
        connection.execute(
            sa.text("INSERT INTO store_info (name, value) VALUES (:name, :value)"), {"name": SECRET, "value": None}
        )

    with pytest.raises(StoreError) as caught:
        store.database.write(write)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_directory_that_does_not_exist_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open database file"):
        Store.connect(f"sqlite:///{tmp_path}/missing/market.db").migrate()


def test_a_store_does_not_travel_to_another_process(store: Store) -> None:
    with pytest.raises(TypeError, match="connect again"):
        pickle.dumps(store)


def test_describe_says_what_the_database_is(store: Store) -> None:
    state = store.describe()
    assert state.dialect == store.database.backend.label
    assert state.revision == HEAD_REVISION
    assert state.server_version[0].isdigit()
    assert state.size_bytes > 0


def test_a_writer_that_fails_half_way_leaves_nothing_behind(store: Store) -> None:
    table = store.schema.plain(STORE_INFO)

    def write(connection: sa.Connection) -> None:
        connection.execute(sa.insert(table).values(name="a", value="b"))
        raise KeyError("stop")

    with pytest.raises(KeyError):
        store.database.write(write)
    with store.database.reading() as connection:
        assert connection.execute(sa.select(table)).all() == []


def test_readers_see_the_old_state_while_a_writer_writes(store: Store) -> None:
    write_bars(store, [1.0])
    table = store.schema.plain(STORE_INFO)
    seen: list[list[float]] = []

    def write(connection: sa.Connection) -> None:
        connection.execute(sa.insert(table).values(name="a", value="b"))
        seen.append(closes(store))

    store.database.write(write)
    assert seen == [[1.0]]


class TestRetries:
    """Writes that lose a race. SQLite only: the servers' own deadlocks are provoked in the integration tests."""

    @staticmethod
    def busy(code: int = sqlite3.SQLITE_BUSY) -> sa.exc.OperationalError:
        original = sqlite3.OperationalError("database is locked")
        original.sqlite_errorcode = code
        return sa.exc.OperationalError("INSERT", {}, original)

    @pytest.fixture
    def database(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> Database:
        monkeypatch.setattr("tenacity.nap.time.sleep", lambda _seconds: None)
        return store.database

    @pytest.mark.parametrize("code", [sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_BUSY_SNAPSHOT])
    def test_a_transaction_that_lost_a_race_is_run_again_as_a_whole(self, database: Database, code: int) -> None:
        attempts: list[int] = []

        def work(connection: sa.Connection) -> int:
            attempts.append(connection.execute(sa.text("SELECT count(*) FROM store_info")).scalar_one())
            connection.execute(sa.text("INSERT INTO store_info (name, value) VALUES ('a', 'b')"))
            if len(attempts) < 4:
                raise self.busy(code)
            return len(attempts)

        assert database.write(work) == 4
        assert attempts == [0, 0, 0, 0]

    def test_three_retries_are_enough(self, database: Database) -> None:
        attempts: list[int] = []

        def work(_connection: sa.Connection) -> None:
            attempts.append(1)
            raise self.busy()

        with pytest.raises(StoreError, match="database is locked"):
            database.write(work)
        assert len(attempts) == 4

    def test_other_errors_are_not_tried_again(self, database: Database) -> None:
        attempts: list[int] = []

        def work(connection: sa.Connection) -> None:
            attempts.append(1)
            connection.execute(sa.text("SELECT * FROM no_such_table"))

        with pytest.raises(StoreError, match="no_such_table"):
            database.write(work)
        assert len(attempts) == 1

    def test_a_writer_waits_for_another_one_without_an_error(
        self, url: str, store: Store, open_store: Callable[..., Store]
    ) -> None:
        inside, go_on = threading.Event(), threading.Event()

        def hold(_connection: sa.Connection) -> None:
            inside.set()
            go_on.wait(5)

        holder = threading.Thread(target=store.database.write, args=(hold,))
        holder.start()
        inside.wait(5)
        threading.Timer(0.1, go_on.set).start()
        write_bars(open_store(url), [1.0], fetched_at=FETCHED + HOUR)
        holder.join()
        assert closes(store) == [1.0]
