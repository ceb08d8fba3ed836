"""The gate through a database: what is stored later must not change what is read `as_of` before.

Belongs here: the gate on made-up markets in a store. Does not belong here: assertions, the gate in memory (`gates.py`).
"""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from market_assets.calendars import US_PER_DAY, from_us
from market_assets.clock import ManualClock
from market_assets.collection.build import build_features
from market_assets.collection.days import DayRange
from market_assets.columns import feature_columns
from market_assets.store import Replacement, Scope, Store
from market_assets.store.tables import CORPORATE_ACTIONS, MARKET_BARS
from market_assets.verify.observe import differences
from market_assets.verify.scramble import Scrambler
from market_assets_tests.verify.markets import Case, make_case

if TYPE_CHECKING:
    from collections.abc import Mapping

    from market_assets.metrics import TickerLog
    from market_assets.store import Snapshot

#: how many days of bars in front of T are written to a database
_REACH = timedelta(days=50)


def violations(seed: int, category: str) -> list[str]:
    """Return what a row computed `as_of` sees of what a database learnt later, through the database's own reads."""
    case = make_case(seed, category)
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as directory:
        clock = ManualClock(from_us(case.as_of_us))
        columns = feature_columns(case.universe, case.indicators)
        store = Store.connect(f"sqlite:///{Path(directory) / 'market.db'}", clock=clock, feature_columns=columns)
        try:
            store.migrate()
            # Before: other values, rows too many and too few. Then what is to be known, and two states of nonsense.
            _write(store, clock, case, _nonsense(case, rng))
            _write(store, clock, case, case.history.as_of(case.as_of_us))
            with store.snapshot() as snapshot:
                as_of, served = snapshot.watermark, _rows(snapshot, case)
            for _ in range(2):
                _write(store, clock, case, _nonsense(case, rng))
                with store.snapshot(as_of) as snapshot:
                    again = _rows(snapshot, case)
                found = differences(served, again, "observed_at")
                if found:
                    return [f"{case}: {one}" for one in found]
        finally:
            store.close()
    return []


def _rows(snapshot: Snapshot, case: Case) -> pd.DataFrame:
    now = from_us(case.at_us)
    write = build_features(
        snapshot,
        DayRange.of(now),
        now,
        interval_minutes=30,
        universe=case.universe,
        indicators=case.indicators,
        began=None,
    )
    return write.replacements[0].frame.tail(6).reset_index(drop=True)


def _nonsense(case: Case, rng: np.random.Generator) -> dict[str, TickerLog]:
    """Return logs in which nothing is as it was known: to a row long before all data, every version is poison."""
    scrambler = Scrambler(case.at_us - 2 * _REACH.days * US_PER_DAY, case.as_of_us, rng)
    return scrambler.history(case.history).as_of(case.as_of_us)


def _write(store: Store, clock: ManualClock, case: Case, logs: Mapping[str, TickerLog]) -> None:
    """Make `logs` what the database holds of the weeks around T, a minute after the last write."""
    clock.advance(timedelta(minutes=1))
    days = DayRange(from_us(case.at_us).date() - _REACH, from_us(case.at_us).date() + timedelta(days=10))
    bars, actions = [], []
    for name, log in logs.items():
        inside = (log.bars["bar_start"] >= days.start) & (log.bars["bar_start"] < days.end)
        bars.append(log.bars.loc[inside].assign(ticker=name))
        actions.append(log.actions.loc[log.actions["ex_date"].isin(set(days))].assign(ticker=name))
    frame = pd.concat(bars, ignore_index=True).assign(source="test")
    for column in ("open", "high", "low"):
        frame[column] = frame["close"]
    report = store.replace(
        [
            Replacement(MARKET_BARS, frame),
            Replacement(CORPORATE_ACTIONS, pd.concat(actions, ignore_index=True).assign(source="test")),
        ],
        scopes=[Scope(name, interval, day) for name in logs for interval in ("15m", "1h", "1d") for day in days],
        fetched_at=clock.now(),
        accept_deletions=True,
    )
    assert not report.skipped
    assert not report.refused
