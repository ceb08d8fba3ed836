"""One run's collection: its clock, its lock, its fetches under way, and what became of each ticker.

Belongs here: the state that the steps of one run share. Does not belong here: Dagster, formulas, SQL.

In-process steps run one after another: the first ticker step therefore starts the fetches of all selected tickers, and
each step waits for its own answers only.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from market_assets.collection import build
from market_assets.collection.correlated import recent_correlations
from market_assets.collection.coverage import Rules, bars_are_due, late_after
from market_assets.collection.days import ONE_DAY, DayRange
from market_assets.collection.holes import REFILL
from market_assets.collection.ingest import ingest
from market_assets.collection.ledger import judge_coverage, known_states
from market_assets.collection.outcome import TickerOutcome
from market_assets.collection.plan import LOOKBACK_DAILY, Limits, plan_requests
from market_assets.crypto_join import CORRELATION_JOIN_DAYS
from market_assets.errors import CollectionFailedError, EmptyAnswerError, LeaseLostError, SourceError
from market_assets.sources.base import Interval
from market_assets.sources.pool import FetchPool
from market_assets.store import DayState, RecordedStates
from market_assets.store.tables import CRYPTO_CORRELATIONS

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from market_assets.clock import Clock
    from market_assets.collection.write import ScopedWrite
    from market_assets.indicators import Indicator
    from market_assets.settings import Settings
    from market_assets.sources.base import FetchAnswer, FetchRequest, MarketDataSource
    from market_assets.store import JudgeStates, Snapshot, Store
    from market_assets.universe import Ticker, Universe

_LOG = logging.getLogger(__name__)

SourceFactory = Callable[[], "MarketDataSource"]
#: called with (done, total, what) as a collection moves on
Progress = Callable[[int, int, str], None]


class CollectionSession:
    """The state of one collection; made at its first step, closed at its end."""

    def __init__(
        self,
        *,
        store: Store,
        source_factory: SourceFactory,
        settings: Settings,
        universe: Universe,
        indicators: Sequence[Indicator],
        clock: Clock,
        run_id: str,
        kind: str,
        progress: Progress | None = None,
        may_go_on: Callable[[], None] = lambda: None,
        has_failed: Callable[[], bool] = lambda: False,
    ) -> None:
        """Take the parts; nothing is fetched or locked yet.

        `may_go_on` raises once another collection may have begun, and KeyboardInterrupt when this one is to stop;
        `has_failed` tells whether a step has raised.
        """
        self.store = store
        self.settings = settings
        self.universe = universe
        self.indicators = tuple(indicators)
        self.run_id = run_id
        self.kind = kind
        self.now: datetime = clock.now()
        self.outcomes: dict[str, TickerOutcome] = {}
        self._clock = clock
        self._may_go_on = may_go_on
        self._stopped = False
        self._overtaken = False
        self._has_failed = has_failed
        self._source_factory = source_factory
        self._progress = progress or (lambda _done, _total, _what: None)
        self._pool: FetchPool | None = None
        self._source: MarketDataSource | None = None
        self._planned: dict[str, list[FetchRequest]] = {}
        self._days = DayRange.of(self.now)
        self._stored: set[str] = set()
        self._never_fetched: set[str] = set()
        self._features_expected = False
        self._feature_summary: dict[str, object] = {}
        self._failed_checks: dict[str, str] = {}

    @contextmanager
    def recorded(self, days: DayRange) -> Iterator[CollectionSession]:
        """Write the run's record: begun before the first fetch, ended with what was really stored.

        A run that is killed in between leaves a record without an end, which `status` shows as interrupted.
        """
        self._days = days
        self.store.runs.start_collection(self.run_id, self.kind, self.now, self.settings.source_label)
        try:
            yield self
        except LeaseLostError:
            self._overtaken = True
            raise
        finally:
            self.close()
            status = self._status()
            self.store.runs.finish_collection(self.run_id, status, self._clock.now(), self._summary())
            rows = self._feature_summary.get("rows", 0)
            _LOG.info("%s: %d of %d tickers, %s feature rows", status, len(self._stored), len(self._planned), rows)

    def close(self) -> None:
        """Stop whatever is still being fetched; may be called from another thread."""
        if self._pool is not None:
            self._pool.close()

    # --- fetching -------------------------------------------------------------------------------------------------

    def collect(self, ticker: Ticker, days: DayRange, selected: Sequence[str]) -> TickerOutcome:
        """Wait for the answers for `ticker` and return the write they make; a failure is an outcome, never raised.

        The first call starts the fetches of all `selected` tickers for `days`. Raises LeaseLostError, and
        KeyboardInterrupt when the collection is to stop.
        """
        self._checkpoint()
        if ticker.name not in self._planned:
            self._start(days, [name for name in self.universe_names() if name in set(selected) | {ticker.name}])
            # A stop that was requested before there was a pool to close.
            self._checkpoint()
        again = ticker.name in self.outcomes
        outcome = self._gather(ticker, again=again)
        # What was cancelled has not failed.
        self._checkpoint()
        self.outcomes[ticker.name] = outcome
        self._log_outcome(outcome)
        if outcome.write is None:
            # What there is to store takes its states along.
            judge = self._judged(ticker, outcome)
            self.store.replace((), scopes=(), fetched_at=self.now, states=judge)
        self._progress(len(self.outcomes), len(self._planned), ticker.name)
        return outcome

    def _checkpoint(self) -> None:
        """Raise if the collection may not go on."""
        try:
            self._may_go_on()
        except KeyboardInterrupt:
            self._stopped = True
            raise

    def _log_outcome(self, outcome: TickerOutcome) -> None:
        if outcome.error is None:
            _LOG.debug("%s: %d bars from %d requests", outcome.ticker, len(outcome.bars), outcome.requests)
        else:
            _LOG.info("%s was not collected: %s", outcome.ticker, outcome.message)

    def expect_features(self) -> None:
        """Note that the run is to write feature rows: without them it has not succeeded."""
        self._features_expected = True

    def stored(self, ticker: Ticker) -> None:
        """Note that the ticker's write has been committed, and with it the states of the days that were asked for."""
        self._stored.add(ticker.name)

    def note_check(self, name: str, failure: str | None) -> None:
        """Note what a check of this run has found, None if it passed: the run's record names those that failed."""
        if failure is None:
            self._failed_checks.pop(name, None)
        else:
            self._failed_checks[name] = failure

    def universe_names(self) -> list[str]:
        """Return the names of the universe, in order."""
        return [ticker.name for ticker in self.universe]

    def _start(self, days: DayRange, names: Sequence[str]) -> None:
        if self._source is None:
            self._source = self._source_factory()
            self._pool = FetchPool(
                self._source,
                workers=self.settings.yahoo_workers,
                request_delay=timedelta(seconds=self.settings.yfinance_request_delay),
                attempts=self.settings.yahoo_attempts,
                rate_limit_backoff=timedelta(seconds=self.settings.yahoo_backoff_seconds),
                clock=self._clock,
            )
        limits = Limits.of(self._source.oldest_available, self.now)
        window = days.widened(LOOKBACK_DAILY + 1)
        fetched = self.store.fetch_times(names, window.first, window.last + ONE_DAY)
        self._never_fetched |= set(names) - fetched.keys()
        # A day that was answered without a bar is a hole: it is asked for again in its own time (`holes.py`).
        for hole in self.store.runs.states(
            window.first, window.last + ONE_DAY, tickers=names, states=[DayState.HOLE_AT_SOURCE]
        ):
            if hole.asked_at is not None and hole.day not in days:
                times = fetched.setdefault(hole.ticker, {}).setdefault(hole.interval, {})
                times[hole.day] = max(times.get(hole.day, hole.asked_at), hole.asked_at)
        for name in names:
            held = fetched.get(name, {})
            requests = plan_requests(
                self.universe[name],
                days,
                self.now,
                {interval: held[interval] for interval in Interval if interval in held},
                limits,
            )
            self._planned[name] = requests
        # Ticker by ticker, so that the first step can go on while the later ones are still being fetched.
        requests = [request for name in names for request in self._planned[name]]
        _LOG.info(
            "collecting %s to %s from %s: %d tickers, %d requests",
            days.first,
            days.last,
            self.settings.source_label,
            len(names),
            len(requests),
        )
        self._require_pool().submit(requests)

    def _require_pool(self) -> FetchPool:
        if self._pool is None:
            raise RuntimeError("the fetch pool is made by the first collect()")
        return self._pool

    def _gather(self, ticker: Ticker, *, again: bool) -> TickerOutcome:
        pool, requests = self._require_pool(), self._planned[ticker.name]
        label = self.settings.source_label
        answers: list[FetchAnswer] = []
        errors: list[SourceError] = []
        empty: list[EmptyAnswerError] = []
        for request in requests:
            try:
                answers.append(pool.fetch_again(request) if again else pool.result(request))
            except EmptyAnswerError as error:
                empty.append(error)
            except SourceError as error:
                errors.append(error)
        # A hole in one window is no reason to throw away what the others hold. Without any bar the ticker has failed if
        # its own days should have some, or if there never was any: a hole in the look-back alone must not fail it all
        # weekend.
        has_bars = any(len(answer.bars) for answer in answers)
        nothing_ever = ticker.name in self._never_fetched
        asked_for_holes = self.kind == REFILL
        if (
            empty
            and not has_bars
            and not asked_for_holes
            and (nothing_ever or bars_are_due(ticker, requests, self._days, self.now))
        ):
            errors.extend(empty)
        if errors:
            # All or nothing: a ticker with half of its windows would look complete.
            return TickerOutcome(ticker.name, label, tuple(requests), error=errors[0], failed_requests=len(errors))
        with self.store.snapshot() as snapshot:
            ingested = ingest(ticker, answers, snapshot, asked_at=self.now)
        rejected: Counter[str] = Counter()
        for answer in answers:
            rejected.update(answer.rejected["reason"].tolist())
        outcome = TickerOutcome(
            ticker.name,
            label,
            tuple(requests),
            write=ingested.write,
            bars=ingested.bars,
            quarantined=len(ingested.quarantined),
            rejected=dict(rejected),
            holes=tuple(str(error) for error in empty),
        )
        # In the transaction of the bars: a ticker whose bars are stored is not asked again for the days before today,
        # and a death in between would leave them without a state for ever.
        return replace(outcome, write=replace(ingested.write, states=self._judged(ticker, outcome)))

    # --- deriving -------------------------------------------------------------------------------------------------

    def features(self, days: DayRange) -> ScopedWrite:
        """Compute the feature rows of `days` from one snapshot."""
        self._checkpoint()
        self.expect_features()
        with self.store.snapshot() as snapshot:
            return build.build_features(
                snapshot,
                days,
                self.now,
                interval_minutes=self.settings.collection_interval_minutes,
                universe=self.universe,
                indicators=self.indicators,
                began=self.store.runs.collection_began(),
            )

    def correlations(self, days: DayRange) -> ScopedWrite:
        """Compute the crypto correlations of the sessions of `days`.

        And of the days before them from the first one on that never was: the crypto rows of a first day, or of the
        first day of a backfill, stand on the sessions before it.
        """
        self._checkpoint()
        series = [crypto.name for crypto in self.universe.crypto]
        before = days.widened(CORRELATION_JOIN_DAYS)
        computed = self.store.all_covered_days(before.first, days.first, series)
        by_crypto = [computed.get((name, CRYPTO_CORRELATIONS.fixed_interval), set()) for name in series]
        first = next(day for day in before if day == days.first or not all(day in held for held in by_crypto))
        with self.store.snapshot() as snapshot:
            return build.build_correlations(snapshot, DayRange(first, days.last), self.now, self.universe)

    def recent_correlations(self, days: DayRange) -> pd.DataFrame:
        """Return the stored correlations of the last sessions up to the end of `days`."""
        return recent_correlations(self.store, days.last)

    def features_written(self, days: DayRange, write: ScopedWrite) -> None:
        """Note that the feature rows of `days` have been committed; their days are no longer stale."""
        frame, read_as_of = write.replacements[0].frame, write.fetched_at
        self.store.runs.clear_stale_days(list(days), before=read_as_of)
        self._feature_summary = {"rows": len(frame)}
        if not frame.empty:
            latest = frame.iloc[-1]
            self._feature_summary |= {
                "observed_at": latest["observed_at"].isoformat(),
                "feature_count": int(latest["feature_count"]),
                "core_count": int(latest["core_count"]),
            }

    def crypto_rows(self, days: DayRange) -> ScopedWrite:
        """Join the crypto rows of `days`, from the user's own table where one is configured."""
        self._checkpoint()
        table = self.settings.crypto_prices_table
        left = self.store.read_crypto_prices(table, days.start, days.end) if table else None
        with self.store.snapshot() as snapshot:
            return build.build_crypto_rows(snapshot, days, self.now, self.universe, self.indicators, left=left)

    # --- the end --------------------------------------------------------------------------------------------------

    def fail_if_nothing_was_collected(self) -> None:
        """Raise CollectionFailedError once every planned ticker has failed."""
        failed = [outcome for outcome in self.outcomes.values() if outcome.error is not None]
        if failed and len(failed) == len(self._planned):
            causes = Counter(outcome.error.code for outcome in failed if outcome.error is not None)
            listed = ", ".join(f"{count} x {cause}" for cause, count in causes.most_common())
            raise CollectionFailedError(
                f"none of {len(failed)} tickers could be fetched from {self.settings.source_label} ({listed}). "
                f"First: {failed[0].ticker}: {failed[0].message}"
            )

    def _status(self) -> str:
        if self._stopped:
            return "interrupted"
        failed = [outcome for outcome in self.outcomes.values() if outcome.error is not None]
        if self._features_expected and not self._feature_summary:
            return "failed"
        if self._planned and (
            len(failed) == len(self._planned) or len(self._stored) + len(failed) < len(self._planned)
        ):
            return "failed"
        # Correlations and crypto rows count too: what raised was not stored. Days whose states could not be recorded
        # are not done with: the next tick collects them again.
        if self._overtaken or self._has_failed():
            return "failed"
        return "partial" if failed else "ok"

    def _summary(self) -> dict[str, object]:
        return {
            "first_day": self._days.first.isoformat(),
            "last_day": self._days.last.isoformat(),
            "tickers": len(self._planned),
            # whether the days are done with: one ticker materialized by hand, or a rebuild, collects no day
            "complete": len(self._planned) == len(self.universe) and bool(self._feature_summary),
            "stored": sorted(self._stored),
            "failed": {name: outcome.message for name, outcome in self.outcomes.items() if outcome.error is not None},
            "features": self._feature_summary,
            "failed_checks": self._failed_checks,
        }

    def _judged(self, ticker: Ticker, outcome: TickerOutcome) -> JudgeStates:
        """Return what judges the days that were asked for; the days' earlier states are read now."""
        known, rules = known_states(self.store, outcome), self._coverage_rules

        def judge(snapshot: Snapshot) -> RecordedStates:
            entries = judge_coverage(snapshot, ticker, outcome, known, now=self.now, rules=rules)
            return RecordedStates(tuple(entries), self.run_id, self.now)

        return judge

    @cached_property
    def _coverage_rules(self) -> Rules:
        return Rules(late_after(self.settings), self.store.runs.collection_began())
