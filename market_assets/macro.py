"""Feature rows in the shape of the old system's `macro_indicators`: one value a line, one line a session.

Belongs here: which rows of the feature table become such lines, and when. Does not belong here: reading, writing.

A line is of a session's close: the first observation time at which the closes of all inputs were known. Before it there
is none, so that nobody who joins by date sees a close that is still to come.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets.calendars import LAST_DAY, venue_calendar
from market_assets.columns import ticker_columns
from market_assets.maths.arrays import instants_us

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from market_assets.collection.days import DayRange
    from market_assets.indicators import Indicator
    from market_assets.maths.arrays import DayArray, IntArray
    from market_assets.universe import Ticker, Universe

MACRO_COLUMNS = ("indicator_name", "timestamp", "session", "value")


def macro_rows(
    features: pd.DataFrame,
    days: DayRange,
    interval: timedelta,
    *,
    universe: Universe,
    indicators: Sequence[Indicator],
) -> pd.DataFrame:
    """Return the lines whose timestamp lies in `days`.

    Args:
        features: stored feature rows of `days`: observed_at (timezone-aware) and the feature columns. A line stands on
            the row at its timestamp, and there is none where that row or the value is missing.
        days: UTC days.
        interval: step of the observation grid.
        universe: names the tickers, and their venues.
        indicators: name the other columns.

    Returns:
        MACRO_COLUMNS, sorted by name and timestamp: indicator_name is the column in capitals (ML_QQQ_PRICE), timestamp
        (datetime64[us, UTC]) the observation time, session (datetime.date) the session that had closed, value (float64)
        in the feature's own unit.
    """
    observed = pd.DatetimeIndex(features["observed_at"])
    observed_us = instants_us(features["observed_at"])
    frames = []
    for columns, tickers in _groups(universe, indicators):
        sessions, known_us = _closes(tickers, days)
        step_us = interval // timedelta(microseconds=1)
        at_us = -(-known_us // step_us) * step_us
        place = np.searchsorted(observed_us, at_us)
        there = place < len(observed_us)
        there[there] = observed_us[place[there]] == at_us[there]
        for column in columns:
            values = features[column].to_numpy(dtype=np.float64)[place[there]]
            frames.append(
                pd.DataFrame(
                    {
                        "indicator_name": column.upper(),
                        "timestamp": observed[place[there]],
                        "session": [label.item() for label in sessions[there]],
                        "value": values,
                    }
                )[np.isfinite(values)]
            )
    rows = pd.concat(frames, ignore_index=True)
    lines: pd.DataFrame = rows.sort_values(["indicator_name", "timestamp"], ignore_index=True)[list(MACRO_COLUMNS)]
    return lines


def _groups(universe: Universe, indicators: Sequence[Indicator]) -> Iterator[tuple[tuple[str, ...], list[Ticker]]]:
    """Yield the columns that are known at the same closes, with the tickers whose closes these are."""
    for ticker in universe.features:
        yield ticker_columns(ticker), [ticker]
    for indicator in indicators:
        yield (indicator.column,), [universe[name] for name in indicator.inputs]


def _closes(tickers: Sequence[Ticker], days: DayRange) -> tuple[DayArray, IntArray]:
    """Return the sessions that all venues have, and when the last of their closes was known, microseconds UTC.

    Sessions around `days`: a close may become known on the UTC day after its label.
    """
    window = days.widened(2)
    last = min(window.last + timedelta(days=2), LAST_DAY)
    known: dict[np.datetime64, int] = {}
    counted: dict[np.datetime64, int] = {}
    for ticker in tickers:
        table = venue_calendar(ticker.venue).sessions(window.first, last)
        lag_us = ticker.feed_lag // timedelta(microseconds=1)
        for label, close_us in zip(table.label, table.close_us.tolist(), strict=True):
            known[label] = max(known.get(label, 0), close_us + lag_us)
            counted[label] = counted.get(label, 0) + 1
    shared = sorted(label for label, count in counted.items() if count == len(tickers))
    return np.array(shared, dtype="datetime64[D]"), np.array([known[label] for label in shared], dtype=np.int64)
