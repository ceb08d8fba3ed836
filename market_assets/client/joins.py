"""The as-of join: for each entity the row that was known at its time, with numpy alone.

Belongs here: positions and values. Does not belong here: pandas, what the columns mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from market_assets.maths.arrays import FloatArray, IntArray

#: instants in no order from which on a table is worth making for them
_MANY = 10_000
#: stretches of time in that table per moment at which something becomes known
_STRETCHES = 16


def rows_known_at(
    observed_us: IntArray, available_us: IntArray, at_us: IntArray, max_age_us: int | None = None
) -> IntArray:
    """Return for each instant the row with the latest `observed_us` among those with `available_us` <= the instant.

    `observed_us` ascends. Where no row is known, or only older ones than `max_age_us`, the position is one past the
    last row.
    """
    count = len(observed_us)
    if (available_us[1:] >= available_us[:-1]).all():
        rows = _searched(available_us, at_us) - 1
        rows[rows < 0] = count  # nothing is known yet
    else:
        # Rows of an outage are written late and in one go: the latest row known is not the one that came last.
        order = np.argsort(available_us, kind="stable")
        latest = np.append(np.maximum.accumulate(order), count)
        rows = latest[_searched(available_us[order], at_us) - 1]
    if max_age_us is not None and count:
        known = rows < count
        known[known] = at_us[known] - observed_us[rows[known]] <= max_age_us
        rows[~known] = count
    return rows


def gathered(values: FloatArray, sources: Sequence[int], rows: IntArray, out: FloatArray) -> None:
    """Fill row i of `out` with `values[sources[i]]` at `rows`; each row of either is contiguous."""
    # Any mode but "raise" writes into `out` without a copy of it in between.
    if list(sources) == list(range(len(values))):
        np.take(values, rows, axis=1, out=out, mode="clip")
        return
    for target, source in enumerate(sources):
        np.take(values[source], rows, out=out[target], mode="clip")


def _searched(ascending: IntArray, at_us: IntArray) -> IntArray:
    """Return for each instant how many of `ascending` are at or before it.

    A binary search per instant is quick where each takes the way of the one before. For instants in no order a table of
    equal stretches of time comes first: within most of them nothing becomes known, and it answers for all instants
    in them. The others are searched for.
    """
    if len(at_us) < _MANY or not len(ascending) or (at_us[1:] >= at_us[:-1]).all():
        return np.searchsorted(ascending, at_us, side="right")
    first, last = int(ascending[0]), int(ascending[-1])
    count = _STRETCHES * len(ascending)
    length = (last - first) // count + 1
    edges = first + np.arange(count + 1) * length
    # How many lie before each stretch. The first one is all time before `ascending`, the last all time after.
    before = np.concatenate(([0], np.searchsorted(ascending, edges), [len(ascending)]))
    stretch = np.clip(at_us, first - 1, last + 1)
    stretch -= first
    stretch //= length
    stretch += 1
    found = before[stretch]
    unclear = np.flatnonzero((before[1:] != before[:-1])[stretch])
    found[unclear] = np.searchsorted(ascending, at_us[unclear], side="right")
    return found
