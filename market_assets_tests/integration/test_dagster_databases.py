"""The same collections on PostgreSQL and MariaDB leave what they leave on SQLite, to the bit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from market_assets.sources.simulator import BadStyle, Fault, FaultKind
from market_assets.store.tables import QUARANTINED_BARS, VERSIONED_TABLES
from market_assets_tests.databases import ALL_DATABASES, SQLITE, empty_database
from market_assets_tests.fakes import Collector, closed_versions, small_universe, true_price
from market_assets_tests.integration.conftest import FIRST_TICK

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration

#: of every venue one at least, and the inputs of four indicators
TEN = small_universe(("QQQ", "SPY", "HYG", "LQD", "TLT", "GLD", "JPYUSD", "VIX", "DXY", "BTC"))
SERVERS = [one for one in ALL_DATABASES if one != SQLITE]
HALF_PAST = FIRST_TICK.replace(minute=30)


def assert_same_tables(one: Collector, other: Collector) -> None:
    """Compare every versioned table, as it is and as it was after the first collection, bit by bit."""
    for table in VERSIONED_TABLES:
        for as_of in (None, FIRST_TICK + timedelta(minutes=1)):
            left, right = (each.store.read(table, as_of=as_of) for each in (one, other))
            # held-back bars come with the second tick, the old system's shape only where it is asked for
            assert len(left) or table.name in {"quarantined_bars", "ml_macro_indicators"}, table.name
            pd.testing.assert_frame_equal(left, right, check_exact=True, obj=f"{table.name} as of {as_of}")


def two_ticks(collector: Collector) -> list[dict[str, Any]]:
    """Collect for the first time, and half an hour later: then one stored bar is revised and another impossible."""
    assert collector.at(FIRST_TICK).collect().status == "ok"
    faults = collector.server.faults
    start = FIRST_TICK.replace(hour=14, minute=30)
    revised = Fault(
        kind=FaultKind.REVISED_BARS,
        symbol="HYG",
        interval="15m",
        start=start,
        end=start + timedelta(minutes=15),
        factor=1.001,
    )
    faults.add(revised)
    faults.add(replace(revised, kind=FaultKind.BAD_BARS, symbol="LQD", style=BadStyle.HIGH_BELOW_LOW))
    tick = collector.at(FIRST_TICK + timedelta(minutes=30)).collect()
    faults.clear()
    assert tick.status == "ok", tick.failed_steps
    return []


@pytest.mark.parametrize("kind", SERVERS)
def test_the_same_collections_leave_the_same_bits_in_every_database(
    workshop: Workshop, tmp_path: Path, kind: str
) -> None:
    database, _ = workshop.made_once("two-ticks", TEN, two_ticks)
    sqlite = workshop.copy_of(database, TEN)
    with empty_database(kind, tmp_path) as url:
        server = workshop.new(url, TEN)
        two_ticks(server)

        assert_same_tables(sqlite, server)
        held_back = server.store.read(QUARANTINED_BARS)
        assert held_back[["ticker", "reason"]].to_numpy().tolist() == [["LQD", "high_below_low"]]
        assert closed_versions(server, "market_bars") >= 1
        assert server.row(HALF_PAST)["feature_count"] == len(server.columns)
        # 0.0067 keeps all of its digits: neither DECIMAL nor four-byte floats stand in between
        yen = server.row(HALF_PAST)["ml_jpyusd_price"]
        assert 0.006 < yen < 0.0075
        assert yen == 1 / true_price(workshop.simulator, "JPY=X", HALF_PAST)
        assert yen != round(yen, 6)
        server.close()
