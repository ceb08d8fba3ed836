"""The collection lock and its lease."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from market_assets.errors import CollectionBusyError, LeaseLostError
from market_assets.store import CollectionLease, CollectionLock, DayState, LedgerEntry, Store
from market_assets.store.tables import COLLECTION_LOCK
from market_assets_tests.store.builders import DAY, FETCHED, closes, write_bars

if TYPE_CHECKING:
    from collections.abc import Callable

LONG, SHORT, POLL = timedelta(minutes=1), timedelta(seconds=0.3), timedelta(seconds=0.05)


def test_only_one_holder_at_a_time_and_the_other_is_told_who_it_is(store: Store) -> None:
    lock = CollectionLock(store)
    with lock.acquire("pod-1 run-7", lease=LONG):
        state = lock.describe()
        assert state is not None
        assert state.holder == "pod-1 run-7"
        assert state.expires_at - state.acquired_at == LONG
        with pytest.raises(CollectionBusyError, match=r"held by pod-1 run-7 since 20.* UTC, until 20.* UTC at least"):
            lock.acquire("pod-2", lease=LONG)
    assert lock.describe() is None
    lock.acquire("pod-2", lease=LONG).release()


def test_whoever_waits_gets_the_lock_when_it_is_released(store: Store) -> None:
    lock = CollectionLock(store)
    held = lock.acquire("first", lease=LONG)
    threading.Timer(0.2, held.release).start()
    with lock.acquire("second", lease=LONG, wait=timedelta(seconds=10), poll=POLL) as lease:
        lease.check()
        state = lock.describe()
        assert state is not None
        assert state.holder == "second"


def test_the_heartbeat_keeps_a_short_lease_alive(store: Store) -> None:
    lock = CollectionLock(store)
    with lock.acquire("first", lease=SHORT) as lease:
        time.sleep(3 * SHORT.total_seconds())
        lease.check()
        with pytest.raises(CollectionBusyError):
            lock.acquire("second", lease=SHORT)


def test_a_holder_whose_heart_stops_loses_the_lock_when_the_lease_ends_and_learns_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = CollectionLock(store)
    monkeypatch.setattr(lock, "renew", lambda _token, _lease: True)  # beats that reach nothing
    lease = lock.acquire("first", lease=SHORT)
    with lock.acquire("second", lease=LONG, wait=timedelta(seconds=10), poll=POLL):
        monkeypatch.undo()
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            try:
                lease.check()
            except LeaseLostError:
                break
            time.sleep(0.02)
        with pytest.raises(LeaseLostError, match="collect again"):
            lease.check()
        lease.release()
        state = lock.describe()
        assert state is not None
        assert state.holder == "second"


def test_a_renewal_that_does_not_get_through_in_time_ends_the_lease_for_its_holder(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = CollectionLock(store)
    blocked = threading.Event()

    def hang(_token: str, _lease: timedelta) -> bool:
        blocked.wait(10)
        return True

    monkeypatch.setattr(lock, "renew", hang)
    lease = lock.acquire("first", lease=SHORT)
    lease.check()
    time.sleep(SHORT.total_seconds())
    with pytest.raises(LeaseLostError, match="ended before it was renewed"):
        lease.check()
    blocked.set()
    lease.release()


def test_a_released_lease_is_no_lease_and_can_be_released_again(store: Store) -> None:
    lease = CollectionLock(store).acquire("first")
    lease.release()
    lease.release()
    with pytest.raises(LeaseLostError, match="was released"):
        lease.check()


def test_of_many_that_ask_at_once_exactly_one_gets_the_lock(url: str, open_store: Callable[..., Store]) -> None:
    locks = [CollectionLock(open_store(url)) for _ in range(5)]
    barrier = threading.Barrier(len(locks))
    outcomes: list[str] = []
    held: list[CollectionLease] = []

    def ask(lock: CollectionLock) -> None:
        barrier.wait()
        try:
            held.append(lock.acquire("someone", lease=LONG))
        except CollectionBusyError:
            outcomes.append("busy")
        else:
            outcomes.append("held")

    threads = [threading.Thread(target=ask, args=(lock,)) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held[0].release()
    assert sorted(outcomes) == ["busy"] * 4 + ["held"]


# --- the fence: what a collection writes, it writes while it holds the lock -------------------------------------------


def lease_runs_out(store: Store) -> None:
    """Let the lease end, for the database: its holder does not notice."""
    table = store.schema.plain(COLLECTION_LOCK)
    aged = sa.update(table).values(acquired_at=FETCHED, expires_at=FETCHED)
    store.database.write(lambda connection: connection.execute(aged), fenced=False)


def test_a_write_after_another_collection_has_taken_the_lock_changes_nothing(store: Store) -> None:
    lock = CollectionLock(store)
    paused = lock.acquire("paused", lease=LONG)
    with store.fenced_by(paused):
        write_bars(store, [1.0, 2.0])
        lease_runs_out(store)
        newer = lock.acquire("newer", lease=LONG)
        paused.check()  # by its own watch it holds the lock still
        for write in (
            lambda: write_bars(store, [3.0], fetched_at=FETCHED + timedelta(hours=1)),
            lambda: store.runs.record_states([LedgerEntry("QQQ", "1d", DAY, DayState.OK)], "paused", FETCHED),
        ):
            with pytest.raises(LeaseLostError, match="another collection has taken the collection lock"):
                write()
        with pytest.raises(LeaseLostError):
            paused.check()
    assert closes(store) == [1.0, 2.0]
    assert store.covered_days("QQQ", "15m", DAY, DAY + timedelta(days=1)) == {DAY}
    assert store.runs.states(DAY, DAY + timedelta(days=1)) == []
    paused.release()
    assert lock.describe() is not None
    newer.release()


def test_a_lease_that_ran_out_but_was_taken_by_nobody_still_writes(store: Store) -> None:
    with CollectionLock(store).acquire("slow", lease=LONG) as lease, store.fenced_by(lease):
        lease_runs_out(store)
        write_bars(store, [1.0])
    assert closes(store) == [1.0]


def test_nobody_takes_the_lock_between_the_confirmation_of_a_write_and_its_commit(
    url: str, open_store: Callable[..., Store]
) -> None:
    slow, other = open_store(url), open_store(url)
    confirmed, go_on, taken = threading.Event(), threading.Event(), threading.Event()
    lease = CollectionLock(slow).acquire("slow", lease=LONG)
    lease_runs_out(slow)

    def confirm_slowly(connection: sa.Connection) -> None:
        lease.confirm(connection)
        confirmed.set()
        go_on.wait(20)

    def write() -> None:
        with slow.database.fenced(confirm_slowly):
            write_bars(slow, [1.0])

    def take() -> None:
        with CollectionLock(other).acquire("other", lease=LONG):
            taken.set()

    writer, taker = threading.Thread(target=write), threading.Thread(target=take)
    writer.start()
    assert confirmed.wait(20)
    taker.start()
    assert not taken.wait(0.3)
    assert closes(other) == []
    go_on.set()
    assert taken.wait(20)
    writer.join()
    taker.join()
    lease.release()
    assert closes(other) == [1.0]


def test_a_collection_that_was_overtaken_still_says_how_it_ended(store: Store) -> None:
    lock = CollectionLock(store)
    paused = lock.acquire("paused", lease=LONG)
    with store.fenced_by(paused):
        store.runs.start_collection("run", "tick", FETCHED, "yahoo")
        lease_runs_out(store)
        with lock.acquire("newer", lease=LONG):
            store.runs.finish_collection("run", "failed", FETCHED, {})
    record = store.runs.collection("run")
    assert record is not None
    assert record.status == "failed"
    paused.release()


def test_each_collection_is_fenced_by_itself_though_it_shares_its_connections(store: Store) -> None:
    mine, theirs = store.over_the_same_connections(), store.over_the_same_connections()
    lock = CollectionLock(store)
    lost = lock.acquire("mine", lease=LONG)
    lease_runs_out(store)
    with lock.acquire("theirs", lease=LONG) as held, mine.fenced_by(lost), theirs.fenced_by(held):
        write_bars(theirs, [1.0])
        write_bars(store, [2.0], fetched_at=FETCHED + timedelta(hours=1))
        with pytest.raises(LeaseLostError):
            write_bars(mine, [3.0], fetched_at=FETCHED + timedelta(hours=2))
        with pytest.raises(RuntimeError, match="fenced already"), mine.fenced_by(held):
            pass
    lost.release()
    assert closes(store) == [2.0]
