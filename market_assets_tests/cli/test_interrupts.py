"""Signals: work that is stoppable stops at its checkpoint, and work that is not is left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from market_assets.cli import interrupts
from market_assets.cli.interrupts import Interrupted, raise_on_signals, run_stoppable
from market_assets.stopping import Stop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Our handlers in this test, the former ones after it."""
    monkeypatch.setattr(interrupts._State, "abandoned", False)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    raise_on_signals()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int, after: float = 0.1) -> None:
    threading.Timer(after, os.kill, (os.getpid(), number)).start()


def test_work_that_is_not_interrupted_returns_its_result_or_raises_its_error() -> None:
    assert run_stoppable(lambda: 7, Stop(), "stopped") == 7
    with pytest.raises(KeyError, match="GONE"):
        run_stoppable(lambda: os.environ["GONE"], Stop(), "stopped")
    assert interrupts._State.abandoned is False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_work_at_its_next_checkpoint(number: int) -> None:
    stop, tidied = Stop(), []

    def work() -> None:
        stop.on_request(lambda: None)
        try:
            while True:
                stop.sleep(10.0)
        finally:
            time.sleep(0.3)
            tidied.append(True)

    send(number)
    with pytest.raises(Interrupted, match="nothing is lost"):
        run_stoppable(work, stop, "nothing is lost")
    assert tidied == [True]
    assert interrupts._State.abandoned is False


def test_work_that_has_begun_nothing_is_left_behind_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_PATIENCE", 60.0)
    ended = threading.Event()
    send(signal.SIGINT)
    began = time.monotonic()
    with pytest.raises(Interrupted):
        run_stoppable(lambda: ended.wait(60.0), Stop(), "")
    assert time.monotonic() - began < 5.0
    assert interrupts._State.abandoned is True
    ended.set()


def test_work_that_does_not_stop_is_left_behind_when_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_PATIENCE", 0.2)
    stop, ended = Stop(), threading.Event()
    stop.on_request(lambda: None)
    send(signal.SIGINT)
    with pytest.raises(Interrupted):
        run_stoppable(lambda: ended.wait(60.0), stop, "")
    assert interrupts._State.abandoned is True
    ended.set()


def test_a_signal_whose_exception_was_swallowed_still_counts() -> None:
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1.0)
    except Interrupted:
        pass
    with pytest.raises(Interrupted):
        run_stoppable(lambda: None, Stop(), "")


def test_signals_that_whoever_started_us_ignores_stay_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise_on_signals()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_whoever_waits_is_told_of_a_stop_also_when_it_came_before() -> None:
    stop, told = Stop(), []
    assert stop.concerns_anyone is False
    stop.on_request(lambda: told.append("early"))
    stop.check()
    stop.request()
    stop.on_request(lambda: told.append("late"))
    assert told == ["early", "late"]
    assert stop.requested
    with pytest.raises(KeyboardInterrupt):
        stop.check()
    with pytest.raises(KeyboardInterrupt):
        stop.sleep(60.0)
