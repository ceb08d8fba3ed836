"""A year of feature rows in a SQLite file, and the same rows as ready-made frames.

Belongs here: the log that `benchmarks/training_set.py` reads. Does not belong here: measuring.

The rows are computed by the collector's own functions from made-up bars of every ticker, so that values, gaps and texts
are of the size that they have in a real log. All but the last days are backfilled; these are written tick by tick. Some
rows of every tenth day are revised afterwards, which fills the history table.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets.calendars import observation_grid, to_us, venue_calendar
from market_assets.clock import ManualClock
from market_assets.columns import CORRELATION_COLUMNS, feature_columns
from market_assets.correlations import session_correlations
from market_assets.crypto_join import CORRELATION_SESSIONS
from market_assets.features import compute_feature_rows
from market_assets.maths.arrays import days, utc_index
from market_assets.store import Replacement, Store
from market_assets.store.tables import CRYPTO_CORRELATIONS, ML_FEATURES
from market_assets.universe import UNIVERSE
from market_assets_tests.market_frames import log, walk

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets import FeatureStore
    from market_assets.metrics import TickerLog

START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
LIVE_FROM = datetime(2025, 12, 29, tzinfo=UTC)
INTERVAL = timedelta(minutes=30)
#: from an observation time to the moment at which its row is stored
TICK = timedelta(seconds=75)
_ONE_DAY = timedelta(days=1)


def make_log(path: Path) -> None:
    """Write the year."""
    clock = ManualClock(LIVE_FROM + timedelta(minutes=10))
    store = Store.connect(f"sqlite:///{path}", clock=clock)
    store.migrate()
    logs = _logs()
    rows = compute_feature_rows(logs, observation_grid(to_us(START), to_us(END), 30)).to_frame()
    rows = rows.assign(origin="backfill", read_as_of=LIVE_FROM)
    made_up = rows["observed_at"] < LIVE_FROM
    _write(store, rows[made_up], START.date(), LIVE_FROM.date() - _ONE_DAY, clock.now())
    _write_correlations(store, logs, clock.now())
    live = rows[~made_up].assign(origin="live")
    for observed_at in live["observed_at"]:
        clock.set(observed_at.to_pydatetime() + TICK)
        today = live[(live["observed_at"] >= observed_at.floor("D")) & (live["observed_at"] <= observed_at)]
        _write(store, today, observed_at.date(), observed_at.date(), clock.now())
    clock.set(END + _ONE_DAY)
    for number in range(0, (LIVE_FROM - START).days, 10):
        day = START + number * _ONE_DAY
        revised = rows[(rows["observed_at"] >= day) & (rows["observed_at"] < day + _ONE_DAY)].copy()
        revised.loc[revised.index[::3], "ml_qqq_price"] *= 1.01
        _write(store, revised, day.date(), day.date(), clock.now())
    store.close()


def ready_rows(client: FeatureStore) -> pd.DataFrame:
    """Return what was served, for `merge_asof`: `timestamp`, from when on each row was known, and the features."""
    served = client.history(vintage="served", basis="at_T")
    on_time = served["observed_at"] + pd.Timedelta(minutes=1) + client.tick_latency
    known = served["known_from"].where(served["origin"] != "backfill", on_time)
    return pd.DataFrame({"timestamp": known, **{name: served[name] for name in feature_columns()}})


def ready_correlations(path: Path, client: FeatureStore) -> pd.DataFrame:
    """Return correlations as a frame for `merge_asof` by symbol: `timestamp`, `symbol` and one column of each."""
    store = Store.connect(f"sqlite:///{path}")
    stored = store.read(CRYPTO_CORRELATIONS)
    store.close()
    stored = stored[stored["sessions"] == CORRELATION_SESSIONS]
    wide = stored.pivot_table(index=["session", "crypto"], columns="ticker", values="correlation", dropna=False)
    wide = wide.reset_index()
    table = venue_calendar("XNYS").sessions(START.date(), END.date())
    closes = table.close_us[np.searchsorted(table.label, days(wide["session"]))]
    known = utc_index(closes) + pd.Timedelta(minutes=1) + client.tick_latency
    columns = {name: wide[ticker] for name, ticker in CORRELATION_COLUMNS.items()}
    return pd.DataFrame({"timestamp": known, "symbol": wide["crypto"].astype("str"), **columns})


def _logs() -> dict[str, TickerLog]:
    """Return bars of every ticker: days and hours from half a year before, quarters of an hour in the last month."""
    before, end = "2024-06-01", END.date().isoformat()
    return {
        ticker.name: log(
            ticker.name,
            walk(ticker.name, "1d", before, end, scale=0.01),
            walk(ticker.name, "1h", before, end),
            walk(ticker.name, "15m", "2025-12-01", end),
        )
        for ticker in UNIVERSE
    }


def _write(store: Store, rows: pd.DataFrame, first: date, last: date, at: datetime) -> None:
    scopes = [ML_FEATURES.scope("", first + number * _ONE_DAY) for number in range((last - first).days + 1)]
    store.replace([Replacement(ML_FEATURES, rows)], scopes=scopes, fetched_at=at)


def _write_correlations(store: Store, logs: dict[str, TickerLog], at: datetime) -> None:
    first, last = START.date(), LIVE_FROM.date() - _ONE_DAY
    tickers = {ticker.name: logs[ticker.name] for ticker in UNIVERSE.features}
    frames = [
        session_correlations(logs[crypto.name], tickers, start=first, end=last, now_us=to_us(at))
        for crypto in UNIVERSE.crypto
    ]
    scopes = [
        CRYPTO_CORRELATIONS.scope(crypto.name, first + number * _ONE_DAY)
        for crypto in UNIVERSE.crypto
        for number in range((last - first).days + 1)
    ]
    frame = pd.concat(frames, ignore_index=True)
    store.replace([Replacement(CRYPTO_CORRELATIONS, frame)], scopes=scopes, fetched_at=at)
