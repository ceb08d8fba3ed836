"""Running the simulator: in a background thread for tests, in the foreground for people.

Belongs here: sockets, threads, uvicorn. Does not belong here: what is served (`app.py`).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Self

import uvicorn

from market_assets.sources.simulator.app import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from market_assets.clock import Clock

_START_LIMIT_SECONDS = 10.0


def _config(simulator: Simulator) -> uvicorn.Config:
    return uvicorn.Config(
        simulator.app,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, so that the address is known and clients may connect before the loop runs."""
    listener = socket.create_server((host, port), backlog=128)
    # Without it every answer on a kept-alive connection waits 40 ms for a delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)  # noqa: FBT003 - the socket module's own signature
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


class _Uvicorn(uvicorn.Server):
    """Lets hanging requests go before it waits for open connections."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(_config(simulator))
        self._simulator = simulator

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._simulator.release()
        await super().shutdown(sockets)


class SimulatorServer(Simulator):
    """The simulator on a loopback address, in a background thread.

    Use it as a context manager, or call `start()` and `stop()`. Set a ManualClock to move its time; `requests`,
    `faults`, `market` and `play` may be used from any thread while it runs.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        seed: int = 7,
        host: str = "127.0.0.1",
        port: int = 0,
        latency: timedelta = timedelta(0),
    ) -> None:
        """Prepare a server; port 0 picks a free one at `start()`."""
        super().__init__(clock, seed=seed, latency=latency)
        self._host, self._port = host, port
        self._url: str | None = None
        self._uvicorn: _Uvicorn | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Base URL, e.g. `http://127.0.0.1:41234`; raise RuntimeError before `start()`."""
        if self._url is None:
            raise RuntimeError("the simulator has no address yet; call start() first")
        return self._url

    def start(self) -> Self:
        """Serve in a background thread; return when the server answers.

        Raises:
            OSError: the port is taken.
            RuntimeError: it is running already, or does not come up.
        """
        if self._thread is not None:
            raise RuntimeError(f"the simulator is running at {self._url}; call stop() first")
        listener = _listen(self._host, self._port)
        self._url = _url(listener)
        self.hold()
        self._uvicorn = _Uvicorn(self)
        self._thread = threading.Thread(
            target=self._uvicorn.run, kwargs={"sockets": [listener]}, name="simulator", daemon=True
        )
        self._thread.start()
        limit = time.monotonic() + _START_LIMIT_SECONDS
        while not self._uvicorn.started:
            if time.monotonic() > limit or not self._thread.is_alive():
                listener.close()
                self.stop()
                raise RuntimeError(f"the simulator did not come up at {self._url}")
            time.sleep(0.002)
        return self

    def stop(self) -> None:
        """Stop serving; hanging requests are let go. Stopping twice is no error."""
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True
        if self._thread is not None:
            self._thread.join()
        self._thread = self._uvicorn = self._url = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()


def serve_forever(
    clock: Clock,
    *,
    seed: int = 7,
    host: str = "127.0.0.1",
    port: int = 8770,
    latency: timedelta = timedelta(0),
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; `on_ready` is called with the URL once the address is bound.

    Raises:
        OSError: the port is taken.
    """
    simulator = Simulator(clock, seed=seed, latency=latency)
    listener = _listen(host, port)
    if on_ready is not None:
        on_ready(_url(listener))
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn shuts down first and raises it again
        _Uvicorn(simulator).run(sockets=[listener])
