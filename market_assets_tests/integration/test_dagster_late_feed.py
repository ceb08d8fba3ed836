"""A feed that is later than it says, through Dagster's runs."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from market_assets.sources.simulator import Fault, FaultKind
from market_assets.store.tables import MARKET_BARS
from market_assets_tests.fakes import closed_versions, true_price
from market_assets_tests.integration.conftest import FIRST_TICK

if TYPE_CHECKING:
    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration


def test_the_running_bar_of_a_feed_that_is_later_than_it_says_is_not_taken_for_a_finished_one(
    workshop: Workshop,
) -> None:
    collector = workshop.bootstrapped()
    # At 15:31 the feed is at 15:08: the bar of 15:00 has ended by the clock, and in the feed it is half full.
    workshop.simulator.faults.add(Fault(kind=FaultKind.LATE_BARS, symbol="QQQ", delay=timedelta(minutes=23)))
    tick = collector.at(FIRST_TICK + timedelta(minutes=30)).collect()
    assert "1 feed_behind" in tick.metadata("ticker/QQQ")["not_bars"]
    at = FIRST_TICK.replace(minute=30)
    assert collector.row(at)["ml_qqq_price"] == true_price(workshop.simulator, "QQQ", FIRST_TICK)
    workshop.simulator.faults.clear()
    collector.at(FIRST_TICK + timedelta(minutes=60)).collect()
    bars = collector.store.read(MARKET_BARS, start=FIRST_TICK.date(), series=["QQQ"])
    assert len(bars) == 6
    assert closed_versions(collector, "market_bars") == 0


def test_a_ticker_that_falls_silent_keeps_the_bars_it_had(workshop: Workshop) -> None:
    collector = workshop.bootstrapped().at(FIRST_TICK + timedelta(minutes=30))
    collector.collect()
    held = collector.store.read(MARKET_BARS, start=FIRST_TICK.date(), series=["QQQ"])
    workshop.simulator.faults.add(Fault(kind=FaultKind.LATE_BARS, symbol="QQQ", delay=timedelta(minutes=17)))
    tick = collector.at(FIRST_TICK + timedelta(minutes=45)).collect()
    assert "1 feed_behind" in tick.metadata("ticker/QQQ")["not_bars"]
    now = collector.store.read(MARKET_BARS, start=FIRST_TICK.date(), series=["QQQ"])
    pd.testing.assert_frame_equal(now, held, check_exact=True)
