"""Bar and action frames for the tests of the pure mathematics: made up, but on the venues' real calendars.

Belongs here: building frames. Does not belong here: assertions, real data, anything of the store.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets.calendars import to_us, venue_calendar
from market_assets.metrics import TickerLog
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

BAR_FRAME_COLUMNS = [
    "ticker", "interval", "bar_start", "bar_end", "open", "high", "low", "close", "volume", "basis", "source",
]  # fmt: skip
ACTION_FRAME_COLUMNS = ["ticker", "kind", "ex_date", "value", "basis", "source"]


def us(text: str) -> int:
    """Return an ISO instant in UTC, e.g. `2024-03-08 21:00`, as microseconds."""
    return to_us(datetime.fromisoformat(text).replace(tzinfo=UTC))


def instants(*texts: str) -> NDArray[np.int64]:
    return np.array([us(text) for text in texts], dtype=np.int64)


def bar_frame(
    ticker: str,
    interval: str,
    starts: Iterable[int],
    ends: Iterable[int],
    closes: Iterable[float],
    *,
    basis: float = 1.0,
) -> pd.DataFrame:
    """Return a bar frame with these closes; the other prices are made up around them."""
    close = np.array(list(closes), dtype=np.float64)
    frame = pd.DataFrame(
        {
            "ticker": ticker,
            "interval": interval,
            "bar_start": pd.to_datetime(np.array(list(starts), dtype=np.int64), unit="us", utc=True).as_unit("us"),
            "bar_end": pd.to_datetime(np.array(list(ends), dtype=np.int64), unit="us", utc=True).as_unit("us"),
            "open": close,
            "high": close * 1.001,
            "low": close * 0.999,
            "close": close,
            "volume": 1000.0,
            "basis": basis,
            "source": "test",
        }
    )
    return frame[BAR_FRAME_COLUMNS]


def no_bars() -> pd.DataFrame:
    return bar_frame("QQQ", "1d", [], [], [])


def action_frame(ticker: str, rows: Iterable[tuple[str, str, float]] = (), basis: float = 1.0) -> pd.DataFrame:
    """Return an action frame of (kind, ex-date, value)."""
    return pd.DataFrame(
        [(ticker, kind, date.fromisoformat(day), value, basis, "test") for kind, day, value in rows],
        columns=ACTION_FRAME_COLUMNS,
    )


def daily(ticker: str, closes: Mapping[str, float], basis: float = 1.0) -> pd.DataFrame:
    """Return 1d bars with the closes by session label (for FX: by London day)."""
    calendar = venue_calendar(UNIVERSE[ticker].venue)
    starts, ends = [], []
    for label in closes:
        day = date.fromisoformat(label)
        around = calendar.day_start_us(day)
        start, end = calendar.expected_bars("1d", around - 43_200_000_000, around + 86_400_000_000)
        own = [(int(one), int(two)) for one, two in zip(start, end, strict=True) if label_of(ticker, int(one)) == day]
        assert len(own) == 1, f"{label} is no session of {ticker}"
        starts.append(own[0][0])
        ends.append(own[0][1])
    return bar_frame(ticker, "1d", starts, ends, closes.values(), basis=basis)


def label_of(ticker: str, start_us: int) -> date:
    """Return the label of the 1d bar that starts there."""
    instant = pd.Timestamp(start_us, unit="us", tz="UTC")
    if UNIVERSE[ticker].is_fx:
        return instant.tz_convert("Europe/London").date()
    calendar = venue_calendar(UNIVERSE[ticker].venue)
    label: date = calendar.sessions_between_us(start_us, start_us + 1).label[0].item()
    return label


def at(interval: str, ticker: str, closes: Mapping[str, float], basis: float = 1.0) -> pd.DataFrame:
    """Return intraday bars by their start, an ISO instant in UTC."""
    length = timedelta(minutes=15) if interval == "15m" else timedelta(hours=1)
    starts = [us(start) for start in closes]
    return bar_frame(
        ticker,
        interval,
        starts,
        [start + length // timedelta(microseconds=1) for start in starts],
        closes.values(),
        basis=basis,
    )


def walk(
    ticker: str, interval: str, start: str, end: str, *, seed: int = 0, level: float = 100.0, scale: float = 0.002
) -> pd.DataFrame:
    """Return every bar the calendar expects with a start in [start, end), along a random walk."""
    starts, ends = venue_calendar(UNIVERSE[ticker].venue).expected_bars(interval, us(start), us(end))
    rng = np.random.default_rng([seed, *map(ord, ticker + interval)])
    closes = level * np.exp(np.cumsum(rng.normal(0.0, scale, len(starts))))
    return bar_frame(ticker, interval, starts.tolist(), ends.tolist(), closes.tolist())


def log(ticker: str, *bars: pd.DataFrame, actions: pd.DataFrame | None = None) -> TickerLog:
    frames = [frame for frame in bars if len(frame)]
    return TickerLog(
        UNIVERSE[ticker],
        pd.concat(frames, ignore_index=True) if frames else no_bars(),
        action_frame(ticker) if actions is None else actions,
    )


def full_market(start: str, intraday_from: str, end: str, seed: int = 0) -> dict[str, TickerLog]:
    """Return logs of every ticker: 1d bars from `start`, 1h and 15m bars from `intraday_from` on."""
    return {
        ticker.name: log(
            ticker.name,
            walk(ticker.name, "1d", start, end, seed=seed, scale=0.01),
            walk(ticker.name, "1h", intraday_from, end, seed=seed),
            walk(ticker.name, "15m", intraday_from, end, seed=seed),
        )
        for ticker in UNIVERSE
    }
