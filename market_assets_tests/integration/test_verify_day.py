"""A day lived tick by tick: it comes out of the log again to the bit, and where a backfill differs, bars say why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from market_assets.calendars import to_us
from market_assets.columns import feature_columns
from market_assets.sources.simulator import Fault, FaultKind
from market_assets.store.tables import ML_FEATURES
from market_assets.universe import UNIVERSE, Universe
from market_assets.verify.evidence import explain, tickers_of
from market_assets.verify.history import LogHistory
from market_assets.verify.lookahead import verify_lookahead
from market_assets.verify.observe import same_bits
from market_assets.verify.replay import replay
from market_assets.verify.revisions import revisions
from market_assets.verify.served import row_versions
from market_assets_tests.verify.live import LiveCollector

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from market_assets.clock import ManualClock
    from market_assets.metrics import TickerLog
    from market_assets.sources.simulator import SimulatorServer

pytestmark = pytest.mark.integration

HALF_HOUR = timedelta(minutes=30)


def universe_of(*names: str) -> Universe:
    return Universe(tuple(UNIVERSE[name] for name in names))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# --- a day, live and at once ------------------------------------------------------------------------------------------

DAY, NEXT = utc("2025-11-19"), utc("2025-11-20")
OUTAGE = (utc("2025-11-19T15:31"), utc("2025-11-19T18:31"))
DAY_UNIVERSE = universe_of("QQQ", "HYG", "LQD", "TLT", "EURUSD", "VIX", "DXY", "BTC")


def live_day(collector: LiveCollector, simulator: SimulatorServer, clock: ManualClock) -> int:
    """Collect on the evening before, then tick by tick through DAY; return the number of ticks.

    QQQ's bars come 50 minutes late for an hour in the morning and one in the evening, and Yahoo states HYG's first hour
    wrong until 20:00. From 15:31 on the collector is down for three hours; then another process goes on.
    """
    clock.set(DAY - timedelta(minutes=29))
    collector.collect(kind="quickstart")
    faults: dict[str, int] = {}
    first_hour = (utc("2025-11-19T14:30"), utc("2025-11-19T15:30"))
    wrong = Fault(kind=FaultKind.REVISED_BARS, symbol="HYG", start=first_hour[0], end=first_hour[1], factor=1.002)
    late = Fault(kind=FaultKind.LATE_BARS, symbol="QQQ", interval="15m", delay=timedelta(minutes=50))
    changes: dict[str, Callable[[], object]] = {
        "14:31": lambda: faults.update(late=simulator.faults.add(late), wrong=simulator.faults.add(wrong)),
        "15:31": lambda: simulator.faults.remove(faults["late"]),
        "18:31": collector.restart,
        "19:31": lambda: faults.update(late=simulator.faults.add(late)),
        "20:01": lambda: simulator.faults.remove(faults["wrong"]),
        "20:31": lambda: simulator.faults.remove(faults["late"]),
    }
    ticks = 0
    for number in range(48):
        at = DAY + number * HALF_HOUR + timedelta(minutes=1)
        clock.set(at)
        if change := changes.get(f"{at:%H:%M}"):
            change()
        if OUTAGE[0] <= at < OUTAGE[1]:
            continue
        assert collector.collect().status in {"ok", "partial"}
        ticks += 1
    clock.set(NEXT + timedelta(minutes=1))
    collector.collect()
    return ticks


def logs_of(collector: LiveCollector, as_of: pd.Timestamp) -> dict[str, TickerLog]:
    with collector.store.snapshot() as snapshot:
        history = LogHistory.read(snapshot, collector.universe.features, DAY - timedelta(days=50), NEXT)
    return history.as_of(to_us(as_of.to_pydatetime()))


def test_a_day_lived_tick_by_tick_agrees_with_the_day_backfilled_at_once_but_for_named_bars(
    simulator: SimulatorServer, clock: ManualClock, tmp_path: Path
) -> None:
    with (
        LiveCollector(
            simulator.url, clock, f"sqlite:///{tmp_path / 'live.db'}", universe=DAY_UNIVERSE, only_features=True
        ) as live,
        LiveCollector(
            simulator.url, clock, f"sqlite:///{tmp_path / 'once.db'}", universe=DAY_UNIVERSE, only_features=True
        ) as once,
    ):
        assert live_day(live, simulator, clock) == 42
        clock.set(NEXT + HALF_HOUR)
        once.collect(DAY.date(), kind="backfill")

        with live.store.snapshot() as one, once.store.snapshot() as other:
            served, backfilled = (row_versions(snapshot, DAY, NEXT) for snapshot in (one, other))
        assert len(served) == len(backfilled) == 48
        assert served["origin"].value_counts().to_dict() == {"live": 42, "catch_up": 6}
        assert set(backfilled["origin"]) == {"backfill"}
        explained = check_explained(live, once, served, backfilled)

        # The rest of the outage was caught up as it would have been served.
        assert explained == {
            "15:00": {"QQQ late", "HYG revised"},
            "15:30": {"HYG revised"},
            # The bar that was running in the late feed was not taken for a finished one: it is late, too.
            "19:30": {"QQQ late"},
            "20:00": {"QQQ late"},
        }

        # Once everything is known, the live database holds what the backfilled one does.
        latest, again = (collector.rows(DAY, NEXT) for collector in (live, once))
        for column in feature_columns(live.universe, live.indicators):
            assert same_bits(latest[column].to_numpy(), again[column].to_numpy()).all(), column

        for collector in (live, once):
            report = replay(collector.store, DAY - timedelta(days=1), NEXT, collector.definitions, every_version=True)
            assert report.proven, report.first
        found = revisions(live.store, DAY, NEXT, live.definitions, late_after=timedelta(minutes=62))
        assert {one.ticker for one in found.bars if one.kind == "revised"} == {"HYG", "QQQ"}
        changed = {f"{one.observed_at:%H:%M}": one for one in found.rows}
        # When QQQ was late again, Yahoo took back a bar it had shown at 19:01, and showed it again an hour later.
        assert changed.keys() == {*explained, "19:00"}
        assert (changed["19:00"].versions, changed["19:00"].changes) == (3, ())
        for at, causes in explained.items():
            assert causes == {f"{cause.ticker} {cause.kind}" for cause in changed[at].causes}
            assert changed[at].changes
        # what traded during the outage was stored after it
        assert {one.ticker for one in found.bars if one.kind == "late"} == {one.name for one in DAY_UNIVERSE}
        gate = verify_lookahead(live.store, DAY, NEXT, live.definitions, sample=10)
        assert gate.proven, gate.moved


def check_explained(
    live: LiveCollector, once: LiveCollector, served: pd.DataFrame, backfilled: pd.DataFrame
) -> dict[str, set[str]]:
    """Assert that rows differ exactly where their information did; return by time which bars did, e.g. `QQQ late`."""
    compared = [spec.name for spec in live.store.schema.layout(ML_FEATURES).compared]
    known_once = logs_of(once, backfilled["read_as_of"].max())
    explained: dict[str, set[str]] = {}
    for (_, one), (_, other) in zip(served.iterrows(), backfilled.iterrows(), strict=True):
        at = one["observed_at"]
        known_live = logs_of(live, one["read_as_of"])
        causes = explain(to_us(at.to_pydatetime()), live.universe.features, known_live, known_once)
        both_null = pd.isna(one) & pd.isna(other)
        differing = [name for name in compared if one[name] != other[name] and not both_null[name]]
        assert bool(causes) == bool(differing), (at, causes, differing)
        for column in differing:
            named = tickers_of(column, live.universe, live.indicators)
            assert any(cause.ticker in named for cause in causes), (at, column, causes)
        if causes:
            explained[f"{at:%H:%M}"] = {f"{cause.ticker} {cause.kind}" for cause in causes}
    return explained
