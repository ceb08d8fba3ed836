"""What the routes share: settings, clock, the store, the client, whoever starts collections.

Belongs here: opening the store when it is first asked for, and again when that failed: a server that is started before
its database says what is missing, and recovers by itself. Does not belong here: routes.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import anyio
from anyio import to_thread

from market_assets.api.problems import ProblemError
from market_assets.client import FeatureStore
from market_assets.indicators import INDICATORS
from market_assets.opening import open_reader
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi import Request

    from market_assets.api.launch import Launcher
    from market_assets.clock import Clock
    from market_assets.indicators import Indicator
    from market_assets.settings import Settings
    from market_assets.store import Store
    from market_assets.universe import Universe

_Result = TypeVar("_Result")
#: questions that the database is asked at once; the pool has as many connections
READERS = 8
#: seconds after which a question to the database is given up
_PATIENCE = 30.0


@dataclass(slots=True)
class Services:
    """One server's parts. `store` and `client` may be called from any thread."""

    settings: Settings
    clock: Clock
    launcher: Launcher
    universe: Universe = UNIVERSE
    indicators: Sequence[Indicator] = INDICATORS
    #: streams under way
    streams: int = 0
    _store: Store | None = None
    _opening: threading.Lock = field(default_factory=threading.Lock)
    _readers: anyio.CapacityLimiter | None = None

    def store(self) -> Store:
        """Return the open store.

        Raises:
            StoreError: it cannot be opened now; the next call tries again.
        """
        with self._opening:
            if self._store is None:
                self._store = open_reader(self.settings, universe=self.universe, indicators=self.indicators)
            return self._store

    def client(self) -> FeatureStore:
        """Return a client of the store, without memory of its own.

        Raises:
            StoreError: as for `store`.
        """
        return FeatureStore(
            store=self.store(), settings=self.settings, universe=self.universe, indicators=self.indicators
        )

    async def read(self, work: Callable[[], _Result]) -> _Result:
        """Run `work`, which reads the database, in a thread; at most READERS at once.

        Raises:
            ProblemError: the database did not answer in time.
        """
        if self._readers is None:
            self._readers = anyio.CapacityLimiter(READERS)
        try:
            async with asyncio.timeout(_PATIENCE):
                return await to_thread.run_sync(work, limiter=self._readers, abandon_on_cancel=True)
        except TimeoutError:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"the database did not answer within {_PATIENCE:.0f} s; ask again later, or for less",
                headers={"Retry-After": "30"},
            ) from None

    def close(self) -> None:
        """Close the connections."""
        with self._opening:
            if self._store is not None:
                self._store.close()
                self._store = None


def services_of(request: Request) -> Services:
    """Return the services of the server that a request came to."""
    services: Services = request.app.state.services
    return services
