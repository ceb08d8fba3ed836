"""Statistics of one window, from exactly that window's values.

Belongs here: reductions of a window. Does not belong here: which values make up a window.

Bits: pandas' rolling sums carry rounding over from wherever the frame began, and numpy's reductions depend on memory
layout and CPU. `math.fsum` is correctly rounded, so each result depends on the window's values alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from market_assets.maths.arrays import FloatArray, IntArray

#: part of a window's values that must be valid, in percent: 18 of 20, 81 of 90
_MIN_VALID_PERCENT = 90


def required_pairs(sessions: int) -> int:
    """Return how many values of a window of `sessions` must be valid: 90 %, rounded up (18 of 20, 81 of 90)."""
    return -(-sessions * _MIN_VALID_PERCENT // 100)


def sample_stdev(values: FloatArray) -> float:
    """Return the standard deviation with ddof 1 of at least two values."""
    first = values[0]
    if bool((values == first).all()):
        return 0.0  # the mean of equal values may differ from them by a rounding
    mean = math.fsum(values.tolist()) / len(values)
    deviation = values - mean
    return math.sqrt(math.fsum((deviation * deviation).tolist()) / (len(values) - 1))


def pearson(x: FloatArray, y: FloatArray) -> float:
    """Return Pearson's correlation of two equally long samples; NaN if either has no variance."""
    if bool((x == x[0]).all()) or bool((y == y[0]).all()):
        return math.nan
    dx = x - math.fsum(x.tolist()) / len(x)
    dy = y - math.fsum(y.tolist()) / len(y)
    # Two roots, not the root of a product: the product of two tiny sums of squares would underflow.
    scale = math.sqrt(math.fsum((dx * dx).tolist())) * math.sqrt(math.fsum((dy * dy).tolist()))
    if scale == 0.0:
        return math.nan
    return min(1.0, max(-1.0, math.fsum((dx * dy).tolist()) / scale))


def stretches(events_us: IntArray, at_us: IntArray) -> tuple[list[int], IntArray]:
    """Group instants between which a function that changes only at `events_us` (ascending) stays the same.

    Returns the event that began each distinct stretch (the smallest int64 in front of the first event), and for each of
    `at_us` the position of its stretch: evaluate once per stretch, then take by position.
    """
    events = np.concatenate(([np.iinfo(np.int64).min], events_us))
    distinct, position = np.unique(np.searchsorted(events, at_us, side="right") - 1, return_inverse=True)
    return events[distinct].tolist(), position
