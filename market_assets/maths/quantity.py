"""A number per observation time that may be missing, and then says why.

Belongs here: arithmetic that never turns a missing input into a number. Does not belong here: where inputs come from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from market_assets.maths.arrays import NO_TEXT, map_floats, says_nothing

if TYPE_CHECKING:
    from collections.abc import Callable

    from market_assets.maths.arrays import BoolArray, FloatArray, TextArray

#: the result is infinite or undefined although every input is a number
NOT_FINITE = "not_finite"


@dataclass(frozen=True, slots=True, eq=False)
class Quantity:
    """Parallel arrays over observation times; `reasons` is None exactly where `value` is a number.

    Arithmetic between quantities, and with plain numbers, is missing where any operand is missing (the first missing
    operand names the reason) and fresh where every operand is fresh.
    """

    value: FloatArray
    reasons: TextArray
    #: whether the inputs are recent enough to count for a healthy row; may be True where the value is missing
    fresh: BoolArray

    @classmethod
    def missing(cls, length: int, reason: str) -> Quantity:
        """Return a quantity that is nowhere known, for the same reason."""
        return cls(np.full(length, np.nan), np.full(length, reason, dtype=object), np.zeros(length, dtype=np.bool_))

    @classmethod
    def of(cls, values: FloatArray, reasons: TextArray, fresh: BoolArray, *, otherwise: str) -> Quantity:
        """Return `values` where there is no reason against it; what is not finite all the same gets `otherwise`."""
        free = says_nothing(reasons)
        good = free & np.isfinite(values)
        return cls(np.where(good, values, np.nan), np.where(free & ~good, otherwise, reasons), fresh)

    @property
    def is_null(self) -> BoolArray:
        """Where the value is missing."""
        return np.isnan(self.value)

    @property
    def counts(self) -> BoolArray:
        """Where the value is known and fresh."""
        return ~np.isnan(self.value) & self.fresh

    def __add__(self, other: Quantity | float) -> Quantity:
        return self._combine(other, np.add)

    def __sub__(self, other: Quantity | float) -> Quantity:
        return self._combine(other, np.subtract)

    def __mul__(self, other: Quantity | float) -> Quantity:
        return self._combine(other, np.multiply)

    def __rmul__(self, other: float) -> Quantity:
        return self * other

    def __truediv__(self, other: Quantity | float) -> Quantity:
        return self._combine(other, np.divide)

    def log(self) -> Quantity:
        """Return the natural logarithm; missing where the value is not positive."""
        values = map_floats(lambda value: math.log(value) if value > 0.0 else math.nan, self.value)
        return Quantity.of(values, self.reasons, self.fresh, otherwise=NOT_FINITE)

    def null_where(self, condition: BoolArray, reason: str) -> Quantity:
        """Return the quantity without the values where `condition` holds; an older reason stays."""
        newly = condition & ~self.is_null
        return Quantity(np.where(newly, np.nan, self.value), np.where(newly, reason, self.reasons), self.fresh)

    def with_reason_prefix(self, prefix: str) -> Quantity:
        """Return the quantity with `prefix` and a blank put before each reason."""
        reasons = np.full(len(self.value), NO_TEXT)
        null = np.flatnonzero(self.is_null)
        known: dict[object, str] = {}
        reasons[null] = [known.setdefault(reason, f"{prefix} {reason}") for reason in self.reasons[null].tolist()]
        return Quantity(self.value, reasons, self.fresh)

    def _combine(self, other: Quantity | float, operation: Callable[[FloatArray, FloatArray], FloatArray]) -> Quantity:
        if not isinstance(other, Quantity):
            other = Quantity(
                np.full(len(self.value), float(other)),
                np.full(len(self.value), NO_TEXT),
                np.ones(len(self.value), np.bool_),
            )
        with np.errstate(all="ignore"):  # what is not finite is caught, and named, below
            values = operation(self.value, other.value)
        reasons = np.where(self.is_null, self.reasons, other.reasons)
        return Quantity.of(values, reasons, self.fresh & other.fresh, otherwise=NOT_FINITE)
