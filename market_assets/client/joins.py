"""The as-of join: for each entity the row that was known at its time, with numpy alone.

Belongs here: positions and values. Does not belong here: pandas, what the columns mean.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from market_assets.maths.arrays import FloatArray, IntArray

#: numpy searches and gathers without holding the interpreter's lock; more threads than this wait for memory
_THREADS = 4
#: instants that are searched for at once, and below which a second thread is not worth starting
_SLICE = 131_072
#: numpy sorts keys of this width in linear time
_KEY_BITS = 16


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

    def gather(source: int, target: FloatArray) -> None:
        # Any mode but "raise" writes into `out` without a copy of it in between.
        np.take(values[source], rows, out=target, mode="clip")

    if len(rows) <= _SLICE:
        for source, target in zip(sources, out, strict=True):
            gather(source, target)
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(gather, sources, out))


def _searched(ascending: IntArray, at_us: IntArray) -> IntArray:
    """Return for each instant how many of `ascending` are at or before it."""
    if len(at_us) <= _SLICE:
        return np.searchsorted(ascending, at_us, side="right")
    parts = [at_us[start : start + _SLICE] for start in range(0, len(at_us), _SLICE)]
    with ThreadPoolExecutor(_THREADS) as pool:
        return np.concatenate(list(pool.map(lambda part: _in_order(ascending, part), parts)))


def _in_order(ascending: IntArray, at_us: IntArray) -> IntArray:
    """Search for instants that stand in any order in roughly ascending order.

    Each search then begins where the one before ended, which takes half the time. The order is a hint: how exact it is
    decides nothing about the result.
    """
    if (at_us[1:] >= at_us[:-1]).all():
        return np.searchsorted(ascending, at_us, side="right")
    first, last = int(at_us.min()), int(at_us.max())
    key = (at_us - first) >> max((last - first).bit_length() - _KEY_BITS, 0)
    order = np.argsort(key.astype(np.uint16), kind="stable")
    found = np.empty(len(at_us), dtype=np.int64)
    found[order] = np.searchsorted(ascending, at_us[order], side="right")
    return found
