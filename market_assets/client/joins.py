"""The as-of join: for each entity the row that was known at its time, with numpy alone.

Belongs here: positions and values. Does not belong here: pandas, what the columns mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from market_assets.maths.arrays import FloatArray, IntArray


def rows_known_at(
    observed_us: IntArray, available_us: IntArray, at_us: IntArray, max_age_us: int | None = None
) -> IntArray:
    """Return for each instant the row with the latest `observed_us` among those with `available_us` <= the instant.

    `observed_us` ascends. Where no row is known, or only older ones than `max_age_us`, the position is one past the
    last row.
    """
    count = len(observed_us)
    if (available_us[1:] >= available_us[:-1]).all():
        latest, available = np.arange(count), available_us
    else:
        # Rows of an outage are written late and in one go: the latest row known is not the one that came last.
        order = np.argsort(available_us, kind="stable")
        latest, available = np.maximum.accumulate(order), available_us[order]
    latest = np.append(latest, count)  # position -1: nothing is known yet
    rows = latest[np.searchsorted(available, at_us, side="right") - 1]
    if max_age_us is not None and count:
        known = rows < count
        known[known] = at_us[known] - observed_us[rows[known]] <= max_age_us
        rows[~known] = count
    return np.asarray(rows, dtype=np.int64)


def gathered(values: FloatArray, sources: Sequence[int], rows: IntArray, out: FloatArray) -> None:
    """Fill row i of `out` with `values[sources[i]]` at `rows`; each row of either is contiguous."""
    # Any mode but "raise" writes into `out` without a copy of it in between.
    if list(sources) == list(range(len(values))):
        np.take(values, rows, axis=1, out=out, mode="clip")
        return
    for target, source in enumerate(sources):
        np.take(values[source], rows, out=out[target], mode="clip")
