"""Feature rows and correlations computed again from the stored bars, as these were known when each was computed.

Belongs here: doing that for many rows at once. Does not belong here: comparing the result with anything.

Each row has its own `read_as_of`. Reading the log once per row would take an hour for a year, but nearly always the
bars that a later row saw are those of the row before and newer ones, which do not matter to it. Rows are therefore
computed together, from the log as the last of them saw it, as long as no bar that was available to any of them came,
changed or went in between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from market_assets.calendars import US_PER_DAY, from_us
from market_assets.collection.build import read_ticker_logs
from market_assets.correlations import session_correlations
from market_assets.crypto_join import CORRELATION_SESSIONS
from market_assets.features import compute_feature_rows
from market_assets.maths.arrays import days, floats, instants_us
from market_assets.receipts.grounds import correlation_window, feature_window
from market_assets.receipts.hashes import float_bits
from market_assets.store.tables import KNOWN_FROM, KNOWN_TO
from market_assets.universe import Universe

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import pandas as pd

    from market_assets.client.datasets import Material
    from market_assets.maths.arrays import BoolArray, IntArray
    from market_assets.receipts.bars import LogVersions
    from market_assets.receipts.grounds import Grounds
    from market_assets.store import Store

_NEVER = np.iinfo(np.int64).min
#: no more observation times than these are computed from one reading of the log
_LONGEST_SPAN_US = 400 * US_PER_DAY


@dataclass(frozen=True, slots=True, eq=False)
class _Events:
    """When the log changed, ascending, and from which observation time on each change can matter."""

    known_us: IntArray
    available_us: IntArray

    @classmethod
    def of(cls, versions: LogVersions, tickers: Collection[str], universe: Universe) -> _Events:
        parts = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        bars = versions.bars
        if len(bars):
            bars = bars[bars["ticker"].isin(list(tickers))]
        if len(bars):
            lags = {ticker.name: ticker.feed_lag // timedelta(microseconds=1) for ticker in universe}
            available = instants_us(bars["bar_end"]) + bars["ticker"].map(lags).to_numpy(dtype=np.int64)
            values = [instants_us(bars["bar_end"]), *(float_bits(floats(bars[name])) for name in ("close", "basis"))]
            parts.append(_changes(bars, ("ticker", "interval", "bar_start"), values, available))
        actions = versions.actions[versions.actions["ticker"].isin(list(tickers))]
        if len(actions):
            # An ex-date begins at midnight of its venue: never before the UTC day in front of it.
            available = (days(actions["ex_date"]).astype(np.int64) - 1) * US_PER_DAY
            values = [float_bits(floats(actions[name])) for name in ("value", "basis")]
            parts.append(_changes(actions, ("ticker", "kind", "ex_date"), values, available))
        known, available = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(known, kind="stable")
        return cls(known[order], available[order])

    def first_available(self, after_us: int, until_us: int) -> int:
        """Return the earliest observation time that a change within (after, until] can matter to."""
        start, stop = np.searchsorted(self.known_us, (after_us, until_us), side="right").tolist()
        return int(self.available_us[start:stop].min(initial=np.iinfo(np.int64).max))


def recomputed(store: Store, grounds: Grounds, versions: LogVersions) -> Material:
    """Return the material of the grounds with every value that the data set shows computed again from bars.

    Rows that do not say what they were computed from stay as they are stored.
    """
    material = _with_rows(store, grounds, versions)
    correlations = {crypto: dict(logs) for crypto, logs in material.correlations.items()}
    for crypto, ticker in grounds.sessions:
        log = correlations[crypto][ticker]
        values = log.value.copy()
        for batch, found in _correlations(store, grounds, versions, (crypto, ticker)):
            values[batch] = [found.get(session, np.nan) for session in log.session[batch].tolist()]
        correlations[crypto][ticker] = replace(log, value=values)
    return replace(material, correlations=correlations)


def _with_rows(store: Store, grounds: Grounds, versions: LogVersions) -> Material:
    log, catalogue = grounds.material.rows, grounds.catalogue
    tickers = [catalogue.universe[name] for name in grounds.row_tickers]
    part = Universe(tuple(tickers))
    indicators = [indicator for indicator in catalogue.indicators if indicator.column in log.names]
    events = _Events.of(versions, grounds.row_tickers, catalogue.universe)
    matrix = log.matrix.copy()
    extra = {name: values.copy() for name, values in log.extra.items()}
    stamped = grounds.read_as_of_us > _NEVER
    rows, read_as_of = grounds.rows[stamped], grounds.read_as_of_us[stamped]
    for batch in _batches(log.observed_us[rows], read_as_of, events):
        chosen = rows[batch]
        at_us = log.observed_us[chosen]
        with store.snapshot(from_us(int(read_as_of[batch].max()))) as snapshot:
            logs = read_ticker_logs(snapshot, tickers, *feature_window(at_us, catalogue))
        computed = compute_feature_rows(
            logs, at_us, interval_minutes=grounds.request.interval_minutes, universe=part, indicators=indicators
        )
        for position, name in enumerate(log.names):
            matrix[position, chosen] = computed.quantities[name].value
        texts = computed.to_frame()
        for name in {"ages", "basis"} & extra.keys():
            extra[name][chosen] = texts[name].to_numpy(dtype=object)
    return replace(grounds.material, rows=replace(log, matrix=matrix, extra=extra))


def _correlations(
    store: Store, grounds: Grounds, versions: LogVersions, pair: tuple[str, str]
) -> Iterator[tuple[IntArray, dict[Any, float]]]:
    """Return positions in the pair's correlation log, and by session the values that they have."""
    universe, positions = grounds.catalogue.universe, grounds.sessions[pair]
    crypto, ticker = (universe[name] for name in pair)
    log = grounds.material.correlations[pair[0]][pair[1]]
    # The snapshot that it was computed from is not stored; bars are written before, under the collection's lock.
    read_as_of = log.known_from_us[positions] - 1
    for batch in _batches(log.observed_us[positions], read_as_of, _Events.of(versions, pair, universe)):
        chosen = positions[batch]
        sessions, complete = log.session[chosen], log.observed_us[chosen]
        with store.snapshot(from_us(int(read_as_of[batch].max()))) as snapshot:
            logs = read_ticker_logs(snapshot, (crypto, ticker), *correlation_window(sessions, complete))
        frame = session_correlations(
            logs[crypto.name],
            {ticker.name: logs[ticker.name]},
            start=sessions.min().item(),
            end=sessions.max().item(),
            now_us=int(complete.max()),
        )
        frame = frame[frame["sessions"] == CORRELATION_SESSIONS]
        yield chosen, dict(zip(frame["session"], frame["correlation"], strict=True))


def _batches(at_us: IntArray, read_as_of_us: IntArray, events: _Events) -> Iterator[IntArray]:
    """Return groups of positions that can be computed from the log as the last of each group saw it."""
    order = np.lexsort((at_us, read_as_of_us))
    group: list[int] = []
    newest, oldest = _NEVER, np.iinfo(np.int64).max
    for position in order.tolist():
        if group:
            first = events.first_available(int(read_as_of_us[group[-1]]), int(read_as_of_us[position]))
            span = max(newest, int(at_us[position])) - min(oldest, int(at_us[position]))
            if first <= newest or span > _LONGEST_SPAN_US:
                yield np.array(group)
                group, newest, oldest = [], _NEVER, np.iinfo(np.int64).max
        group.append(position)
        newest, oldest = max(newest, int(at_us[position])), min(oldest, int(at_us[position]))
    if group:
        yield np.array(group)


def _changes(
    frame: pd.DataFrame, key: Sequence[str], values: Sequence[IntArray], available: IntArray
) -> tuple[IntArray, IntArray]:
    """Return (when, from which observation time on) for each version that began or ended; rows stand by key, in order.

    A version that only repeats the values of the one before, such as a revised volume, is no change.
    """
    known_from, known_to = (instants_us(frame[name]) for name in (KNOWN_FROM, KNOWN_TO))
    repeats: BoolArray = known_to[:-1] == known_from[1:]
    for name in key:
        column = instants_us(frame[name]) if frame[name].dtype.kind == "M" else frame[name].to_numpy()
        repeats &= np.asarray(column[1:] == column[:-1], dtype=np.bool_)
    for value in values:
        repeats &= value[1:] == value[:-1]
    begins = np.append([True], ~repeats)
    ends = np.append(~repeats, [True]) & (known_to > _NEVER)
    return np.concatenate((known_from[begins], known_to[ends])), np.concatenate((available[begins], available[ends]))
