"""What was asked of the client: everything that, beside the log and the entities, decides a data set.

Belongs here: the request, and its form in a frame's `attrs` and in a receipt. Does not belong here: answering it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import pandas as pd

from market_assets.clock import ensure_utc
from market_assets.errors import FeatureRequestError, NaiveTimestampError

if TYPE_CHECKING:
    from collections.abc import Mapping

Dataset = Literal["training_set", "history"]
#: `served`: the first version of each row, from the moment it was there; `revised`: the newest version known
Vintage = Literal["served", "revised"]
#: `as_of`: prices on the splits in force at the data set's as_of; `at_T`: as each row was served
Basis = Literal["as_of", "at_T"]

#: from the end of the settle minutes until a tick has written its row: stated for rows that no tick wrote in time
TICK_LATENCY = timedelta(minutes=1)

#: key of `DataFrame.attrs` under which the whole request stands; the most asked for parts stand beside it by name
ATTRS_KEY = "market_assets"
_SHOWN = ("dataset", "vintage", "basis", "as_of")
_SECONDS = ("settle", "tick_latency", "max_age")
_INSTANTS = ("as_of", "start", "end")


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Times are aware and in UTC."""

    dataset: Dataset
    features: tuple[str, ...]
    vintage: Vintage
    basis: Basis
    #: minutes between two observation times: the collector's setting when the data set was made
    interval_minutes: int
    #: a row that was backfilled, and every row of the revised vintage, counts as known this long after its time
    settle: timedelta
    tick_latency: timedelta
    #: watermark of the snapshot that answered; None before it is answered
    as_of: datetime | None = None
    #: window of observation times of a history, half-open; None is open
    start: datetime | None = None
    end: datetime | None = None
    #: an older feature row counts as none
    max_age: timedelta | None = None
    #: whether the age of each value stands beside it
    ages: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no data set, no vintage and no basis."""
        for name, value, allowed in (
            ("dataset", self.dataset, get_args(Dataset)),
            ("vintage", self.vintage, get_args(Vintage)),
            ("basis", self.basis, get_args(Basis)),
        ):
            if value not in allowed:
                raise FeatureRequestError(f"{name}={value!r}: must be one of {', '.join(map(repr, allowed))}")
        for name in _SECONDS:
            _require_duration(name, getattr(self, name))

    @property
    def delay_us(self) -> int:
        """Settle minutes and tick latency, microseconds."""
        return (self.settle + self.tick_latency) // timedelta(microseconds=1)

    def answered(self, watermark: datetime) -> Request:
        """Return the request with the watermark that it was answered at: asked again, it gives the same rows."""
        return replace(self, as_of=watermark)

    def to_json(self) -> dict[str, Any]:
        """Return the request as plain values."""
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        values["features"] = list(self.features)
        for name in _SECONDS:
            part = values.pop(name)
            values[f"{name}_seconds"] = None if part is None else part.total_seconds()
        for name in _INSTANTS:
            values[name] = None if values[name] is None else values[name].isoformat()
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the request that `to_json` wrote."""
        parts = dict(values)
        parts["features"] = tuple(parts["features"])
        for name in _SECONDS:
            seconds = parts.pop(f"{name}_seconds")
            parts[name] = None if seconds is None else timedelta(seconds=seconds)
        for name in _INSTANTS:
            parts[name] = None if parts[name] is None else datetime.fromisoformat(parts[name])
        return cls(**parts)

    def attrs(self) -> dict[str, Any]:
        """Return what a frame carries in its `attrs`; plain values, so that they survive Parquet."""
        values = self.to_json()
        return {name: values[name] for name in _SHOWN} | {ATTRS_KEY: values}


def _require_duration(name: str, value: object) -> None:
    if value is not None and not isinstance(value, timedelta):
        raise TypeError(f"{name}={value!r} is no timedelta; pass e.g. timedelta(minutes=5)")
    if value is not None and value < timedelta(0):
        # A negative delay would give an entity what nobody knew yet.
        raise FeatureRequestError(f"{name}={value}: must not be negative")


def as_instant(value: datetime | date | str | None, name: str) -> datetime | None:
    """Return an instant in UTC; a day means 00:00 UTC of it, text is ISO 8601. Naive instants are refused."""
    if value is None:
        return None
    if isinstance(value, pd.Timestamp):
        value = value.floor("us").to_pydatetime()  # datetime has no nanoseconds, and says so with a warning
    if isinstance(value, datetime):
        try:
            return ensure_utc(value, name)
        except OverflowError:
            raise FeatureRequestError(f"{name}={value}: lies outside of the years 1 to 9999 in UTC") from None
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return _parsed(value, name)


def _parsed(value: object, name: str) -> datetime:
    if not isinstance(value, str):
        kind = type(value).__name__
        raise TypeError(
            f"{name}={value!r} is of type {kind}; pass an aware datetime, a date, or text such as 2026-01-31"
        )
    try:
        if len(value) == len("2026-01-31"):
            day = date.fromisoformat(value)
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
        instant = datetime.fromisoformat(value)
    except ValueError:
        raise FeatureRequestError(f"{name}={value!r}: is no time; write e.g. 2026-01-31 or 2026-01-31T14:30Z") from None
    if instant.tzinfo is None:
        raise NaiveTimestampError(f"{name}={value!r} has no time zone; write e.g. {value}Z for UTC")
    return instant.astimezone(UTC)
