"""An independent reader that looks all the time.

Belongs here: taking pictures in a thread. Does not belong here: judging them (`kills.py`, `crossings.py`).
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from market_assets_tests.torture.pictures import Camera, Picture


class Onlooker:
    """Takes pictures until it is stopped."""

    def __init__(self, camera: Camera, pause: float) -> None:
        """Begin to look, with `pause` seconds between two looks."""
        self._camera = camera
        # The simulator lives in this process, and wants to answer.
        self._pause = pause
        self._done = threading.Event()
        self._pictures: list[Picture] = []
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    @property
    def glances(self) -> int:
        """Pictures taken."""
        return len(self._pictures)

    def developed(self) -> list[Picture]:
        """Stop looking and return every picture, in order; raise what kept it from looking."""
        self._done.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._pictures

    def _look(self) -> None:
        try:
            while not self._done.is_set():
                self._pictures.append(self._camera.picture())
                time.sleep(self._pause)
        except Exception as error:  # noqa: BLE001 - raised again by `developed`
            self._error = error
