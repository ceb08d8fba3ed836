"""Answers that are given again for a moment, however many ask.

Belongs here: keeping, and asking once. Does not belong here: answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

_LOG = logging.getLogger(__name__)
_Question = TypeVar("_Question", bound=Hashable)
_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class _Kept(Generic[_Answer]):
    """The last answer to one question, and who is asking again."""

    asking: asyncio.Lock
    answer: _Answer | None = None
    until: float = 0.0
    #: from when on it is asked again beside the answers, so that nobody waits at its end
    renewed_from: float = 0.0


class Recent(Generic[_Question, _Answer]):
    """Asks each question once within `seconds`, and keeps the answers to the last `size` questions.

    What cannot be answered is an error for everybody who waits, never an older answer.
    """

    def __init__(self, ask: Callable[[_Question], Awaitable[_Answer]], *, seconds: float, size: int = 64) -> None:
        """Keep nothing yet."""
        self._ask = ask
        self._seconds = seconds
        self._size = size
        self._kept: OrderedDict[_Question, _Kept[_Answer]] = OrderedDict()
        self._renewing: set[asyncio.Task[None]] = set()

    def fresh(self, question: _Question) -> _Answer | None:
        """Return the answer if it is at most `seconds` old; None: it is not known. For the event loop's thread."""
        kept = self._kept.get(question)
        now = time.monotonic()
        if kept is None or now >= kept.until:
            return None
        if now >= kept.renewed_from and not kept.asking.locked():
            kept.renewed_from = kept.until
            task = asyncio.get_running_loop().create_task(self._renew(question, kept))
            self._renewing.add(task)
            task.add_done_callback(self._renewing.discard)
        return kept.answer

    async def _renew(self, question: _Question, kept: _Kept[_Answer]) -> None:
        async with kept.asking:
            try:
                self._keep(kept, await self._ask(question))
            except Exception as error:  # noqa: BLE001 - whoever asks once its time is over is told
                _LOG.warning("an answer could not be renewed: %s: %s", type(error).__name__, error)

    def _keep(self, kept: _Kept[_Answer], answer: _Answer) -> None:
        now = time.monotonic()
        kept.answer, kept.until, kept.renewed_from = answer, now + self._seconds, now + self._seconds / 2

    async def get(self, question: _Question) -> _Answer:
        """Return the answer, at most `seconds` old; raise what asking raises."""
        answer = self.fresh(question)
        if answer is not None:
            return answer
        kept = self._kept.get(question)
        if kept is None:
            kept = self._kept[question] = _Kept(asyncio.Lock())
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        async with kept.asking:
            # Whoever waited finds what the one before has asked.
            if kept.answer is None or time.monotonic() >= kept.until:
                kept.answer = None
                self._keep(kept, await self._ask(question))
            if kept.answer is None:
                raise RuntimeError("an answer was asked for and is not there")
            return kept.answer
