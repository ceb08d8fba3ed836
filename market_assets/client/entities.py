"""The frame of entities that a training set is made for.

Belongs here: what the client demands of it. Does not belong here: joining anything to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets.crypto_join import reference_of
from market_assets.errors import FeatureRequestError, NaiveTimestampError

if TYPE_CHECKING:
    from collections.abc import Collection

    from market_assets.maths.arrays import IntArray
    from market_assets.universe import Universe

TIMESTAMP = "timestamp"
SYMBOL = "symbol"

_FURTHEST_US = int(np.iinfo(np.int64).max)
_REMEDY = 'pass timezone-aware times, e.g. entities["timestamp"].dt.tz_localize("UTC") if they are in UTC'


@dataclass(frozen=True, slots=True, eq=False)
class Entities:
    """The entities and their times, microseconds UTC, in their order."""

    frame: pd.DataFrame
    at_us: IntArray

    @classmethod
    def of(cls, frame: pd.DataFrame, added: Collection[str] = ()) -> Entities:
        """Check a caller's frame, which is to get the columns `added`; see `entity_times` for what is refused."""
        entities = cls(frame, entity_times(frame))
        _refuse_collisions(frame, added)
        return entities

    def references(self, universe: Universe) -> dict[str, IntArray]:
        """Return the positions of the entities of each crypto reference; other symbols have no correlations."""
        if SYMBOL not in self.frame.columns:
            raise FeatureRequestError("entities has no column 'symbol'; correlations are those of the row's symbol")
        codes, symbols = pd.factorize(self.frame[SYMBOL])
        meant = [reference_of(str(symbol), universe) for symbol in symbols] + [None]  # -1, missing, is the last
        found = sorted({reference for reference in meant if reference is not None})
        number = np.array([-1 if reference is None else found.index(reference) for reference in meant], dtype=np.int8)
        of_entity = number[codes]
        return {reference: np.flatnonzero(of_entity == position) for position, reference in enumerate(found)}


def entity_times(entities: pd.DataFrame) -> IntArray:
    """Return the entities' times, microseconds UTC, in their order.

    Raises:
        NaiveTimestampError: a time has no time zone.
        FeatureRequestError: there is no column `timestamp`, or it holds something else than times, or a missing one.
    """
    if not isinstance(entities, pd.DataFrame):
        raise TypeError(f"entities is a {type(entities).__name__}; pass a DataFrame with columns timestamp and symbol")
    if TIMESTAMP not in entities.columns:
        raise FeatureRequestError(
            f"entities has no column 'timestamp' (it has {', '.join(map(str, entities.columns))}); rename the column "
            "of times, or reset_index() if they are the index"
        )
    column = entities[TIMESTAMP]
    if entities.columns.nlevels > 1:
        raise FeatureRequestError("entities has columns of several levels; flatten their names")
    if column.dtype.kind == "O":
        column = _from_objects(column)
    if column.dtype.kind != "M":
        raise FeatureRequestError(f"entities.timestamp has dtype {column.dtype}; {_REMEDY}")
    # A DatetimeTZDtype knows its zone, and so does an Arrow timestamp.
    arrow = getattr(column.dtype, "pyarrow_dtype", None)
    zone = arrow.tz if arrow is not None else getattr(column.dtype, "tz", None)
    if zone is None:
        raise NaiveTimestampError(f"entities.timestamp has dtype {column.dtype}, without a time zone; {_REMEDY}")
    missing = int(column.isna().sum())
    if missing:
        raise FeatureRequestError(f"entities.timestamp is missing in {missing} rows; drop them or fill in their times")
    utc = column.astype(pd.DatetimeTZDtype("ns" if arrow is not None else column.dt.unit, "UTC"))
    units: IntArray = utc.dt.tz_localize(None).to_numpy().view(np.int64)
    if utc.dt.unit == "us":
        return units
    if utc.dt.unit == "ns":
        # Rounding down: a row may be known a nanosecond before an entity, never after it.
        return units // 1_000
    per_unit = {"s": 1_000_000, "ms": 1_000}[utc.dt.unit]
    # Seconds reach further than microseconds do: what lies beyond is after, or before, everything all the same.
    furthest = _FURTHEST_US // per_unit
    return np.clip(units, -furthest, furthest) * per_unit


def _refuse_collisions(entities: pd.DataFrame, added: Collection[str]) -> None:
    """Raise FeatureRequestError if a column of the entities has the name of a column that the client adds."""
    names = list(entities.columns)
    if len(set(names)) != len(names):
        raise FeatureRequestError("entities has two columns of one name; rename one")
    common = [name for name in names if name in added]
    if common:
        raise FeatureRequestError(
            f"entities has the column {common[0]!r} and so will the training set; rename it, or leave the feature out"
        )


def _from_objects(column: pd.Series) -> pd.Series:
    """Return a column of datetime objects as UTC; pandas would take naive ones for UTC without a word."""
    for value in column:
        if pd.isna(value):
            continue
        if not isinstance(value, datetime):
            raise FeatureRequestError(f"entities.timestamp holds {value!r} ({type(value).__name__}); {_REMEDY}")
        if value.tzinfo is None:
            raise NaiveTimestampError(f"entities.timestamp={value} has no time zone; {_REMEDY}")
    return pd.to_datetime(column, utc=True)
