"""Who gets the collection lock when several wait for it."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets import resources
from market_assets.errors import CollectionBusyError
from market_assets.settings import Settings
from market_assets.stopping import Stop
from market_assets.store import CollectionLock, Store

if TYPE_CHECKING:
    from pathlib import Path

LEASE = timedelta(seconds=30)


class Turns:
    """Collections that wait for one lock in threads; each holds it for a moment."""

    def __init__(self, store: Store, *, wait: float, holds: float) -> None:
        self.order: list[str] = []
        self.gave_up: list[str] = []
        self._store = store
        self._settings = Settings.load(collection_lock_wait_seconds=wait)
        self._holds = holds
        self._threads: list[threading.Thread] = []

    def wait(self, name: str, *, backfill: bool) -> None:
        thread = threading.Thread(target=self._take, args=(name, backfill))
        thread.start()
        self._threads.append(thread)

    def _take(self, name: str, backfill: bool) -> None:
        store = self._store.over_the_same_connections()
        try:
            lease = resources._acquire(store, name, self._settings, Stop(), lets_others_go_first=backfill)
        except CollectionBusyError:
            self.gave_up.append(name)
            return
        self.order.append(name)
        time.sleep(self._holds)
        lease.release()

    def finish(self) -> None:
        for thread in self._threads:
            thread.join(30)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(resources, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(resources, "_COURTESY_SECONDS", 0.3)
    made = Store.connect(f"sqlite:///{tmp_path / 'market.db'}")
    made.migrate()
    return made


def test_a_tick_passes_every_waiting_run_of_a_backfill(store: Store) -> None:
    turns = Turns(store, wait=20, holds=0.1)
    held = CollectionLock(store).acquire("backfill 0", lease=LEASE)
    for number in range(1, 5):
        turns.wait(f"backfill {number}", backfill=True)
    time.sleep(0.3)
    turns.wait("tick", backfill=False)
    time.sleep(0.3)
    held.release()
    turns.finish()
    store.close()

    assert turns.order[0] == "tick"
    assert set(turns.order) == {"tick", *(f"backfill {number}" for number in range(1, 5))}


def test_a_backfill_waits_on_while_others_take_their_turns(store: Store) -> None:
    """Four runs hold the lock one after the other, for longer in all than one may wait."""
    turns = Turns(store, wait=1.5, holds=0.6)
    held = CollectionLock(store).acquire("backfill 0", lease=LEASE)
    for number in range(1, 5):
        turns.wait(f"backfill {number}", backfill=True)
    time.sleep(0.3)
    held.release()
    turns.finish()
    store.close()

    assert len(turns.order) == 4
    assert not turns.gave_up


def test_it_gives_up_when_one_holds_the_lock_for_too_long(store: Store) -> None:
    turns = Turns(store, wait=0.5, holds=0.0)
    held = CollectionLock(store).acquire("one that hangs", lease=LEASE)
    turns.wait("backfill", backfill=True)
    turns.wait("tick", backfill=False)
    turns.finish()
    held.release()
    store.close()

    assert sorted(turns.gave_up) == ["backfill", "tick"]
