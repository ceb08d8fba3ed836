"""Concurrency, pace, retries, rate limits and cancelling, with sources made of Python."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from market_assets.clock import SystemClock
from market_assets.errors import (
    BatchStoppedError,
    RateLimitedError,
    SourceError,
    SourceUnavailableError,
    SymbolNotFoundError,
)
from market_assets.sources.base import FetchAnswer, FetchRequest, Interval
from market_assets.sources.pool import FetchPool
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START = datetime(2026, 3, 4, tzinfo=UTC)
REQUESTS = [FetchRequest(ticker, Interval.M15, START, START + timedelta(days=1)) for ticker in UNIVERSE]
TICK = timedelta(milliseconds=1)


class FakeSource:
    """Answers after `latency`; `script` may raise instead, given the request and how often it was asked before."""

    label = "fake"

    def __init__(
        self, script: Callable[[FetchRequest, int], None] = lambda _request, _before: None, latency: float = 0.0
    ) -> None:
        self.script, self.latency = script, latency
        self.asked: list[FetchRequest] = []
        self.started: list[float] = []
        self.under_way = self.peak = 0
        self._lock = threading.Lock()

    def oldest_available(self, _interval: Interval, _now: datetime) -> datetime | None:
        return None

    def fetch(self, request: FetchRequest) -> FetchAnswer:
        with self._lock:
            before = self.asked.count(request)
            self.asked.append(request)
            self.started.append(time.monotonic())
            self.under_way += 1
            self.peak = max(self.peak, self.under_way)
        try:
            time.sleep(self.latency)
            self.script(request, before)
        finally:
            with self._lock:
                self.under_way -= 1
        none = pd.DataFrame()
        return FetchAnswer(request, START, self.label, none, none, none, request.start, request.end)


def fails(error: type[SourceError], *, times: int = 1, of: Sequence[FetchRequest] = REQUESTS) -> (
    Callable[[FetchRequest, int], None]
):  # fmt: skip
    def script(request: FetchRequest, before: int) -> None:
        if request in of and before < times:
            raise error(f"{request}: on purpose")

    return script


def make_pool(
    source: FakeSource, *, workers: int = 8, delay: timedelta = timedelta(0), attempts: int = 3,
    backoff: timedelta = TICK, budget: timedelta = timedelta(seconds=5),
) -> FetchPool:  # fmt: skip
    return FetchPool(
        source, clock=SystemClock(), workers=workers, request_delay=delay, attempts=attempts, retry_wait=TICK,
        rate_limit_backoff=backoff, rate_limit_budget=budget,
    )  # fmt: skip


def outcomes(pool: FetchPool) -> dict[str, int]:
    return pool.stats().outcomes


# --- concurrency and pace ---------------------------------------------------------------------------------------------


def test_requests_overlap_up_to_the_number_of_workers() -> None:
    source = FakeSource(latency=0.02)
    with make_pool(source, workers=5) as pool:
        answers = {request: future.result() for request, future in pool.submit(REQUESTS).items()}
    assert {request: answer.request for request, answer in answers.items()} == {r: r for r in REQUESTS}
    assert source.peak == 5
    assert Counter(source.asked) == Counter(REQUESTS)


def test_a_step_waits_only_for_its_own_answer() -> None:
    def script(request: FetchRequest, _before: int) -> None:
        if request is not REQUESTS[0]:
            time.sleep(2)

    with make_pool(FakeSource(script), workers=2) as pool:
        began = time.monotonic()
        pool.submit(REQUESTS[:3])
        assert pool.result(REQUESTS[0]).request == REQUESTS[0]
        assert time.monotonic() - began < 1.5


def test_one_request_submitted_twice_at_once_is_fetched_once() -> None:
    source = FakeSource()
    with make_pool(source) as pool:
        futures = pool.submit([REQUESTS[0], REQUESTS[0]])
        futures[REQUESTS[0]].result()
    assert len(source.asked) == 1


def test_starts_keep_their_distance_over_all_pools_of_a_source() -> None:
    source = FakeSource()
    delay = timedelta(milliseconds=15)
    with make_pool(source, delay=delay) as one, make_pool(source, delay=delay) as other:
        futures = [*one.submit(REQUESTS[:6]).values(), *other.submit(REQUESTS[6:12]).values()]
        for future in futures:
            future.result()
    gaps = [later - earlier for earlier, later in zip(source.started, source.started[1:], strict=False)]
    # 11 gaps of 15 ms; a single one may look shorter if a thread was late for its turn
    assert source.started[-1] - source.started[0] >= 0.15
    assert sorted(gaps)[len(gaps) // 2] >= 0.010


def test_sources_do_not_share_their_pace() -> None:
    slow, quick = FakeSource(), FakeSource()
    with make_pool(slow, delay=timedelta(seconds=5)) as one, make_pool(quick) as other:
        one.submit(REQUESTS[:2])
        other.submit(REQUESTS[:1])[REQUESTS[0]].result(timeout=1)


# --- retries ----------------------------------------------------------------------------------------------------------


def test_a_retryable_error_is_asked_again_at_the_source() -> None:
    source = FakeSource(fails(SourceUnavailableError, times=2, of=REQUESTS[:1]))
    with make_pool(source) as pool:
        pool.submit(REQUESTS[:2])
        assert pool.result(REQUESTS[0]).request == REQUESTS[0]
        assert pool.result(REQUESTS[1]).request == REQUESTS[1]
        stats = pool.stats()
    assert Counter(source.asked) == {REQUESTS[0]: 3, REQUESTS[1]: 1}
    assert (stats.attempts, stats.retries, stats.outcomes) == (4, 2, {"ok": 2})
    assert all(record.seconds > 0 for record in stats.records)


def test_the_last_error_stands_when_the_attempts_are_used_up() -> None:
    source = FakeSource(fails(SourceUnavailableError, times=99))
    with make_pool(source, attempts=2) as pool, pytest.raises(SourceUnavailableError, match="QQQ 15m"):
        pool.submit(REQUESTS[:1])[REQUESTS[0]].result()
    assert len(source.asked) == 2


def test_an_error_that_asking_again_cannot_mend_is_not_retried() -> None:
    source = FakeSource(fails(SymbolNotFoundError))
    with make_pool(source) as pool, pytest.raises(SymbolNotFoundError):
        pool.submit(REQUESTS[:1])[REQUESTS[0]].result()
    assert len(source.asked) == 1


def test_a_bug_in_a_source_reaches_the_one_who_waits_and_spares_the_others() -> None:
    def script(request: FetchRequest, _before: int) -> None:
        if request is REQUESTS[0]:
            raise ZeroDivisionError

    with make_pool(FakeSource(script), workers=1) as pool:
        pool.submit(REQUESTS[:2])
        with pytest.raises(ZeroDivisionError):
            pool.result(REQUESTS[0])
        assert pool.result(REQUESTS[1]).request == REQUESTS[1]
        assert outcomes(pool) == {"ZeroDivisionError": 1, "ok": 1}


def test_a_retried_step_fetches_anew() -> None:
    source = FakeSource(fails(SymbolNotFoundError, times=1))
    with make_pool(source) as pool:
        pool.submit(REQUESTS[:1])
        with pytest.raises(SymbolNotFoundError):
            pool.result(REQUESTS[0])
        assert pool.fetch_again(REQUESTS[0]).request == REQUESTS[0]
        assert pool.result(REQUESTS[0]).request == REQUESTS[0]
        pool.fetch_again(REQUESTS[0])
    assert len(source.asked) == 3


def test_a_request_that_was_never_submitted_has_no_result() -> None:
    with make_pool(FakeSource()) as pool, pytest.raises(KeyError):
        pool.result(REQUESTS[0])


# --- rate limits ------------------------------------------------------------------------------------------------------


def test_a_rate_limit_beyond_the_budget_fails_everything_pending_at_once() -> None:
    source = FakeSource(fails(RateLimitedError, of=REQUESTS[:1]), latency=0.01)
    with make_pool(source, workers=2, backoff=timedelta(minutes=10), budget=timedelta(minutes=5)) as pool:
        began = time.monotonic()
        futures = pool.submit(REQUESTS)
        errors = [future.exception() for future in futures.values()]
        assert time.monotonic() - began < 5.0
        assert isinstance(errors[0], RateLimitedError)
        # whatever was under way besides the refused request was still answered
        assert 1 <= len(source.asked) <= 3
        assert sum(isinstance(error, BatchStoppedError) for error in errors) == len(REQUESTS) - len(source.asked)
        assert pool.stats().rate_limited == 1

        with pytest.raises(BatchStoppedError, match="ask again after"):
            pool.fetch_again(REQUESTS[5])
        assert len(source.asked) <= 3

    with make_pool(source) as another, pytest.raises(BatchStoppedError):  # the bar belongs to the source
        another.fetch_again(REQUESTS[5])


def test_a_rate_limit_within_the_budget_is_waited_out_and_the_batch_resumes() -> None:
    source = FakeSource(fails(RateLimitedError, of=REQUESTS[:1]))
    with make_pool(source, workers=3, backoff=timedelta(milliseconds=80)) as pool:
        for future in pool.submit(REQUESTS).values():
            future.result()
        stats = pool.stats()
    assert stats.outcomes == {"ok": len(REQUESTS)}
    assert stats.rate_limited == 1
    assert 0.08 <= stats.rested <= 0.13
    # Requests that were on their way when the bar came down start still; then none does until the rest is over.
    starts = sorted(source.started)
    rests = [number for number, (one, other) in enumerate(pairwise(starts), 1) if other - one >= 0.07]
    assert rests
    assert rests[0] < len(REQUESTS)


def test_several_refusals_at_once_are_one_incident() -> None:
    source = FakeSource(fails(RateLimitedError), latency=0.01)
    with make_pool(source, workers=8, backoff=timedelta(milliseconds=30)) as pool:
        for future in pool.submit(REQUESTS[:8]).values():
            future.result()
        stats = pool.stats()
    assert stats.rate_limited >= 8
    assert stats.rested < 0.03 * 1.5 * (1 + 2)  # at most one straggler made a second incident


def test_a_source_that_always_limits_is_given_up_after_the_attempts_even_without_a_rest() -> None:
    source = FakeSource(fails(RateLimitedError, times=99))
    with make_pool(source, workers=1, attempts=3, backoff=timedelta(0)) as pool:
        error = pool.submit(REQUESTS[:1])[REQUESTS[0]].exception()
    assert isinstance(error, RateLimitedError)
    assert len(source.asked) == 3


# --- cancelling -------------------------------------------------------------------------------------------------------


def test_cancelling_fails_what_is_pending_and_what_hangs_at_once() -> None:
    hang = threading.Event()
    source = FakeSource(lambda _request, _before: (hang.wait(10), None)[1])
    pool = make_pool(source, workers=2)
    futures = pool.submit(REQUESTS)
    while source.under_way < 2:
        time.sleep(0.001)
    began = time.monotonic()
    pool.cancel()
    for future in futures.values():
        with pytest.raises(BatchStoppedError, match="cancelled"):
            future.result(timeout=1)
    assert time.monotonic() - began < 5
    hang.set()
    with pytest.raises(BatchStoppedError):
        pool.fetch_again(REQUESTS[0])
    time.sleep(0.02)
    assert len(source.asked) == 2
    assert outcomes(pool) == {"batch_stopped": len(REQUESTS) + 1}


def test_leaving_the_pool_wakes_a_thread_that_waits_for_its_turn() -> None:
    source = FakeSource()
    with make_pool(source, workers=2, delay=timedelta(hours=1)) as pool:
        futures = pool.submit(REQUESTS[:3])
        futures[REQUESTS[0]].result()
    assert all(isinstance(futures[request].exception(timeout=1), BatchStoppedError) for request in REQUESTS[1:3])


def test_threads_end_with_the_pool() -> None:
    before = threading.active_count()
    with make_pool(FakeSource()) as pool:
        for future in pool.submit(REQUESTS).values():
            future.result()
    deadline = time.monotonic() + 2
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.005)
    assert threading.active_count() <= before


def test_a_hanging_request_does_not_keep_the_interpreter_from_leaving_after_ctrl_c() -> None:
    program = textwrap.dedent("""
        import signal, os, threading, time
        from market_assets_tests.sources.test_pool import REQUESTS, FakeSource, make_pool

        source = FakeSource(lambda request, before: time.sleep(60))
        with make_pool(source) as pool:
            pool.submit(REQUESTS)
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            pool.result(REQUESTS[0])
    """)
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert "KeyboardInterrupt" in done.stderr
    assert done.returncode != 0
    assert time.monotonic() - began < 40


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="workers=0"):
        make_pool(FakeSource(), workers=0)
