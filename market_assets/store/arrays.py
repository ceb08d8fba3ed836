"""Columns of the plain tables as arrays, from Python values and back.

Belongs here: what the bookkeeping modules share. Does not belong here: frames of versioned rows (frames.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from market_assets.store.frames import NO_INSTANT
from market_assets.store.types import from_micros, to_micros

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime


def texts(values: Sequence[str | None]) -> np.ndarray[Any, np.dtype[np.object_]]:
    """Return texts; None is NULL."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def days(values: Sequence[date]) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    """Return dates."""
    return np.array(values, dtype="datetime64[D]")


def instants(values: Sequence[datetime | None]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return aware instants in microseconds since 1970; None is NULL."""
    return np.array([NO_INSTANT if value is None else to_micros(value) for value in values], dtype=np.int64)


def instant_or_none(value: int) -> datetime | None:
    """Return the instant of a cell, None for NULL."""
    return None if value == NO_INSTANT else from_micros(value)
