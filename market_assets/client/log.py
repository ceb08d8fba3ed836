"""The log of versions as the client sees it: of each row one version, and from when on it may be used.

Belongs here: which version of a row a vintage takes, and when that version was there. Does not belong here: joining it
to entities, rescaling, SQL.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from market_assets.calendars import from_us, to_us, venue_calendar
from market_assets.crypto_join import CORRELATION_SESSIONS
from market_assets.maths.arrays import days, floats, instants_us
from market_assets.store.tables import CRYPTO_CORRELATIONS, ML_FEATURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from market_assets.client.request import Request
    from market_assets.maths.arrays import BoolArray, DayArray, FloatArray, IntArray
    from market_assets.store import Snapshot
    from market_assets.store.tables import VersionedTable
    from market_assets.universe import Ticker

BACKFILL = "backfill"
#: what is read of a feature row besides its values, whatever it is for
_ALWAYS = ("origin", "basis")
#: how far in front of the first entity rows are looked for at first; the whole log before it is read only if need be
_BACK = timedelta(days=7)
_SESSIONS_BACK = timedelta(days=21)


class Bounds(NamedTuple):
    """The first and the last instant at which something is looked up, microseconds UTC."""

    first_us: int
    last_us: int

    @classmethod
    def of(cls, at_us: IntArray) -> Bounds:
        """Return the bounds of all of `at_us`."""
        return cls(int(at_us.min()), int(at_us.max())) if len(at_us) else cls(0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class RowLog:
    """One version of each feature row, ascending by observation time. Instants are microseconds, UTC."""

    observed_us: IntArray
    #: from when on the version counts as known
    available_us: IntArray
    #: when it was really stored
    known_from_us: IntArray
    names: tuple[str, ...]
    #: one row per name, contiguous, and one more column than there are feature rows: the last is NaN, for "no row"
    matrix: FloatArray
    #: further columns of the rows, by name
    extra: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        """Return the number of feature rows."""
        return len(self.observed_us)

    def after(self, earlier: RowLog) -> RowLog:
        """Return the log with the rows of `earlier` in front."""
        return RowLog(
            np.concatenate((earlier.observed_us, self.observed_us)),
            np.concatenate((earlier.available_us, self.available_us)),
            np.concatenate((earlier.known_from_us, self.known_from_us)),
            self.names,
            np.concatenate((earlier.matrix[:, :-1], self.matrix), axis=1),
            {name: np.concatenate((earlier.extra[name], column)) for name, column in self.extra.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class CorrelationLog:
    """One version of the correlation of one crypto reference with one ticker, by session, ascending."""

    session: DayArray
    #: close of the session plus feed lag: the time that the value is of
    observed_us: IntArray
    available_us: IntArray
    known_from_us: IntArray
    #: one more than there are sessions: the last is NaN, for "none"
    value: FloatArray

    def after(self, earlier: CorrelationLog) -> CorrelationLog:
        """Return the log with the sessions of `earlier` in front."""
        parts = {one.name: (getattr(earlier, one.name), getattr(self, one.name)) for one in fields(self)}
        parts["value"] = (earlier.value[:-1], self.value)
        return CorrelationLog(*(np.concatenate(part) for part in parts.values()))


def read_rows(
    snapshot: Snapshot,
    request: Request,
    names: Sequence[str],
    *,
    start: datetime | None,
    end: datetime | None,
    extra: Sequence[str] = (),
) -> RowLog:
    """Return the rows observed in [start, end) in the request's vintage, with the columns `names` and `extra`."""
    further = tuple(dict.fromkeys((*_ALWAYS, *extra)))
    frame, kept = _of_vintage(snapshot, ML_FEATURES, request, start=start, end=end, columns=(*names, *further))
    observed, known = (instants_us(frame[name])[kept] for name in ("observed_at", "known_from"))
    matrix = np.full((len(names), len(observed) + 1), np.nan)
    for row, name in enumerate(names):
        matrix[row, :-1] = floats(frame[name])[kept]
    columns = {name: _plain(frame[name])[kept] for name in further}
    backfilled = np.asarray(columns["origin"] == BACKFILL, dtype=np.bool_)
    available = _available(request, observed, known, backfilled)
    return RowLog(observed, available, known, tuple(names), matrix, columns)


def read_rows_before(
    snapshot: Snapshot, request: Request, names: Sequence[str], bounds: Bounds, *, extra: Sequence[str] = ()
) -> RowLog:
    """Return the rows that an as-of join at instants within `bounds` can need, and maybe earlier ones."""
    start = _from_us(bounds.first_us) - _BACK
    log = read_rows(snapshot, request, names, start=start, end=_from_us(bounds.last_us + 1), extra=extra)
    if _answers(log, bounds.first_us):
        return log
    earlier = read_rows(snapshot, request, names, start=None, end=start, extra=extra)
    return log.after(earlier) if len(earlier) else log


def read_correlations(
    snapshot: Snapshot,
    request: Request,
    tickers: Sequence[Ticker],
    bounds: Bounds,
    *,
    crypto: str,
    backfilled_to_us: int,
) -> dict[str, CorrelationLog]:
    """Return by ticker what an as-of join at instants within `bounds` can need of one crypto reference.

    `backfilled_to_us`: sessions that closed up to this instant count as backfilled; see the function of that name.
    """
    start = (_from_us(bounds.first_us) - _SESSIONS_BACK).date()
    # A session's label is its venue's date: at most a day ahead of UTC's.
    end = (_from_us(bounds.last_us) + timedelta(days=2)).date()

    wanted = {"ticker": [ticker.name for ticker in tickers], "sessions": [CORRELATION_SESSIONS]}

    def read(first: date | None, last: date) -> dict[str, CorrelationLog]:
        window = {"start": first, "end": last, "series": [crypto], "keys": wanted}
        frame, kept = _of_vintage(snapshot, CRYPTO_CORRELATIONS, request, columns=["correlation"], **window)
        frame = frame[kept]
        return {
            ticker.name: _correlation_log(frame[frame["ticker"] == ticker.name], ticker, request, backfilled_to_us)
            for ticker in tickers
        }

    logs = read(start, end)
    if all(_answers(log, bounds.first_us) for log in logs.values()):
        return logs
    earlier = read(None, start)
    return {name: log.after(earlier[name]) for name, log in logs.items()}


def backfilled_to_us(snapshot: Snapshot) -> int:
    """Return the time of the last backfilled feature row of the whole log, microseconds UTC; long ago if none is.

    Correlations do not store their origin: they are as old as the feature rows of their time.
    """
    last = snapshot.last_time_begun_as(ML_FEATURES, "origin", BACKFILL)
    return int(np.iinfo(np.int64).min) if last is None else to_us(last)


def _correlation_log(own: pd.DataFrame, ticker: Ticker, request: Request, backfilled_to: int) -> CorrelationLog:
    calendar = venue_calendar(ticker.venue)
    table = calendar.sessions(calendar.first_day, calendar.last_day)
    session = days(own["session"])
    closes = table.close_us[np.minimum(np.searchsorted(table.label, session), len(table.label) - 1)]
    observed = closes + ticker.feed_lag // timedelta(microseconds=1)
    known = instants_us(own["known_from"])
    available = _available(request, observed, known, observed <= backfilled_to)
    return CorrelationLog(session, observed, available, known, np.append(floats(own["correlation"]), np.nan))


def _of_vintage(
    snapshot: Snapshot,
    table: VersionedTable,
    request: Request,
    **window: Any,  # noqa: ANN401 - as Snapshot.read takes them
) -> tuple[pd.DataFrame, BoolArray]:
    """Return versions sorted by key, and which of them the vintage takes: one per key."""
    if request.vintage == "revised":
        frame = snapshot.read(table, **window)
        return frame, np.ones(len(frame), dtype=np.bool_)
    frame = snapshot.versions(table, **window)
    # Versions of one key stand together, the first one stored in front.
    first = np.zeros(len(frame), dtype=np.bool_)
    first[:1] = True
    for name in table.key_names:
        values = _plain(frame[name])
        first[1:] |= np.asarray(values[1:] != values[:-1], dtype=np.bool_)
    return frame, first


def _available(request: Request, observed: IntArray, known: IntArray, backfilled: BoolArray) -> IntArray:
    """Return when each version counts as known.

    A version that was served: when it was stored. One that no tick wrote in its time, and every one of the revised
    vintage: when a tick would have written it.
    """
    on_time = observed + request.delay_us
    if request.vintage == "revised":
        return on_time
    # A server's clock may be behind: nothing is known before its own time.
    return np.where(backfilled, on_time, np.maximum(known, observed))


def _answers(log: RowLog | CorrelationLog, at_us: int) -> bool:
    """Whether something in the log was known at an instant: later entities then need nothing from before it."""
    return bool((log.available_us <= at_us).any())


def _plain(column: pd.Series) -> NDArray[Any]:
    """Return instants as microseconds, everything else as it is."""
    return instants_us(column) if column.dtype.kind == "M" else column.to_numpy()


def _from_us(instant: int) -> datetime:
    """Return an instant that a database can compare with, however far away the entity is."""
    earliest, latest = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
    microsecond = timedelta(microseconds=1)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    low, high = (earliest - epoch) // microsecond, (latest - epoch) // microsecond
    return from_us(min(max(instant, low), high))
