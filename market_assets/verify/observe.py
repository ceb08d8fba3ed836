"""Everything that can be read at T, computed from a log, and the comparison of two such observations bit by bit.

Belongs here: calling the pure functions of a collection the way a collection does, and telling bits apart. Does not
belong here: where the log comes from, and what a difference means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from market_assets.calendars import US_PER_DAY, US_PER_MINUTE, from_us
from market_assets.columns import CORRELATION_COLUMNS
from market_assets.correlations import session_correlations
from market_assets.crypto_join import (
    CORRELATION_JOIN_DAYS,
    CORRELATION_SESSIONS,
    crypto_rows_from_bars,
    join_crypto_rows,
)
from market_assets.features import compute_feature_rows
from market_assets.maths.arrays import utc_index

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from market_assets.indicators import Indicator
    from market_assets.maths.arrays import BoolArray, IntArray
    from market_assets.metrics import TickerLog
    from market_assets.universe import Universe

#: how far around T crypto rows are joined
_CRYPTO_REACH_US = 120 * US_PER_MINUTE


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that two observations disagree on; `row` names the observation time or the crypto row."""

    row: str
    column: str
    one: object
    other: object

    def __str__(self) -> str:
        """Return e.g. `2026-01-02T15:00 ml_qqq_price: 612.5 against 613.0`."""
        return f"{self.row} {self.column}: {self.one!r} against {self.other!r}"


@dataclass(frozen=True, slots=True)
class Observer:
    """Computes what can be read at T; neither the rest of the computed window nor later rows may matter to it."""

    universe: Universe
    indicators: Sequence[Indicator]
    interval_minutes: int = 30

    def features(self, logs: Mapping[str, TickerLog], at_us: IntArray) -> pd.DataFrame:
        """Return the feature rows at each T, as `ml_features` has them."""
        own = {ticker.name: logs[ticker.name] for ticker in self.universe.features if ticker.name in logs}
        # Nonsense overflows; what comes of it is caught and named by the formulas.
        with np.errstate(all="ignore"):
            return compute_feature_rows(
                own,
                at_us,
                interval_minutes=self.interval_minutes,
                universe=self.universe,
                indicators=self.indicators,
            ).to_frame()

    def row(self, logs: Mapping[str, TickerLog], at_us: int) -> pd.DataFrame:
        """Return the feature row at T as a frame of one row, computed beside rows of later times."""
        step = self.interval_minutes * US_PER_MINUTE
        times = np.array([at_us, at_us + step, at_us + US_PER_DAY], dtype=np.int64)
        return self.features(logs, times).iloc[:1]

    def everything(self, logs: Mapping[str, TickerLog], at_us: int) -> dict[str, pd.DataFrame]:
        """Return the feature row at T, the one that is joined at T, and each crypto reference's rows shortly before T.

        By `features`, `joined` and the reference's name; the last of its rows is one of a user's own, stamped with T.
        """
        step = self.interval_minutes * US_PER_MINUTE
        last = at_us // step * step
        times = np.unique(np.array([at_us, last - step, last, last + step, last + US_PER_DAY], dtype=np.int64))
        frame = self.features(logs, times)
        observed = {
            name: frame.loc[times == at].reset_index(drop=True) for name, at in (("features", at_us), ("joined", last))
        }
        on_grid = frame.loc[times % step == 0]
        for crypto in self.universe.crypto:
            if crypto.name in logs:
                observed[crypto.name] = self._crypto_rows(logs, crypto.name, on_grid, at_us)
        return observed

    def _crypto_rows(
        self, logs: Mapping[str, TickerLog], name: str, features: pd.DataFrame, at_us: int
    ) -> pd.DataFrame:
        tickers = [one for one in CORRELATION_COLUMNS.values() if one in self.universe and one in logs]
        with np.errstate(all="ignore"):
            correlations = session_correlations(
                logs[name],
                {one: logs[one] for one in tickers},
                start=from_us(at_us - CORRELATION_JOIN_DAYS * US_PER_DAY).date(),
                end=from_us(at_us + 3 * US_PER_DAY).date(),
                now_us=at_us + 4 * US_PER_DAY,
                sessions=(CORRELATION_SESSIONS,),
            )
        rows = crypto_rows_from_bars(logs[name].bars.assign(ticker=name))
        near = (rows["timestamp"] > utc_index(np.array([at_us - _CRYPTO_REACH_US]))[0]) & (
            rows["timestamp"] <= utc_index(np.array([at_us + _CRYPTO_REACH_US]))[0]
        )
        # A row of the user's own table may stand anywhere.
        own = pd.DataFrame({"symbol": f"{name}-USD", "timestamp": utc_index(np.array([at_us]))}).assign(
            price=0.0, volume=0.0, market_cap=0.0
        )
        left = pd.concat([rows.loc[near].assign(market_cap=0.0), own], ignore_index=True)
        joined = join_crypto_rows(left, features, correlations, universe=self.universe, indicators=self.indicators)
        visible = joined["timestamp"] <= utc_index(np.array([at_us]))[0]
        # The user's own row stays the last one: the sort is stable.
        return joined.loc[visible].sort_values("timestamp", kind="stable").reset_index(drop=True)


def differences(
    one: pd.DataFrame, other: pd.DataFrame, key: str, columns: Sequence[str] | None = None
) -> list[Difference]:
    """Return where two frames with the same rows differ in a bit, row by row; the column `key` names the rows."""
    if len(one) != len(other) or not (one[key].to_numpy() == other[key].to_numpy()).all():
        return [Difference("all", "rows", one[key].tolist(), other[key].tolist())]
    found: list[tuple[int, int, Difference]] = []
    for position, column in enumerate(columns or one.columns):
        left, right = one[column].to_numpy(), other[column].to_numpy()
        for row in np.flatnonzero(~same_bits(left, right)).tolist():
            label = one[key].iloc[row]
            name = label.isoformat() if isinstance(label, pd.Timestamp) else str(label)
            found.append((row, position, Difference(name, column, plain(left[row]), plain(right[row]))))
    return [difference for _, _, difference in sorted(found, key=lambda item: item[:2])]


def same_bits(left: NDArray[Any], right: NDArray[Any]) -> BoolArray:
    """Return where two columns are equal: float64 to the last bit (any NaN is NULL), everything else by value."""
    if left.dtype == np.float64 and right.dtype == np.float64:
        same = (left.view(np.int64) == right.view(np.int64)) | (np.isnan(left) & np.isnan(right))
        return np.asarray(same, dtype=np.bool_)
    one, two = left.astype(object), right.astype(object)
    return np.array([a == b or (a is None and b is None) for a, b in zip(one, two, strict=True)], dtype=np.bool_)


def plain(value: object) -> object:
    """Return a value of a column as a plain Python value, NULL as None."""
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
