"""The package's own route over the same CSV files: its bar frames and what it computes from them.

Belongs here: turning the reference's data into the frames that the package reads. Does not belong here: assertions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets.calendars import venue_calendar
from market_assets.metrics import TickerLog
from market_assets.universe import UNIVERSE
from market_assets_tests.independent import reference
from market_assets_tests.market_frames import action_frame, bar_frame

if TYPE_CHECKING:
    from pathlib import Path

LENGTHS = {"15m": pd.Timedelta("15min"), "1h": pd.Timedelta("1h")}


def us_of(instants: pd.DatetimeIndex) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.asarray(instants.as_unit("us").asi8, dtype=np.int64)


def daily_bars(ticker: str, closes: pd.Series, *, basis: pd.Series | None = None) -> pd.DataFrame:
    """Return 1d bars over the sessions (FX: London days) that the series is labelled with."""
    closes = closes.dropna()
    calendar = venue_calendar(UNIVERSE[ticker].venue)
    days = reference.days_of(closes)
    if UNIVERSE[ticker].is_fx:
        start = us_of(days.tz_localize(reference.LONDON))
        end = us_of((days + pd.Timedelta("1D")).tz_localize(reference.LONDON))
        keep = np.ones(len(closes), dtype=np.bool_)
    else:
        table = calendar.sessions(days[0].date(), days[-1].date())
        keep = np.isin(days.to_numpy().astype("datetime64[D]"), table.label)
        rows = np.searchsorted(table.label, days[keep].to_numpy().astype("datetime64[D]"))
        start, end = table.open_us[rows], table.close_us[rows]
    bars = bar_frame(ticker, "1d", start, end, closes[keep])
    if basis is not None:
        bars["basis"] = basis.reindex(days[keep]).to_numpy()
    return bars


def intraday_bars(ticker: str, interval: str, bars: pd.DataFrame) -> pd.DataFrame:
    """Return intraday bars from a frame by start; bars that reach beyond the session's close end there."""
    starts = us_of(reference.days_of(bars))
    ends = us_of(reference.days_of(bars) + LENGTHS[interval])
    calendar = venue_calendar(UNIVERSE[ticker].venue)
    table = calendar.sessions_between_us(int(starts[0]), int(ends[-1]))
    row = np.searchsorted(table.close_us, starts, side="right")
    ends = np.minimum(ends, table.close_us[np.minimum(row, len(table.close_us) - 1)])
    return bar_frame(ticker, interval, starts, ends, bars["close"])


def etf_log(shared: Path, ticker: str, *intraday: pd.DataFrame) -> TickerLog:
    """Return an ETF's daily bars as the source serves them today, its dividends, and USO's split."""
    closes = reference.etf_closes(shared)[ticker].dropna()
    paid = reference.dividends(shared)[ticker]
    paid = paid[paid > 0.0]
    actions = [("dividend", f"{day:%Y-%m-%d}", float(value)) for day, value in zip(paid.index, paid, strict=True)]
    basis = None
    if ticker == "USO":
        actions.append(("split", str(reference.USO_EX_DATE.date()), reference.USO_RATIO))
        basis = pd.Series(np.where(closes.index < reference.USO_EX_DATE, reference.USO_RATIO, 1.0), index=closes.index)
    bars = pd.concat([daily_bars(ticker, closes, basis=basis), *intraday], ignore_index=True)
    return TickerLog(UNIVERSE[ticker], bars, action_frame(ticker, actions))


def plain_log(ticker: str, *bars: pd.DataFrame) -> TickerLog:
    return TickerLog(UNIVERSE[ticker], pd.concat(bars, ignore_index=True), action_frame(ticker))
