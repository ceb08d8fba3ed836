"""Frames to arrays and back: the store's own representation of rows.

Belongs here: validation of what callers hand in, and the dtypes of what they get. Does not belong here: SQL.

Inside the store a batch of rows is a dict of numpy arrays by column (`Arrays`): instants are int64 microseconds UTC,
dates datetime64[D], doubles float64 with NaN for NULL, text is object with None for NULL. Text leaves the store as
object columns of str and None, because pandas' own str dtype depends on the version and on what else is installed.
"""

from __future__ import annotations

from datetime import date, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from market_assets.errors import NaiveTimestampError
from market_assets.store.types import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from market_assets.store.tables import ColumnSpec, VersionedTable

Arrays = dict[str, "NDArray[Any]"]

#: a missing instant in an int64 array; the value that numpy and pandas use too
NO_INSTANT = np.iinfo(np.int64).min
US_PER_DAY = 86_400_000_000


def to_arrays(layout: VersionedTable, frame: pd.DataFrame) -> Arrays:
    """Return `frame` as arrays sorted by key.

    Raises ValueError for missing or unknown columns, wrong types, NULL where none may be and two rows with one key;
    NaiveTimestampError for instants without a time zone. NaN and infinities become NULL.
    """
    missing = [name for name in layout.column_names if name not in frame.columns]
    if missing:
        raise ValueError(f"a frame for {layout.name} lacks the columns {', '.join(missing)}")
    unknown = [str(name) for name in frame.columns if name not in layout.column_names]
    if unknown:
        raise ValueError(f"a frame for {layout.name} has columns the table does not: {', '.join(unknown)}")
    arrays = {spec.name: _to_array(layout.name, spec, frame[spec.name]) for spec in layout.columns}
    return _sorted_by_key(layout, arrays)


def to_frame(specs: Iterable[ColumnSpec], arrays: Mapping[str, NDArray[Any]]) -> pd.DataFrame:
    """Return `arrays` as a frame with one column per spec."""
    return pd.DataFrame({spec.name: _to_column(spec.kind, arrays[spec.name]) for spec in specs})


def row_count(arrays: Mapping[str, NDArray[Any]]) -> int:
    """Return the number of rows."""
    return len(next(iter(arrays.values())))


def take(arrays: Mapping[str, NDArray[Any]], rows: NDArray[Any]) -> Arrays:
    """Return the rows at the given positions, or under the given mask."""
    return {name: values[rows] for name, values in arrays.items()}


def concatenate(parts: Sequence[Arrays]) -> Arrays:
    """Return the rows of all `parts` (at least one), which have the same columns."""
    filled = [part for part in parts if row_count(part)]
    if len(filled) <= 1:
        return dict((filled or parts)[0])
    parts = filled
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def days_of(layout: VersionedTable, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.datetime64]:
    """Return the day of each row's scope: the UTC day of its time, or its date."""
    times = arrays[layout.time_column]
    if layout.time_is_date:
        return times
    return (times // US_PER_DAY).astype("datetime64[D]")


def row_keys(*columns: NDArray[Any]) -> list[tuple[Any, ...]]:
    """Return the rows of these columns as tuples to look up in a dict.

    A dict is faster than a pandas MultiIndex, and for the few rows of most writes by an order of magnitude.
    """
    plain = (one.astype(np.int64) if one.dtype.kind == "M" else one for one in columns)
    return list(zip(*(one.tolist() for one in plain), strict=True))


def keys_of(layout: VersionedTable, arrays: Mapping[str, NDArray[Any]]) -> list[tuple[Any, ...]]:
    """Return the primary keys of the rows."""
    return row_keys(*(arrays[name] for name in layout.key_names))


def look_up(wanted: Iterable[tuple[Any, ...]], positions: Mapping[tuple[Any, ...], int]) -> NDArray[np.intp]:
    """Return the position of each wanted key, -1 for those that have none."""
    return np.fromiter((positions.get(key, -1) for key in wanted), dtype=np.intp)


def from_rows(kind: Kind, values: Sequence[Any]) -> NDArray[Any]:
    """Return one column of a driver's rows as an array of `kind`."""
    if kind is Kind.DOUBLE:
        return np.array(values, dtype=np.float64)  # numpy takes None for NaN here
    if kind in {Kind.TIMESTAMP, Kind.INTEGER}:
        try:
            return np.array(values, dtype=np.int64)
        except TypeError:
            return np.array([NO_INSTANT if value is None else value for value in values], dtype=np.int64)
    if kind is Kind.DATE:
        return np.array(values, dtype="datetime64[D]")
    if kind is Kind.BOOLEAN:
        return np.array(values, dtype=np.bool_)
    return _objects(values)


def sort_codes(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers that sort like `values`: sorting objects directly would compare them one by one in Python."""
    if values.dtype != np.object_:
        return values
    return np.asarray(pd.factorize(values, sort=True)[0])


def _objects(values: Sequence[Any]) -> NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _to_column(kind: Kind, values: NDArray[Any]) -> NDArray[Any] | pd.DatetimeIndex | pd.Series:
    """Return a column of a frame. Numbers stay arrays: a Series of each takes longer than the frame itself."""
    if kind is Kind.TIMESTAMP:
        return pd.DatetimeIndex(values.view("datetime64[us]")).tz_localize("UTC")
    if kind is Kind.DATE:
        days, inverse = np.unique(values, return_inverse=True)
        return pd.Series(_objects(days.tolist())[inverse] if len(values) else values.astype(object), dtype=object)
    if kind in {Kind.TEXT, Kind.LONG_TEXT}:
        return pd.Series(values, dtype=object)
    return values


def _to_array(table: str, spec: ColumnSpec, values: pd.Series) -> NDArray[Any]:
    name = f"{table}.{spec.name}"
    if spec.kind is Kind.TIMESTAMP:
        array: NDArray[Any] = _instants(name, values)
        nulls = array == NO_INSTANT
    elif spec.kind is Kind.DATE:
        array = _dates(name, values)
        nulls = np.isnat(array)
    elif spec.kind is Kind.DOUBLE:
        array = _doubles(name, values)
        nulls = np.isnan(array)
    elif spec.kind is Kind.INTEGER:
        array = _integers(name, values)
        nulls = np.zeros(len(array), dtype=np.bool_)
    else:
        array = _texts(name, values, spec.length)
        nulls = pd.isna(array)
    if not spec.nullable and bool(nulls.any()):
        raise ValueError(f"{name} is NULL in {int(nulls.sum())} rows; it must have a value")
    return array


def _instants(name: str, values: pd.Series) -> NDArray[np.int64]:
    dtype = values.dtype
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        for value in values:
            if not pd.isna(value) and isinstance(value, datetime) and value.tzinfo is None:
                raise NaiveTimestampError(f"{name}={value} has no time zone; make the column datetime64[us, UTC]")
        values = pd.to_datetime(values, utc=True)
    elif not isinstance(dtype, pd.DatetimeTZDtype):
        if getattr(dtype, "kind", "") == "M":
            raise NaiveTimestampError(f"{name} has dtype {dtype}, without a time zone; make it datetime64[us, UTC]")
        raise ValueError(f"{name} has dtype {dtype}; make it datetime64[us, UTC]")
    naive: NDArray[Any] = values.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
    return naive.astype("datetime64[us]").view(np.int64)


def _dates(name: str, values: pd.Series) -> NDArray[np.datetime64]:
    objects = values.to_numpy(dtype=object)
    wrong = next((value for value in objects if not isinstance(value, date) or isinstance(value, datetime)), None)
    if wrong is not None:
        raise ValueError(f"{name} holds {wrong!r} ({type(wrong).__name__}); it takes datetime.date objects")
    return np.array(objects, dtype="datetime64[D]")


def _doubles(name: str, values: pd.Series) -> NDArray[np.float64]:
    try:
        array = values.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} has dtype {values.dtype} with values that are no numbers; make it float64") from error
    # Infinity has no place in SQL; adding 0.0 turns -0.0 into 0.0, which SQLite stores and would differ for ever.
    return np.where(np.isfinite(array), array, np.nan) + 0.0


def _integers(name: str, values: pd.Series) -> NDArray[np.int64]:
    if not pd.api.types.is_integer_dtype(values.dtype):
        if len(values) == 0:
            return np.empty(0, dtype=np.int64)
        raise ValueError(f"{name} has dtype {values.dtype}; make it int64")
    return values.to_numpy(dtype=np.int64)


def _texts(name: str, values: pd.Series, length: int) -> NDArray[np.object_]:
    array = values.to_numpy(dtype=object)
    nulls = pd.isna(array)
    if nulls.any():
        array = array.copy()
        array[nulls] = None
    for value in set(array[~nulls]):
        if not isinstance(value, str):
            raise ValueError(f"{name} holds {value!r} ({type(value).__name__}); it takes str")  # noqa: TRY004 - bad row
        # A limit of one database must not be a crash on another, and MariaDB ignores trailing blanks when comparing.
        if length and (len(value) > length or value != value.rstrip()):
            raise ValueError(f"{name}={value!r}: at most {length} characters and no trailing blank")
    return array


def _sorted_by_key(layout: VersionedTable, arrays: Arrays) -> Arrays:
    keys = keys_of(layout, arrays)
    order = sorted(range(len(keys)), key=keys.__getitem__)
    for before, after in pairwise(order):
        if keys[before] == keys[after]:
            row = take(arrays, np.array([before]))
            key = ", ".join(f"{name}={row[name][0]}" for name in layout.key_names)
            raise ValueError(f"two rows of the frame for {layout.name} share the key {key}")
    return take(arrays, np.array(order, dtype=np.intp))
