"""One hash per column, over canonical bytes: the same values hash alike whatever file or library they came through.

Belongs here: kinds of columns, their canonical bytes, and bringing a column that was read from a file back to its kind.
Does not belong here: what is compared with what.

Canonical bytes, value after value: float64 its 8 bytes, little-endian, every NaN as 0x7ff8000000000000; int64, booleans
as int64; timestamps as int64 microseconds since the epoch, UTC, a missing one as the smallest int64; text as the length
of its UTF-8 bytes in 4 bytes, then the bytes; a missing text is an empty one, because CSV knows no difference.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from market_assets.errors import NaiveTimestampError, ReceiptError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from market_assets.maths.arrays import BoolArray, IntArray

_NO_INSTANT = np.iinfo(np.int64).min
_CHUNK = 100_000
_CANONICAL_NAN = np.array([np.nan]).view(np.int64)[0] & 0x7FFFFFFFFFFFFFFF


class Kind(StrEnum):
    """What a column holds."""

    FLOAT = "float64"
    INTEGER = "int64"
    BOOLEAN = "bool"
    TIMESTAMP = "timestamp"
    TEXT = "text"


def kind_of(column: pd.Series) -> Kind:
    """Return the kind of a column; raise ReceiptError for one that has none, such as lists."""
    dtype = column.dtype
    if dtype.kind == "M":
        return Kind.TIMESTAMP
    if dtype.kind == "b":
        return Kind.BOOLEAN
    if dtype.kind in "iu" and not column.isna().any():
        return Kind.INTEGER
    if dtype.kind in "iuf":
        return Kind.FLOAT
    values = column.dropna()
    if all(isinstance(value, datetime) for value in values) and len(values):
        return Kind.TIMESTAMP
    if all(isinstance(value, str | date) for value in values):
        return Kind.TEXT
    odd = next(value for value in values if not isinstance(value, str | date))
    raise ReceiptError(
        f"column {column.name!r} holds {type(odd).__name__}, which no receipt can vouch for; make it numbers, text or "
        "timezone-aware times, or leave it out"
    )


def column_hash(column: pd.Series, kind: Kind) -> str:
    """Return the SHA-256 of a column's canonical bytes, in hexadecimal."""
    digest = hashlib.sha256(f"{kind}\n{len(column)}\n".encode())
    if kind is Kind.TEXT:
        codes, texts = pd.factorize(column.astype(object), use_na_sentinel=True)
        encoded = [_sized(str(text)) for text in texts] + [_sized("")]  # -1, missing, is the last
        for start in range(0, len(codes), _CHUNK):
            digest.update(b"".join([encoded[code] for code in codes[start : start + _CHUNK].tolist()]))
    else:
        digest.update(np.ascontiguousarray(bits_of(column, kind), dtype="<i8").data)
    return digest.hexdigest()


def bits_of(column: pd.Series, kind: Kind) -> IntArray:
    """Return a column that is no text as int64, one per value: equal exactly where the canonical bytes are."""
    if kind is Kind.FLOAT:
        return float_bits(column.to_numpy(dtype=np.float64, na_value=np.nan))
    if kind is Kind.TIMESTAMP:
        return _instants(column)
    return column.to_numpy(dtype=np.int64)


def differing(one: pd.Series, two: pd.Series, kind: Kind) -> BoolArray:
    """Return where two columns of one kind and length differ, bit by bit."""
    if kind is Kind.TEXT:
        texts = [column.astype(object).where(column.notna(), "").to_numpy() for column in (one, two)]
        return np.asarray(texts[0] != texts[1], dtype=np.bool_)
    return np.asarray(bits_of(one, kind) != bits_of(two, kind), dtype=np.bool_)


def float_bits(values: NDArray[np.float64]) -> IntArray:
    """Return the bits of float64 values as int64, with one representation of NaN."""
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    nans = np.isnan(values)
    return np.where(nans, _CANONICAL_NAN, bits) if nans.any() else bits


def restored(values: pd.Series, kind: Kind) -> pd.Series:
    """Return a column as it came from a CSV or JSON file as a column of its kind."""
    if kind is Kind.TIMESTAMP and values.dtype.kind != "M":
        return pd.to_datetime(values.where(values.astype(object) != "", None), utc=True, format="ISO8601")
    if kind is Kind.FLOAT and values.dtype.kind == "O":
        numbers = [np.nan if value is None or value == "" else float(value) for value in values.tolist()]
        return pd.Series(numbers, index=values.index, dtype=np.float64)
    if kind in {Kind.INTEGER, Kind.BOOLEAN} and values.dtype.kind == "O":
        truth: dict[Any, int] = {"True": 1, "False": 0}
        return values.map(lambda value: truth.get(value, value)).astype(np.int64)
    return values


def _instants(column: pd.Series) -> IntArray:
    if column.dtype.kind == "O":
        column = pd.to_datetime(column, utc=True)
    zone = getattr(column.dtype, "tz", None) or getattr(getattr(column.dtype, "pyarrow_dtype", None), "tz", None)
    if zone is None:
        raise NaiveTimestampError(
            f"column {column.name!r} has dtype {column.dtype}, without a time zone; make it timezone-aware"
        )
    utc = column.astype(pd.DatetimeTZDtype("us", "UTC")).dt.tz_localize(None)
    return np.where(column.isna().to_numpy(), _NO_INSTANT, utc.to_numpy().view(np.int64))


def _sized(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(4, "little") + encoded
