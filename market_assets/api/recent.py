"""Answers that are given again for a moment, however many ask.

Belongs here: keeping, and asking once. Does not belong here: answers.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

_Question = TypeVar("_Question", bound=Hashable)
_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class _Kept(Generic[_Answer]):
    """The last answer to one question, and who is asking again."""

    asking: asyncio.Lock
    answer: _Answer | None = None
    until: float = 0.0


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

    def fresh(self, question: _Question) -> _Answer | None:
        """Return the answer if it was asked for within `seconds`; None: nothing is known."""
        kept = self._kept.get(question)
        return kept.answer if kept is not None and time.monotonic() < kept.until else None

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
                kept.answer = await self._ask(question)
                kept.until = time.monotonic() + self._seconds
            return kept.answer
