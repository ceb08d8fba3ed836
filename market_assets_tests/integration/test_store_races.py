"""Writers, migrators and lock holders that really run at once, on every database."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import sqlalchemy as sa

from market_assets.errors import CollectionBusyError, StoreError
from market_assets.store import CollectionLock, Replacement, Scope, Store
from market_assets.store.dialects import base
from market_assets.store.tables import COLLECTION_LOCK, MARKET_BARS, STORE_INFO
from market_assets_tests.databases import SQLITE, database_url  # noqa: F401 - a fixture
from market_assets_tests.store.builders import DAY, FETCHED, bars, closes, history, write_bars
from market_assets_tests.store.conftest import open_store  # noqa: F401 - a fixture
from market_assets_tests.store.racer import HELD, ROUNDS

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.integration
ROOT = Path(__file__).resolve().parents[2]
DAYS = [DAY - timedelta(days=number) for number in range(6)]


@pytest.fixture
def url(database_url: str) -> str:  # noqa: F811 - the imported fixture
    """URL of a migrated, empty database."""
    store = Store.connect(database_url)
    store.migrate()
    store.close()
    return database_url


def _start(action: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "market_assets_tests.store.racer", action, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


def test_four_processes_that_migrate_an_empty_database_at_once_all_succeed(database_url: str) -> None:  # noqa: F811
    _finish([_start("migrate", database_url) for _ in range(4)])


def test_two_processes_that_write_the_same_day_leave_the_newest_fetch_and_no_mixture(
    url: str,
    open_store: Callable[..., Store],  # noqa: F811
) -> None:
    _finish([_start("write", url, str(writer)) for writer in (0, 1)])
    store = open_store(url)
    mark = 1000.0 * (2 * ROUNDS - 1)
    assert closes(store) == [mark + bar for bar in range(21)]
    versions = history(store, MARKET_BARS)
    # at every stamp the whole day was of one fetch
    for stamp in versions["known_from"].drop_duplicates():
        then = closes(store, as_of=stamp)
        assert [value - then[0] for value in then] == [float(bar) for bar in range(len(then))]
    for _, one_bar in versions.groupby("bar_start"):
        assert list(one_bar["known_to"].iloc[:-1]) <= list(one_bar["known_from"].iloc[1:])


def test_of_two_writers_of_several_days_the_newer_fetch_wins_every_time(
    url: str,
    open_store: Callable[..., Store],  # noqa: F811
) -> None:
    store = open_store(url)
    chance = random.Random(7)  # noqa: S311 - a reproducible race
    for number in range(12):
        base = FETCHED + timedelta(hours=number)
        barrier = threading.Barrier(2)
        writers = [_Writer(store, base, newer, barrier, chance.uniform(0, 0.02)) for newer in (0, 1)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert [writer.failure for writer in writers] == [None, None]
        assert closes(store) == [base.timestamp() + 1] * (9 * len(DAYS))


class _Writer(threading.Thread):
    """Writes all DAYS at once; the newer of two writers goes through the days backwards and has a bar more."""

    def __init__(self, store: Store, base: datetime, newer: int, barrier: threading.Barrier, pause: float) -> None:
        super().__init__()
        days = DAYS[::-1] if newer else DAYS
        starts = [datetime.combine(day, time(15), UTC) for day in days]
        rows = [base.timestamp() + newer] * (8 + newer)
        self._replacement = Replacement(MARKET_BARS, pd.concat([bars(rows, start=start) for start in starts]))
        self._scopes = [Scope("QQQ", "15m", day) for day in days]
        self._fetched_at = base + timedelta(minutes=newer)
        self._store, self._barrier, self._pause = store, barrier, pause
        self.failure: Exception | None = None

    def run(self) -> None:
        self._barrier.wait()
        sleep(self._pause)
        try:
            self._store.replace(
                [self._replacement], scopes=self._scopes, fetched_at=self._fetched_at, accept_deletions=True
            )
        except Exception as error:  # noqa: BLE001 - a thread's error must reach the test
            self.failure = error


def test_writers_of_different_series_do_not_stop_each_other_and_their_stamps_never_meet(
    url: str,
    open_store: Callable[..., Store],  # noqa: F811
) -> None:
    store = open_store(url)
    stamps: list[object] = []

    def write(ticker: str) -> None:
        for number in range(8):
            fetched_at = FETCHED + timedelta(hours=number)
            stamps.append(write_bars(store, [float(number)], ticker=ticker, fetched_at=fetched_at).known_from)

    threads = [threading.Thread(target=write, args=(f"T{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(stamps)) == 32
    assert closes(store) == [7.0] * 4


def test_a_reader_sees_whole_writes_only_while_a_writer_writes(
    url: str,
    open_store: Callable[..., Store],  # noqa: F811
) -> None:
    store = open_store(url)
    done = threading.Event()

    def write() -> None:
        for number in range(15):
            rows = [float(number)] * 50
            write_bars(store, rows, fetched_at=FETCHED + timedelta(hours=number), step=timedelta(minutes=5))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen: list[tuple[object, list[float]]] = []
    while not done.is_set():
        with store.snapshot() as snapshot:
            first = list(snapshot.read(MARKET_BARS)["close"])
            assert first == list(snapshot.read(MARKET_BARS)["close"])
            assert len(set(first)) <= 1
            seen.append((snapshot.watermark, first))
    writer.join()
    for watermark, rows in seen:
        assert closes(store, as_of=watermark) == rows


def test_a_deadlock_is_survived_by_running_the_loser_again(url: str, open_store: Callable[..., Store]) -> None:  # noqa: F811
    if url.startswith(SQLITE):
        pytest.skip("SQLite has one writer at a time and no deadlocks")
    store = open_store(url)
    table = store.schema.plain(STORE_INFO)
    names = ["a", "b"]
    store.database.write(
        lambda connection: connection.execute(sa.insert(table), [{"name": n, "value": "0"} for n in names])
    )
    both_hold_one = threading.Barrier(2, timeout=30)
    attempts: list[str] = []

    def cross(order: list[str]) -> None:
        first = True

        def work(connection: sa.Connection) -> None:
            nonlocal first
            attempts.append(order[0])
            for name in order:
                row = sa.update(table).where(table.columns.name == name).values(value=table.columns.value + "x")
                connection.execute(row)
                if first:
                    first = False
                    both_hold_one.wait()

        store.database.write(work)

    threads = [threading.Thread(target=cross, args=(order,)) for order in (names, names[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(attempts) > 2
    with store.database.reading() as connection:
        assert set(connection.execute(sa.select(table.columns.value)).scalars()) == {"0xx"}


def test_a_killed_process_loses_the_lock_when_its_lease_ends_and_not_before(
    url: str,
    open_store: Callable[..., Store],  # noqa: F811
) -> None:
    lock = CollectionLock(open_store(url))
    lease = 2.0
    process = _start("hold", url, str(lease))
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == HELD
        sleep(lease)  # renewed meanwhile
        with pytest.raises(CollectionBusyError, match="a process to be killed"):
            lock.acquire("the next run", lease=timedelta(minutes=1))
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    killed_at = monotonic()
    with lock.acquire("the next run", wait=timedelta(seconds=20), poll=timedelta(seconds=0.05)):
        assert monotonic() - killed_at < lease + 5


def test_a_writer_that_freezes_inside_of_a_write_is_ended_by_the_server_and_others_go_on(
    url: str,
    open_store: Callable[..., Store],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if url.startswith(SQLITE):
        pytest.skip("a frozen process keeps SQLite's lock: there is no server that could take it")
    monkeypatch.setattr(base, "IDLE_SECONDS", 1)
    frozen, other = open_store(url), open_store(url)
    lock = sa.update(frozen.schema.plain(COLLECTION_LOCK)).values(holder="me")
    holds, thaws = threading.Event(), threading.Event()
    raised: list[StoreError] = []

    def freeze(connection: sa.Connection) -> None:
        connection.execute(lock)
        holds.set()
        thaws.wait(30)
        connection.execute(lock)

    def run() -> None:
        try:
            frozen.database.write(freeze)
        except StoreError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    holds.wait(30)
    began = monotonic()
    other.database.write(lambda connection: connection.execute(lock))
    assert monotonic() - began < 20
    thaws.set()
    thread.join()
    # and what it meant to write is not there by halves: its transaction is gone
    assert len(raised) == 1
