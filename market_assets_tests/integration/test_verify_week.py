"""A week in which everything goes wrong: every version of every row comes out of the log again, to the bit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from market_assets.collection.days import DayRange
from market_assets.sources.simulator import Fault, FaultKind
from market_assets.store.tables import CORPORATE_ACTIONS, MARKET_BARS, ML_FEATURES
from market_assets.universe import UNIVERSE, Universe
from market_assets.verify.lookahead import verify_lookahead
from market_assets.verify.replay import replay
from market_assets.verify.revisions import revisions
from market_assets_tests.verify.live import LiveCollector

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from market_assets.clock import ManualClock
    from market_assets.sources.simulator import SimulatorServer
    from market_assets.verify.revisions import Revisions

pytestmark = pytest.mark.integration

HOUR = timedelta(hours=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


#: New York leaves summer time on 2 November; HYG and LQD go ex dividend on the 3rd, USO splits on the 4th
BEGIN, END = utc("2025-10-30"), utc("2025-11-06")
SPLIT_DAY = date(2025, 11, 4)
NAMES = ("HYG", "LQD", "USO", "JPYUSD", "VIX")


def what_goes_wrong(simulator: SimulatorServer, collector: LiveCollector) -> dict[datetime, Callable[[], object]]:
    """Return what changes in the world, by the tick before which it does."""
    running: dict[str, int] = {}

    def begin(name: str, fault: Fault) -> Callable[[], object]:
        return lambda: running.update({name: simulator.faults.add(fault)})

    def end(name: str) -> Callable[[], object]:
        return lambda: simulator.faults.remove(running[name])

    thursday, friday = date(2025, 10, 30), date(2025, 10, 31)
    lost = Fault(kind=FaultKind.MISSING_SESSION, symbol="LQD", session=friday)
    volumes = Fault(kind=FaultKind.REVISED_BARS, symbol="HYG", session=thursday, volume_factor=1.3)
    closes = Fault(kind=FaultKind.REVISED_BARS, symbol="^VIX", interval="1d", session=friday, factor=1.01)
    late = Fault(kind=FaultKind.LATE_BARS, symbol="JPY=X", delay=timedelta(hours=2))
    return {
        utc("2025-10-30T17:01"): begin("storm", Fault(kind=FaultKind.RATE_LIMITED)),
        utc("2025-10-30T20:01"): end("storm"),
        utc("2025-10-31T13:01"): begin("lost", lost),
        utc("2025-11-01T01:01"): begin("volumes", volumes),
        # two days later Yahoo has the session after all
        utc("2025-11-02T12:01"): end("lost"),
        utc("2025-11-03T01:01"): begin("closes", closes),
        utc("2025-11-03T15:01"): begin("late", late),
        utc("2025-11-03T18:01"): end("late"),
        utc("2025-11-04T12:01"): collector.restart,
        utc("2025-11-05T16:01"): begin("broken", Fault(kind=FaultKind.SERVER_ERROR, symbol="USO")),
        utc("2025-11-05T18:01"): end("broken"),
    }


def live(simulator: SimulatorServer, clock: ManualClock, collector: LiveCollector) -> list[str]:
    """Collect hour by hour, settle and rebuild every night; return the status of each tick."""
    changes = what_goes_wrong(simulator, collector)
    clock.set(BEGIN - timedelta(minutes=59))
    collector.collect(kind="quickstart")
    statuses = []
    for tick in range(7 * 24):
        at = BEGIN + tick * HOUR + timedelta(minutes=1)
        clock.set(at)
        changes.get(at, lambda: None)()
        statuses.append(collector.collect().status)
        if at.hour == 2:
            clock.set(at + timedelta(minutes=9))
            days = DayRange(at.date() - timedelta(days=10), at.date() - timedelta(days=1))
            assert collector.collect(days.first, days.last, kind="settle").status == "ok"
            clock.set(at + timedelta(minutes=39))
            collector.rebuild(collector.store.runs.stale_days())
    clock.set(END + timedelta(minutes=1))
    collector.collect()
    return statuses


@pytest.fixture
def lived(simulator: SimulatorServer, clock: ManualClock, tmp_path: Path) -> LiveCollector:
    simulator.market.add_split("USO", SPLIT_DAY, 4.0)
    universe = Universe(tuple(UNIVERSE[name] for name in NAMES))
    return LiveCollector(
        simulator.url,
        clock,
        f"sqlite:///{tmp_path / 'market.db'}",
        universe=universe,
        only_features=True,
        collection_interval_minutes=60,
        # 429s are given up at once: a rest would be one of the test's own time
        yahoo_backoff_seconds=0.0,
    )


def test_a_week_of_faults_replays_to_the_bit(
    lived: LiveCollector, simulator: SimulatorServer, clock: ManualClock
) -> None:
    with lived as collector:
        statuses = live(simulator, clock, collector)
        assert statuses.count("failed") == 3
        assert statuses.count("partial") >= 2

        served = replay(collector.store, BEGIN, END, collector.definitions)
        assert (served.compared, served.share, served.origins) == (168, 1.0, {"live": 168})
        every = replay(collector.store, BEGIN - timedelta(days=11), END, collector.definitions, every_version=True)
        assert every.proven, every.first
        assert every.compared > 168 + 10 * 24 + 20

        gate = verify_lookahead(collector.store, BEGIN, END, collector.definitions, sample=24)
        assert gate.proven, gate.moved
        found = revisions(collector.store, BEGIN, END, collector.definitions, late_after=2 * HOUR)
        check_that_it_went_wrong(collector, found)
        # A single bit of a single bar, and the proof fails there.
        check_that_a_flipped_bit_is_found(collector)


def check_that_it_went_wrong(collector: LiveCollector, found: Revisions) -> None:
    """The proof would say little about a quiet week."""
    revised = {(one.ticker, one.interval) for one in found.bars if one.kind == "revised"}
    assert {("HYG", "15m"), ("HYG", "1d"), ("VIX", "1d"), ("JPYUSD", "15m")} <= revised
    volumes = [one for one in found.bars if one.ticker == "HYG"]
    assert {change.column for one in volumes for change in one.changes} == {"volume"}
    assert {round(change.relative or 0.0, 1) for one in volumes for change in one.changes} == {0.3}
    late = {(one.ticker, one.bar_start.date()) for one in found.bars if one.kind == "late"}
    assert ("LQD", date(2025, 10, 31)) in late
    changed = {column.column for one in found.rows for column in one.changes}
    assert {"ml_lqd_price", "ml_lqd_volatility", "ml_vix_change_1d", "ml_jpyusd_price"} <= changed
    assert "ml_hyg_price" not in {
        change.column for one in found.rows for change in one.changes if one.observed_at > utc("2025-10-31T14:00")
    }
    assert all(one.causes for one in found.rows)
    actions = collector.store.read(CORPORATE_ACTIONS, start=BEGIN.date(), end=END.date())
    assert set(actions[["ticker", "kind"]].itertuples(index=False, name=None)) == {
        ("HYG", "dividend"),
        ("LQD", "dividend"),
        ("USO", "split"),
    }
    rows = collector.store.read(ML_FEATURES, start=BEGIN, end=END).set_index("observed_at")
    before, after = rows["ml_uso_price"][utc("2025-11-04T04:00")], rows["ml_uso_price"][utc("2025-11-04T05:00")]
    assert after == pytest.approx(before / 4.0, rel=1e-9)


def check_that_a_flipped_bit_is_found(collector: LiveCollector) -> None:
    bars = collector.store.schema.current(MARKET_BARS)
    start = utc("2025-11-05T19:45")
    where = (bars.c.ticker == "LQD") & (bars.c.interval == "15m") & (bars.c.bar_start == start)
    with collector.store.database.engine.begin() as connection:
        close = connection.execute(bars.select().where(where)).mappings().one()["close"]
        flipped = float((np.array([close]).view(np.int64) ^ 1).view(np.float64)[0])
        connection.execute(bars.update().where(where).values(close=flipped))
    report = replay(collector.store, BEGIN, END, collector.definitions)
    assert not report.proven
    assert report.first is not None
    assert (report.first.observed_at, report.first.differences[0].column) == (utc("2025-11-05T20:00"), "ml_lqd_price")
    assert report.first.differences[0].one == close
    assert [str(bar.key) for bar in report.first.bars if bar.why == "price"] == ["LQD 15m 2025-11-05T19:45Z"]
