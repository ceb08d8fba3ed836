"""Fingerprints of stored rows, fine enough to name a single one.

Belongs here: making them, writing them down compactly, and finding which rows differ. Does not belong here: what the
rows are, and what a difference does to a data set.

Rows stand in series. Per series a SHA-256 over all rows, which proves; per row a CRC-32, which names: it differs with
certainty if a single bit does.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from market_assets.calendars import US_PER_DAY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from market_assets.maths.arrays import IntArray

_US_PER_SECOND = 1_000_000

#: what happened to a row since the receipt was written
CHANGED, MISSING, ADDED = "changed", "missing", "added"


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that is not what the receipt says."""

    #: CHANGED, MISSING (the receipt has it) or ADDED (the receipt does not)
    what: str
    series: str
    #: time of the row, microseconds UTC
    at_us: int
    #: position among the rows of the series as they are now; None if the row is missing
    position: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The rows of one series as words of 64 bits, ascending by time; rows of one time stand in a fixed order."""

    name: str
    #: microseconds UTC
    at_us: IntArray
    #: one row of words per row; they need not repeat the time
    words: IntArray

    @classmethod
    def of(cls, name: str, at_us: IntArray, *words: IntArray) -> Series:
        """Take parallel columns of words."""
        return cls(name, at_us, np.stack([at_us, *words], axis=1))

    @property
    def _raw(self) -> bytes:
        return np.ascontiguousarray(self.words, dtype="<i8").tobytes()

    @property
    def sha256(self) -> str:
        """Hash over all rows."""
        return hashlib.sha256(self._raw).hexdigest()

    @property
    def crc(self) -> NDArray[np.uint32]:
        """CRC-32 of each row."""
        raw, width = self._raw, self.words.shape[1] * 8
        return np.array([zlib.crc32(raw[at : at + width]) for at in range(0, len(raw), width)], dtype="<u4")

    def by_day(self) -> Iterator[tuple[str, slice]]:
        """Return each UTC day, as text, with its rows."""
        day = self.at_us // US_PER_DAY
        bounds = [*np.flatnonzero(np.diff(day, prepend=day[:1] - 1)).tolist(), len(day)]
        for start, stop in pairwise(bounds):
            yield str(np.datetime64(int(day[start]), "D")), slice(start, stop)


def text_words(column: pd.Series) -> IntArray:
    """Return texts as words: the CRC-32 of each, 0 for a missing one."""
    codes, texts = pd.factorize(column)
    return np.array([zlib.crc32(str(text).encode()) for text in texts] + [0], dtype=np.int64)[codes]


def written_down(series: Sequence[Series]) -> dict[str, Any]:
    """Return the fingerprints as plain values.

    `series`: by name the SHA-256 of all rows, their number, and by UTC day [number of a grid, CRC-32 of each row, four
    bytes in little-endian order, in base64]; `grids`: seconds into the day at which the rows of such a day stand.
    """
    grids: dict[tuple[int, ...], int] = {}
    told: dict[str, Any] = {}
    for one in series:
        crc = one.crc
        days: dict[str, list[Any]] = {}
        for day, rows in one.by_day():
            offsets = tuple(((one.at_us[rows] % US_PER_DAY) // _US_PER_SECOND).tolist())
            days[day] = [grids.setdefault(offsets, len(grids)), base64.b64encode(crc[rows].tobytes()).decode()]
        told[one.name] = {"sha256": one.sha256, "rows": len(crc), "days": days}
    return {"series": told, "grids": [list(grid) for grid in grids]}


def differences(then: Mapping[str, Any], now: Sequence[Series]) -> list[RowChange]:
    """Return the rows that differ from what `written_down` returned, by series and time."""
    changes: list[RowChange] = []
    by_name = {one.name: one for one in now}
    for name in sorted({*then["series"], *by_name}):
        told = then["series"].get(name, {"sha256": None, "days": {}})
        series = by_name.get(name) or Series.of(name, np.empty(0, np.int64))
        if told["sha256"] != series.sha256 and not (told["sha256"] is None and not len(series.at_us)):
            changes += _changes(told["days"], then["grids"], series)
    return changes


def _changes(then: Mapping[str, Any], grids: Sequence[Sequence[int]], now: Series) -> Iterator[RowChange]:
    crc, rows_now = now.crc, dict(now.by_day())
    for day in sorted({*then, *rows_now}):
        grid, encoded = then.get(day, (None, ""))
        rows = rows_now.get(day, slice(0, 0))
        midnight = int(np.datetime64(day, "D").astype(np.int64)) * US_PER_DAY
        at_then = [] if grid is None else [midnight + second * _US_PER_SECOND for second in grids[grid]]
        crc_then = np.frombuffer(base64.b64decode(encoded), dtype="<u4").tolist()
        # Seconds are enough to tell rows apart and to name them.
        at_now = (now.at_us[rows] // _US_PER_SECOND * _US_PER_SECOND).tolist()
        gone = Counter(zip(at_then, crc_then, strict=True))
        fresh: dict[int, int] = {}
        for position, key in enumerate(zip(at_now, crc[rows].tolist(), strict=True), start=rows.start):
            if gone[key] > 0:
                gone[key] -= 1
            else:
                fresh[key[0]] = position
        left = {at_us for (at_us, _), count in gone.items() if count > 0}
        for at_us in sorted(left | fresh.keys()):
            what = ADDED if at_us not in left else CHANGED if at_us in fresh else MISSING
            yield RowChange(what, now.name, at_us, fresh.get(at_us))
