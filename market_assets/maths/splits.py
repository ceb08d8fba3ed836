"""Splits as products of ratios: the one place that turns a basis into another.

Belongs here: the arithmetic of bases. Does not belong here: finding out which basis a source used (`basis.py`).

A stored value times its basis is the native value, as it traded. A value "on basis f" is the native value divided by f.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from market_assets.maths.arrays import days, floats

if TYPE_CHECKING:
    import pandas as pd

    from market_assets.calendars import VenueCalendar
    from market_assets.maths.arrays import DayArray, FloatArray, IntArray


def rescale(values: FloatArray, basis: FloatArray, target: FloatArray) -> FloatArray:
    """Return stored `values` of `basis` on the basis `target`; to the bit unchanged where the two are equal."""
    return np.where(basis == target, values, values * (basis / target))


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """The splits of one ticker, by ex-date."""

    ex_day: DayArray
    #: 00:00 venue time of the ex-date
    known_us: IntArray
    #: new shares per old share
    ratio: FloatArray
    #: product[i, j] = ratios of the splits i..j-1 multiplied in order
    product: FloatArray

    @classmethod
    def from_actions(cls, actions: pd.DataFrame, calendar: VenueCalendar) -> Splits:
        """Take the rows of kind `split` of an action frame; they may stand in any order.

        A ratio that is not a positive number makes every product that needs it NaN.
        """
        rows = np.flatnonzero(actions["kind"].to_numpy(dtype=object) == "split")
        ex_day, ratio = days(actions["ex_date"])[rows], floats(actions["value"])[rows]
        ratio = np.where(np.isfinite(ratio) & (ratio > 0.0), ratio, np.nan)
        order = np.argsort(ex_day, kind="stable")
        ex_day, ratio = ex_day[order], ratio[order]
        known = np.array([calendar.day_start_us(day) for day in ex_day.tolist()], dtype=np.int64)
        count = len(ratio)
        product = np.ones((count + 1, count + 1))
        for first in range(count):
            for last in range(first + 1, count + 1):
                product[first, last] = math.prod(ratio[first:last].tolist())
        return cls(ex_day, known, ratio, product)

    def between(self, after: DayArray, until: DayArray) -> FloatArray:
        """Return the product of the ratios with after < ex-date <= until, per element."""
        first = np.searchsorted(self.ex_day, after, side="right")
        last = np.searchsorted(self.ex_day, until, side="right")
        return self.product[first, np.maximum(first, last)]

    def in_force(self, after: DayArray, at_us: IntArray) -> FloatArray:
        """Return the product of the ratios of the splits after the session `after` that are in force at `at_us`."""
        first = np.searchsorted(self.ex_day, after, side="right")
        return self.product[first, np.maximum(first, self.count_in_force(at_us))]

    def count_in_force(self, at_us: IntArray) -> IntArray:
        """Return how many splits are in force at each instant."""
        return np.asarray(np.searchsorted(self.known_us, at_us, side="right"), dtype=np.int64)
