"""A small database of made-up rows: what the command line and the HTTP API read in their unit tests.

Belongs here: rows. Does not belong here: reading them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets.clock import ManualClock
from market_assets.columns import core_columns, feature_columns
from market_assets.store import DayState, LedgerEntry, Replacement, Store
from market_assets.store.tables import CRYPTO_CORRELATIONS, ML_FEATURES
from market_assets.universe import UNIVERSE
from market_assets_tests.store.builders import write_bars

if TYPE_CHECKING:
    from pathlib import Path

#: a Monday, ten minutes after an observation time
NOW = datetime(2026, 3, 2, 15, 10, tzinfo=UTC)
LATEST = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def feature_frame(count: int, *, until: datetime = LATEST) -> pd.DataFrame:
    """Return half-hourly rows up to `until`; the third feature from the end is NULL, QQQ's venue is closed."""
    names = feature_columns()
    frame: dict[str, object] = {
        "observed_at": pd.date_range(end=until, periods=count, freq="30min", unit="us"),
        **{name: np.full(count, 1 / 3 + number) for number, name in enumerate(names)},
        names[-3]: np.full(count, np.nan),
        "feature_count": np.full(count, len(names) - 1, dtype=np.int64),
        "core_count": np.full(count, len(core_columns()) - 1, dtype=np.int64),
        "reasons": json.dumps({"null": {names[-3]: "19_of_20_returns"}, "notes": {"SPY": "approximate"}}),
        "ages": json.dumps({one.name: [75, 0, "closed" if one.name == "QQQ" else "open"] for one in UNIVERSE.features}),
        "resolution": "{}",
        "basis": "{}",
        "feature_version": "1",
        "origin": "live",
        "read_as_of": pd.Timestamp(until).as_unit("us"),
    }
    return pd.DataFrame(frame)


def _correlations(values: dict[tuple[str, int], float]) -> pd.DataFrame:
    rows = [("BTC", ticker, sessions, NOW.date(), value, sessions) for (ticker, sessions), value in values.items()]
    return pd.DataFrame(rows, columns=["crypto", "ticker", "sessions", "session", "correlation", "pairs"])


def stock(where: Path | str) -> None:
    """Fill an empty database (a SQLite file, or one at a URL).

    With 60 feature rows up to LATEST, one ticker's bars, and the log of three collections.
    """
    url = where if isinstance(where, str) else f"sqlite:///{where}"
    store = Store.connect(url, clock=ManualClock(NOW - timedelta(minutes=8)))
    store.migrate()
    frame = feature_frame(60)
    days = sorted({at.date() for at in frame["observed_at"]})
    store.replace(
        [Replacement(ML_FEATURES, frame)], scopes=[ML_FEATURES.scope("", day) for day in days], fetched_at=NOW
    )
    write_bars(store, [1.0, 2.0], start=LATEST - timedelta(hours=1), fetched_at=NOW)
    store.replace(
        [Replacement(CRYPTO_CORRELATIONS, _correlations({("QQQ", 20): 0.71, ("GLD", 90): -0.5}))],
        scopes=[CRYPTO_CORRELATIONS.scope("BTC", NOW.date())],
        fetched_at=NOW,
    )
    store.runs.record_states(
        [
            LedgerEntry("QQQ", "15m", NOW.date(), DayState.OK),
            LedgerEntry("QQQ", "1d", NOW.date(), DayState.CLOSED),
            LedgerEntry("HYG", "15m", NOW.date(), DayState.HOLE_AT_SOURCE, "1 of 26 bars missing"),
            LedgerEntry("TLT", "15m", NOW.date(), DayState.FETCH_FAILED),
            LedgerEntry("TLT", "1d", NOW.date(), DayState.OK),
        ],
        "last",
        NOW,
    )
    failed = {"failed": {"TLT": "timeout: TLT 1d 2026-03-01T00:00:00Z..2026-03-02T00:00:00Z: no [red]answer[/]"}}
    for hours, run_id, status, more in (
        (3, "first", "ok", {"failed": {}}),
        (2, "killed", "running", {"failed": {}}),
        (1, "last", "partial", failed),
    ):
        began = NOW - timedelta(hours=hours)
        store.runs.start_collection(run_id, "tick", began, "yahoo")
        if status != "running":
            summary = {
                "first_day": "2026-03-02",
                "last_day": "2026-03-02",
                "tickers": 19,
                "complete": True,
                "stored": ["QQQ"],
                "features": {"rows": 31, "feature_count": 57},
                **more,
            }
            store.runs.finish_collection(run_id, status, began + timedelta(seconds=4), summary)
    store.close()
