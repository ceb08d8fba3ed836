"""Fetching many requests at once from any source: concurrency, pace, retries, rate limits, cancelling.

Belongs here: when a request goes out and what its failure means for the others. Does not belong here: anything that
knows a particular source, and anything that stores.

Threads, not asyncio: the sources block in C code that releases the GIL. The threads are daemons and no
`concurrent.futures` executor, because the interpreter waits for an executor's threads when it exits, and a request that
hangs would outlive Ctrl-C by its whole timeout.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Self
from weakref import WeakKeyDictionary

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

from market_assets.errors import BatchStoppedError, RateLimitedError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from market_assets.clock import Clock
    from market_assets.sources.base import FetchAnswer, FetchRequest, MarketDataSource

_LOG = logging.getLogger(__name__)

#: the rest after a 429 is drawn from [1, 1.5] times the back-off, so that several collectors do not return together
_BACKOFF_JITTER = 0.5
#: seconds before a further attempt at most
_LONGEST_WAIT = 30.0


@dataclass(frozen=True, slots=True)
class FetchRecord:
    """How one request went."""

    request: FetchRequest
    #: `ok` or the error's code
    outcome: str
    #: how often it was asked, 0 if it was stopped before
    attempts: int
    #: from `submit` to the outcome
    seconds: float


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What a pool has done so far."""

    records: tuple[FetchRecord, ...]
    #: how often the source answered 429
    rate_limited: int
    #: seconds of rest after rate limits
    rested: float

    @property
    def attempts(self) -> int:
        """How often the source was asked."""
        return sum(record.attempts for record in self.records)

    @property
    def retries(self) -> int:
        """How many of the attempts were repeated ones."""
        return sum(max(0, record.attempts - 1) for record in self.records)

    @property
    def outcomes(self) -> dict[str, int]:
        """Number of requests by outcome."""
        return dict(Counter(record.outcome for record in self.records))


class _Pace:
    """When the next request may start; shared by all pools of one source in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_start = 0.0
        self._strikes = 0
        self._barred_since = 0.0
        #: no request starts before this instant (monotonic seconds)
        self.barred_until = 0.0

    def reserve(self, delay: float) -> float:
        """Return the instant at which the caller may start; the next one is `delay` later."""
        with self._lock:
            start = max(time.monotonic(), self._next_start)
            self._next_start = start + delay
            return start

    def rate_limited(self, started: float, backoff: float) -> None:
        """Bar all requests for a while; each further incident doubles it.

        `started`: when the refused request went out. One that was under way when the bar came down is no new incident.
        """
        with self._lock:
            if started < self._barred_since:
                return
            rest = backoff * 2**self._strikes * random.uniform(1.0, 1.0 + _BACKOFF_JITTER)  # noqa: S311 - no secret
            self._strikes += 1
            self._barred_since = time.monotonic()
            self.barred_until = self._barred_since + rest

    def served(self, started: float) -> None:
        """Note an answer: the source has forgiven, unless the request was under way when the bar came down."""
        with self._lock:
            if started >= self.barred_until:
                self._strikes = 0


_PACES: WeakKeyDictionary[MarketDataSource, _Pace] = WeakKeyDictionary()
_PACES_LOCK = threading.Lock()


def _pace_of(source: MarketDataSource) -> _Pace:
    with _PACES_LOCK:
        return _PACES.setdefault(source, _Pace())


@dataclass(slots=True, eq=False)
class _Job:
    request: FetchRequest
    future: Future[FetchAnswer] = field(default_factory=Future)
    submitted: float = field(default_factory=time.monotonic)
    attempts: int = 0
    #: how many of them were answered with a rate limit
    limited: int = 0


class FetchPool:
    """Fetches requests of one source concurrently; use it as a context manager, or call `close()`.

    Starts of requests are `request_delay` apart, over all pools of the source in this process. A retryable error is
    asked again, up to `attempts` times, after an exponential wait with jitter. A RateLimitedError stops everything:
    nothing more goes out for `rate_limit_backoff` (with jitter, doubled at each further one). If this pool's rests then
    sum up to `rate_limit_budget` at most, it resumes afterwards and asks again, up to `attempts` times; else all that
    is pending fails at once with BatchStoppedError, and so does whatever is submitted until the rest is over.
    """

    def __init__(
        self,
        source: MarketDataSource,
        *,
        clock: Clock,
        workers: int = 8,
        request_delay: timedelta = timedelta(0),
        attempts: int = 3,
        retry_wait: timedelta = timedelta(seconds=1),
        rate_limit_backoff: timedelta = timedelta(minutes=2),
        rate_limit_budget: timedelta = timedelta(minutes=5),
    ) -> None:
        """Start no thread yet; they start with the first `submit`.

        Args:
            source: must be thread-safe.
            clock: names, in messages, the instant at which a stopped batch may go on.
            workers: requests under way at once.
            request_delay: between the starts of two requests.
            attempts: how often one request is asked before its error stands.
            retry_wait: before the second attempt; doubles, plus a jitter of the same size.
            rate_limit_backoff: rest after a 429.
            rate_limit_budget: rests that this pool waits out in all.
        """
        if workers < 1 or attempts < 1:
            raise ValueError(f"workers={workers} and attempts={attempts} must be at least 1")
        self._source = source
        self._clock = clock
        self._workers = workers
        self._attempts = attempts
        self._delay = request_delay.total_seconds()
        self._backoff = rate_limit_backoff.total_seconds()
        self._budget = rate_limit_budget.total_seconds()
        wait = retry_wait.total_seconds()
        self._retrying = Retrying(
            stop=stop_after_attempt(attempts),
            wait=wait_exponential(multiplier=wait, max=max(_LONGEST_WAIT, wait)) + wait_random(0.0, wait),
            retry=retry_if_exception(lambda error: isinstance(error, SourceError) and error.retryable),
            sleep=self._sleep,
            reraise=True,
        )
        self._pace = _pace_of(source)
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._latest: dict[FetchRequest, Future[FetchAnswer]] = {}
        self._open_jobs: set[_Job] = set()
        self._records: list[FetchRecord] = []
        self._rate_limited = 0
        self._rested = 0.0
        self._rest_accepted_until = 0.0
        self._cancelled = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, requests: Iterable[FetchRequest]) -> dict[FetchRequest, Future[FetchAnswer]]:
        """Start fetching `requests` in order and return a future for each, which raises a SourceError on failure.

        A request that was submitted before is fetched anew. The futures are cancelled through the pool only.
        """
        jobs = [_Job(request) for request in dict.fromkeys(requests)]
        for job in jobs:
            job.future.set_running_or_notify_cancel()
        with self._lock:
            for job in jobs:
                self._latest[job.request] = job.future
                self._open_jobs.add(job)
        for job in jobs:
            self._queue.put(job)
        self._start_threads(len(jobs))
        if self._cancelled.is_set():
            self.cancel()
        return {job.request: job.future for job in jobs}

    def result(self, request: FetchRequest) -> FetchAnswer:
        """Wait for the latest answer to a submitted `request`.

        Raises:
            SourceError: the fetch failed, after its retries.
            KeyError: the request was never submitted.
        """
        with self._lock:
            future = self._latest[request]
        return future.result()

    def fetch_again(self, request: FetchRequest) -> FetchAnswer:
        """Fetch `request` anew, whatever came of it before, and wait: for a step that is run again."""
        return self.submit([request])[request].result()

    def cancel(self) -> None:
        """Give up everything at once: nothing more goes out, and what is pending or under way fails."""
        self._cancelled.set()
        with self._lock:
            jobs = list(self._open_jobs)
        for job in jobs:
            self._finish(job, BatchStoppedError(f"{job.request}: the collection was cancelled"))
        for _ in self._threads:
            self._queue.put(None)

    def close(self) -> None:
        """Cancel what is left; idle threads end, one in a hanging request is left behind and ends with it."""
        self.cancel()

    def stats(self) -> PoolStats:
        """Return what the pool has done so far."""
        with self._lock:
            return PoolStats(tuple(self._records), self._rate_limited, self._rested)

    # --- threads ------------------------------------------------------------------------------------------------------

    def _start_threads(self, wanted: int) -> None:
        with self._lock:
            for number in range(len(self._threads), min(self._workers, len(self._threads) + wanted)):
                thread = threading.Thread(target=self._work, name=f"fetch-{number}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            if job.future.done():
                continue
            try:
                outcome: FetchAnswer | BaseException = self._retrying(self._attempt, job)
            except BaseException as error:  # noqa: BLE001 - whoever waits for the answer gets it
                outcome = error
            self._finish(job, outcome)

    def _attempt(self, job: _Job) -> FetchAnswer:
        """Ask once, in turn; after a rate limit that is waited out, once more."""
        while True:
            started = self._await_turn(job)
            job.attempts += 1
            try:
                answer = self._logged_fetch(job, started)
            except RateLimitedError:
                self._pace.rate_limited(started, self._backoff)
                job.limited += 1
                with self._lock:
                    self._rate_limited += 1
                rest = max(0.0, self._pace.barred_until - time.monotonic())
                if job.limited >= self._attempts or not self._accepts_rest():
                    _LOG.warning("%s: rate limited, giving the batch up; next request in %.0f s", job.request, rest)
                    self._stop_pending()
                    raise
                _LOG.warning("%s: rate limited, going on in %.0f s", job.request, rest)
                continue
            self._pace.served(started)
            return answer

    def _logged_fetch(self, job: _Job, started: float) -> FetchAnswer:
        """Fetch once; the log says, at DEBUG, how long it took and what came of it."""
        outcome = "failed"
        try:
            answer = self._source.fetch(job.request)
            outcome = f"{len(answer.bars)} bars"
        except SourceError as error:
            outcome = error.code
            raise
        finally:
            seconds = time.monotonic() - started
            _LOG.debug("%s: %s in %.3f s (attempt %d)", job.request, outcome, seconds, job.attempts)
        return answer

    def _await_turn(self, job: _Job) -> float:
        """Wait until `job` may start and return the instant; raise BatchStoppedError if it may not."""
        while True:
            start = self._pace.reserve(self._delay)
            self._sleep(start - time.monotonic())
            if self._cancelled.is_set():
                raise BatchStoppedError(f"{job.request}: the collection was cancelled")
            rest = self._pace.barred_until - time.monotonic()
            if rest <= 0:
                return start
            if not self._accepts_rest():
                raise self._stopped(job)
            self._sleep(rest)

    def _accepts_rest(self) -> bool:
        """Whether this pool waits the current rest out; the rest is charged to its budget once."""
        with self._lock:
            until = self._pace.barred_until
            if until <= self._rest_accepted_until:
                return True
            rest = until - max(time.monotonic(), self._rest_accepted_until)
            if self._rested + rest > self._budget:
                return False
            self._rested += rest
            self._rest_accepted_until = until
            return True

    def _stop_pending(self) -> None:
        """Fail all jobs that no thread has taken; those under way may still be answered."""
        while True:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return
            if job is None:
                self._queue.put(None)
                return
            self._finish(job, self._stopped(job))

    def _stopped(self, job: _Job) -> BatchStoppedError:
        rest = max(0.0, self._pace.barred_until - time.monotonic())
        resume = self._clock.now() + timedelta(seconds=rest)
        return BatchStoppedError(
            f"{job.request}: not asked, the source limits the rate of requests; ask again after {resume:%H:%M:%S} UTC"
        )

    def _finish(self, job: _Job, outcome: FetchAnswer | BaseException) -> None:
        """Settle the job's future, once: an answer that comes after `cancel` is dropped."""
        failed = isinstance(outcome, BaseException)
        code = getattr(outcome, "code", type(outcome).__name__) if failed else "ok"
        with self._lock:
            if job not in self._open_jobs:
                return
            self._open_jobs.remove(job)
            seconds = time.monotonic() - job.submitted
            self._records.append(FetchRecord(job.request, str(code), job.attempts, seconds))
        if isinstance(outcome, BaseException):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)

    def _sleep(self, seconds: float) -> None:
        """Wait, or less if the pool is cancelled."""
        if seconds > 0:
            self._cancelled.wait(seconds)
