"""The resources of the code location: the store, the IO manager and the run's collection session.

Belongs here: making and ending them. Does not belong here: what they do.

All are made on first use: loading the definitions opens no database and imports no source.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from market_assets.automation.jobs import BACKFILL, kind_of
from market_assets.clock import Clock
from market_assets.collection.session import CollectionSession, Progress, SourceFactory
from market_assets.errors import CollectionBusyError
from market_assets.indicators import Indicator
from market_assets.io_manager import VersionedIOManager
from market_assets.opening import open_store, require_source
from market_assets.partitions import days_of_tags
from market_assets.settings import Settings
from market_assets.sources.base import MarketDataSource
from market_assets.stopping import Stop
from market_assets.store import CollectionLease, CollectionLock, Store
from market_assets.universe import Universe

__all__ = ["Progress", "SourceFactory", "build_resources", "yahoo_source_factory"]

_LOG = logging.getLogger(__name__)
#: between two looks at a lock that another collection holds
_POLL_SECONDS = 1.0
#: for how long a backfill that has waited leaves the lock free: whoever else waits looks more than twice meanwhile
_COURTESY_SECONDS = 2.5


def yahoo_source_factory(settings: Settings, clock: Clock) -> SourceFactory:
    """Return a function that makes the Yahoo source; yfinance is imported only when it is called."""

    def make() -> MarketDataSource:
        from market_assets.sources.yahoo import YahooSource

        return YahooSource(
            clock=clock,
            base_url=settings.yahoo_base_url,
            timeout=timedelta(seconds=settings.yahoo_timeout_seconds),
        )

    return make


def build_resources(
    *,
    settings: Settings,
    universe: Universe,
    indicators: Sequence[Indicator],
    clock: Clock,
    store: Store | None,
    source_factory: SourceFactory | None,
    progress: Progress | None,
    stop: Stop,
) -> dict[str, Any]:
    """Return the resources by name: `store`, `io_manager`, `collection`."""

    @dg.resource(description="The market database.")
    def store_resource(_context: dg.InitResourceContext) -> Iterator[Store]:
        if store is not None:
            # Of this run alone: its collection fences it.
            yield store.over_the_same_connections()
            return
        opened = open_store(settings, universe=universe, indicators=indicators)
        try:
            yield opened
        finally:
            opened.close()

    @dg.resource(
        description="This run's collection: one at a time, under the lock in the database.",
        required_resource_keys={"store"},
    )
    def collection_resource(context: dg.InitResourceContext) -> Iterator[CollectionSession]:
        run = context.run
        run_id = run.run_id if run is not None else "no-run"
        tags = dict(run.tags) if run is not None else {}
        held: Store = context.resources.store
        require_source(held, settings)
        kind = kind_of(tags)
        lock = _acquire(held, run_id, settings, stop, lets_others_go_first=kind == BACKFILL)
        try:

            def may_go_on() -> None:
                stop.check()
                lock.check()

            session = CollectionSession(
                store=held,
                source_factory=source_factory or yahoo_source_factory(settings, clock),
                settings=settings,
                universe=universe,
                indicators=indicators,
                clock=clock,
                run_id=run_id,
                kind=kind,
                progress=progress,
                may_go_on=may_go_on,
                has_failed=lambda: _a_step_raised(context.instance, run_id),
            )
            stop.on_request(session.close)
            with held.fenced_by(lock), session.recorded(days_of_tags(tags, session.now)):
                yield session
        finally:
            lock.release()

    @dg.io_manager(description="Writes and reads through the versioned store.", required_resource_keys={"store"})
    def io_manager(context: dg.InitResourceContext) -> VersionedIOManager:
        return VersionedIOManager(context.resources.store, universe)

    return {"store": store_resource, "collection": collection_resource, "io_manager": io_manager}


def _acquire(
    store: Store, run_id: str, settings: Settings, stop: Stop, *, lets_others_go_first: bool
) -> CollectionLease:
    """Take the collection lock, waiting as long as the settings allow; say so in the log.

    Many runs of a backfill may wait at once. They let others go first, and each new holder starts their wait anew: only
    one that holds the lock for too long makes them give up.

    Raises:
        CollectionBusyError: another collection still holds it.
        KeyboardInterrupt: a stop was requested meanwhile.
    """
    lock, lease = CollectionLock(store), timedelta(seconds=settings.collection_lease_seconds)
    deadline = time.monotonic() + settings.collection_lock_wait_seconds
    seen: tuple[str, datetime] | None = None
    waited = False
    while True:
        stop.check()
        if waited and lets_others_go_first:
            held = lock.describe()
            if held is None:
                stop.sleep(_COURTESY_SECONDS)
            elif seen != (held.holder, held.acquired_at):
                seen = (held.holder, held.acquired_at)
                deadline = time.monotonic() + settings.collection_lock_wait_seconds
        try:
            return lock.acquire(run_id, lease=lease)
        except CollectionBusyError as busy:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            if not waited:
                _LOG.warning("waiting up to %.0f s for another collection: %s", left, busy)
                waited = True
            stop.sleep(min(_POLL_SECONDS, left))


def _a_step_raised(instance: dg.DagsterInstance | None, run_id: str) -> bool:
    """Return whether a step of the run has failed for good; a resource is not told, but the event log is."""
    if instance is None:
        return False
    return bool(instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=1).records)
