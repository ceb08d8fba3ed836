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
from market_assets.errors import ReceiptError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from market_assets.maths.arrays import IntArray

_US_PER_SECOND = 1_000_000

#: what happened to a row since the receipt was written
CHANGED, MISSING, ADDED = "changed", "missing", "added"
#: a series has changed in such a way that every CRC-32 in it is the same; `at_us` is then its first row's time
UNNAMED = "unnamed"


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that is not what the receipt says."""

    #: CHANGED, MISSING (the receipt has it), ADDED (the receipt does not), or UNNAMED for the series as a whole
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
            found = list(_changes(told["days"], then["grids"], series))
            first = int(series.at_us[0]) if len(series.at_us) else 0
            changes += found or [RowChange(UNNAMED, name, first, None)]
    return changes


def _changes(then: Mapping[str, Any], grids: Sequence[Sequence[int]], now: Series) -> Iterator[RowChange]:
    crc, rows_now = now.crc, dict(now.by_day())
    for day in sorted({*then, *rows_now}):
        rows = rows_now.get(day, slice(0, 0))
        # Seconds are enough to tell rows apart and to name them.
        at_now = (now.at_us[rows] // _US_PER_SECOND * _US_PER_SECOND).tolist()
        gone = Counter(_told(day, then[day], grids) if day in then else [])
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


def _told(day: str, then: Sequence[Any], grids: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Return (time, CRC-32) of each row of a day as it was written down."""
    try:
        grid, encoded = then
        midnight = int(np.datetime64(day, "D").astype(np.int64)) * US_PER_DAY
        crc = np.frombuffer(base64.b64decode(encoded, validate=True), dtype="<u4").tolist()
        return [(midnight + second * _US_PER_SECOND, one) for second, one in zip(grids[grid], crc, strict=True)]
    except (ValueError, IndexError) as error:
        raise ReceiptError(
            f"the receipt is damaged (fingerprints of {day}: {error}); take it from a copy, or export again"
        ) from None
