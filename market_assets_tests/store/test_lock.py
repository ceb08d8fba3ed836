"""The collection lock and its lease."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.errors import CollectionBusyError, LeaseLostError
from market_assets.store import CollectionLease, CollectionLock, Store

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
