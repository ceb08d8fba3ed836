"""Array types, and the conversion of frame columns to them.

Belongs here: conversions. Does not belong here: anything that knows what a column means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from market_assets.errors import NaiveTimestampError

if TYPE_CHECKING:
    from collections.abc import Callable

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
DayArray: TypeAlias = NDArray[np.datetime64]
#: str where something is missing or noteworthy, None elsewhere
TextArray: TypeAlias = NDArray[np.object_]

#: the missing text, as an operand that keeps arrays of texts arrays of objects
NO_TEXT: TextArray = np.array(None, dtype=object)
#: an instant that never comes
NEVER_US = int(np.iinfo(np.int64).max)


def instants_us(column: pd.Series) -> IntArray:
    """Return a timezone-aware datetime column as microseconds since the epoch, UTC.

    Raises:
        NaiveTimestampError: the column has no time zone.
    """
    if column.empty:
        return np.empty(0, dtype=np.int64)
    if not isinstance(column.dtype, pd.DatetimeTZDtype):
        raise NaiveTimestampError(
            f"column {column.name!r} has dtype {column.dtype}; pass timezone-aware datetimes, e.g. datetime64[us, UTC]"
        )
    return np.asarray(column.dt.as_unit("us").to_numpy(dtype="datetime64[us]").astype(np.int64), dtype=np.int64)


def days(column: pd.Series) -> DayArray:
    """Return a column of datetime.date as datetime64[D]."""
    return np.array(column.tolist(), dtype="datetime64[D]")


def floats(column: pd.Series) -> FloatArray:
    """Return a numeric column as float64, NULL as NaN."""
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def utc_index(instants: IntArray) -> pd.DatetimeIndex:
    """Return microseconds since the epoch as a DatetimeIndex of dtype datetime64[us, UTC]."""
    return pd.DatetimeIndex(instants.astype("datetime64[us]")).tz_localize("UTC")


@overload
def take(values: FloatArray, rows: IntArray, missing: float) -> FloatArray: ...
@overload
def take(values: IntArray, rows: IntArray, missing: int) -> IntArray: ...
@overload
def take(values: TextArray, rows: IntArray, missing: None) -> TextArray: ...
def take(values: NDArray[Any], rows: IntArray, missing: float | None) -> NDArray[Any]:
    """Return `values` at `rows`, and `missing` where a row is negative; `values` may be empty."""
    result = np.full(len(rows), missing, dtype=values.dtype)
    has = rows >= 0
    result[has] = values[rows[has]]
    return result


def says_nothing(texts: TextArray) -> BoolArray:
    """Return where there is no text."""
    return np.asarray(np.equal(texts, NO_TEXT), dtype=np.bool_)


def map_floats(function: Callable[[float], float], values: FloatArray) -> FloatArray:
    """Apply a scalar function to each value that is not NaN.

    For `math.log` above all: numpy's own logarithm takes different code paths on different CPUs, and its last bit with
    them.
    """
    result = np.full(values.shape, np.nan)
    valid = np.flatnonzero(~np.isnan(values))
    result[valid] = [function(value) for value in values[valid].tolist()]
    return result
