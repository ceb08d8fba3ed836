"""The tables of alerts: decisions in one transaction, claims, and nothing told twice by two processes."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.errors import StoreError
from market_assets.store import AlertMessage, AlertState, Decision, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from market_assets.store import AlertKey

NOW = datetime(2026, 3, 2, 14, 2, 3, 456789, tzinfo=UTC)
LEASE = timedelta(minutes=5)
STATE = AlertState(
    "bars_were_fetched",
    "ticker/TLT",
    failing=True,
    severity="error",
    failures=3,
    since=NOW - timedelta(hours=1),
    evaluated_at=NOW,
    run_id="run-1",
    cause="rate_limited",
    observed="2",
    threshold="0",
    detail="429 ✗ " + "x" * 300,
    told="error",
    told_at=NOW,
    told_since=NOW - timedelta(hours=1),
    loudest="error",
    flaps=2,
    level=1,
)


def message(number: int = 0, **changes: object) -> AlertMessage:
    made = AlertMessage(
        "alert", "error", f"title {number}", "text\nof it", NOW + timedelta(seconds=number), id=f"m{number}"
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def write(store: Store, **parts: object) -> None:
    store.alerts.decide(lambda _states, _waiting: Decision(**parts))  # type: ignore[arg-type]


def test_a_state_comes_back_as_it_was_written_and_is_replaced_and_forgotten(store: Store) -> None:
    assert store.alerts.states() == {}
    write(store, states=[STATE])
    assert store.alerts.states() == {STATE.key: replace(STATE, detail=STATE.detail[:255])}
    changed = replace(STATE, failing=False, told="", told_at=None, told_since=None, detail="")
    write(store, states=[changed])
    assert store.alerts.states() == {STATE.key: changed}
    write(store, forgotten=[STATE.key])
    assert store.alerts.states() == {}


def test_when_alerts_were_looked_at_is_no_state(store: Store) -> None:
    assert store.alerts.looked_at() is None
    write(store, states=[STATE])
    assert store.alerts.looked_at() is None
    write(store, looked_at=NOW)
    write(store)
    assert store.alerts.looked_at() == NOW
    assert list(store.alerts.states()) == [STATE.key]


def test_messages_wait_in_order_until_they_are_done_and_stay_in_the_log(store: Store) -> None:
    write(store, messages=[message(2), message(1), message(0, kind="note", body="")])
    assert [one.id for one in store.alerts.waiting()] == ["m1", "m2"]
    write(store, updated=[message(1, delivered=("slack",), done_at=NOW, attempts=2, last_error="")])
    assert [one.id for one in store.alerts.waiting()] == ["m2"]
    newest = store.alerts.last_messages(2)
    assert [one.id for one in newest] == ["m2", "m1"]
    assert newest[1] == message(1, delivered=("slack",), done_at=NOW, attempts=2)
    assert newest[0] == message(2)


def test_a_message_that_is_there_already_is_not_written_again(store: Store) -> None:
    write(store, messages=[message(1)])
    write(store, messages=[message(1, title="another"), message(2)])
    assert [one.title for one in store.alerts.waiting()] == ["title 1", "title 2"]


def test_only_done_messages_are_pruned(store: Store) -> None:
    write(store, messages=[message(0), message(1, done_at=NOW), message(9, done_at=NOW)])
    write(store, prune_before=NOW + timedelta(seconds=5))
    assert [one.id for one in store.alerts.last_messages(9)] == ["m9", "m0"]


def test_a_claim_keeps_messages_from_others_until_it_is_given_back_or_over(store: Store) -> None:
    write(store, messages=[message(0), message(1, kind="note")])
    assert [one.id for one in store.alerts.claim("a", LEASE)] == ["m0"]
    assert store.alerts.claim("b", LEASE) == []
    write(store, messages=[message(2)])
    assert [one.id for one in store.alerts.claim("b", timedelta(0))] == ["m2"]
    store.alerts.decide(lambda _states, _waiting: Decision(), lease="a")
    # a's was given back, b's is over
    assert [one.id for one in store.alerts.claim("c", LEASE)] == ["m0", "m2"]


def test_a_decision_that_fails_writes_nothing(store: Store) -> None:
    def work(_states: object, _waiting: object) -> Decision:
        return Decision(states=[STATE], messages=[message(0), message(0)])

    with pytest.raises(StoreError):
        store.alerts.decide(work)
    assert store.alerts.states() == {}
    assert store.alerts.waiting() == []


def test_many_processes_that_see_the_same_trouble_tell_it_once(url: str, open_store: Callable[..., Store]) -> None:
    stores = [open_store(url) for _ in range(4)]
    write(stores[0])  # the row that is locked is there: putting it in would be a lock of its own
    failures: list[BaseException] = []
    start = threading.Barrier(len(stores))

    def look(store: Store, number: int) -> None:
        def work(states: Mapping[AlertKey, AlertState], _waiting: Sequence[AlertMessage]) -> Decision:
            if STATE.key in states:
                return Decision(looked_at=NOW)
            time.sleep(0.1)
            return Decision(states=[STATE], messages=[message(number)], looked_at=NOW)

        try:
            start.wait()
            for _ in range(5):
                store.alerts.decide(work)
        except BaseException as error:  # noqa: BLE001 - a thread's error must reach the test
            failures.append(error)

    threads = [threading.Thread(target=look, args=pair) for pair in zip(stores, range(4), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(stores[0].alerts.waiting()) == 1
    claims = [store.alerts.claim(f"poster {number}", LEASE) for number, store in enumerate(stores)]
    assert sorted(map(len, claims)) == [0, 0, 0, 1]
