"""Looking from outside of Dagster: what `market-assets watch` does at each look, and what any other process may do.

Belongs here: a look, and what is said when the database itself cannot be used. Does not belong here: loops, signals.

A database that cannot be used cannot keep messages either. So its outage is kept in this process and posted from it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from market_assets.alerts.messages import Links, instant, lasted, shortened_text
from market_assets.alerts.posting import ApprisePoster
from market_assets.alerts.service import Alerts
from market_assets.alerts.targets import Masker, targets_of
from market_assets.errors import NoDatabaseError, StoreError
from market_assets.store import AlertMessage

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from market_assets.alerts.delivery import Delivered
    from market_assets.alerts.posting import Poster
    from market_assets.clock import Clock
    from market_assets.settings import Settings
    from market_assets.store import Store

_LOG = logging.getLogger(__name__)
DATABASE_UNREACHABLE = "database_unreachable"
#: how long the database may be away, for a restart of it, before it is told
TOLERATED_OUTAGE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Look:
    """What one look came to."""

    #: what is to be told now, None if nothing
    message: AlertMessage | None = None
    delivered: Delivered | None = None
    #: why the database could not be used; empty if it could
    trouble: str = ""


class Watch:
    """Looks again and again, and remembers since when the database has been away."""

    def __init__(
        self, open_store: Callable[[], Store], settings: Settings, clock: Clock, poster: Poster | None = None
    ) -> None:
        """Open the store with `open_store` at each look, until it is there."""
        self._open_store = open_store
        self._settings = settings
        self._clock = clock
        self._targets = targets_of(settings)
        self._poster = poster or ApprisePoster(Masker.of(settings))
        self._store: Store | None = None
        self._away_since: datetime | None = None
        #: names of the targets that were told of the outage
        self._told: set[str] = set()

    def look(self) -> Look:
        """Look once: missed ticks, cool-downs, the daily message, and whatever waits to be posted.

        A database that cannot be used raises nothing: it is told of, if it stays so.
        """
        try:
            if self._store is None:
                self._store = self._open_store()
            alerts = Alerts(self._store, self._settings, self._clock, self._poster)
            message = alerts.review()
            delivered = alerts.deliver()
        except NoDatabaseError as nothing_yet:
            return Look(trouble=str(nothing_yet))
        except StoreError as error:
            self.close()
            _LOG.warning("the database cannot be used: %s", error)
            self._tell_of_outage(str(error))
            return Look(trouble=str(error))
        self._tell_of_return()
        return Look(message, delivered)

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _tell_of_outage(self, why: str) -> None:
        now = self._clock.now()
        self._away_since = self._away_since or now
        if now - self._away_since < TOLERATED_OUTAGE:
            return
        body = (
            f"ERROR {DATABASE_UNREACHABLE}: it cannot be used since {instant(self._away_since)}; "
            f"observed {lasted(now - self._away_since)}, threshold {lasted(TOLERATED_OUTAGE)}\n"
            f"{shortened_text(why, 300)}\n"
            f"what to do: {Links.of(self._settings).section(DATABASE_UNREACHABLE)}"
        )
        message = AlertMessage("alert", "error", "Market collector: ERROR the database cannot be used", body, now)
        for target in self._targets:
            if target.name not in self._told and self._poster.post(target, message).ok:
                self._told.add(target.name)

    def _tell_of_return(self) -> None:
        if self._away_since is None:
            return
        now = self._clock.now()
        body = f"OK {DATABASE_UNREACHABLE}: it can be used again, after {lasted(now - self._away_since)}"
        message = AlertMessage("alert", "ok", "Market collector: OK the database can be used again", body, now)
        for target in self._targets:
            if target.name in self._told and self._poster.post(target, message).ok:
                self._told.discard(target.name)
        if not self._told:
            self._away_since = None
