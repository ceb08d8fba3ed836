"""Weeks in which nothing is wrong, judged at their awkward hours: not one check may fail.

Without Dagster: its runs call the same functions, and a tick costs a third.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets_tests.checks.checked import CheckedCollector
from market_assets_tests.fakes import small_universe

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets.clock import ManualClock
    from market_assets.sources.simulator import SimulatorServer

pytestmark = pytest.mark.integration

#: every venue, and every ticker of an identity
NAMES = ("QQQ", "SPY", "IWM", "ARKK", "ARKQ", "HYG", "LQD", "EURUSD", "GBPUSD", "JPYUSD", "VIX", "DXY", "BTC")
TARGET = 35


def ticks(first: str, times_by_day: list[list[str]]) -> list[datetime]:
    """Return the instants of the ticks of consecutive days, UTC."""
    start = datetime.fromisoformat(first).replace(tzinfo=UTC)
    return [
        start + timedelta(days=day, hours=int(time[:2]), minutes=int(time[3:]))
        for day, times in enumerate(times_by_day)
        for time in times
    ]


@pytest.mark.parametrize(
    ("first", "times_by_day"),
    [
        # From Wednesday before Thanksgiving 2024 to the Tuesday after: New York shut on Thursday, shut from 18:00 on
        # Friday; currencies from 22:00 on Sunday.
        (
            "2024-11-27",
            [
                ["20:31", "21:31"],
                ["00:01", "14:31"],
                ["14:31", "15:01", "18:01", "18:31", "20:31"],
                ["12:01"],
                ["00:01", "22:31", "23:31"],
                ["00:01", "14:31", "21:31"],
                ["00:01"],
            ],
        ),
        # A plain weekend, over which New York leaves summer time a week after London has.
        (
            "2025-10-31",
            [["13:31", "20:01", "21:01"], ["00:01"], ["12:01", "23:01"], ["00:31", "14:31", "15:01"]],
        ),
    ],
    ids=["thanksgiving", "weekend_and_clock_change"],
)
def test_no_check_fails_in_a_week_in_which_nothing_is_wrong(
    simulator: SimulatorServer, clock: ManualClock, tmp_path: Path, first: str, times_by_day: list[list[str]]
) -> None:
    instants = ticks(first, times_by_day)
    clock.set(instants[0])
    with CheckedCollector(
        simulator.url,
        clock,
        f"sqlite:///{tmp_path / 'week.db'}",
        universe=small_universe(NAMES),
        only_features=True,
        ml_feature_count_target=TARGET,
    ) as collector:
        for at in instants:
            clock.set(at)
            assert collector.collect().status == "ok"
        assert [str(one) for one in collector.failed()] == []
        # and each of them has said something about everything, at every tick
        judged = Counter(one.check for one in collector.judged if one.verdict.judged)
        per_ticker, per_indicator = len(instants) * len(NAMES), len(instants) * len(collector.indicators)
        assert judged == {
            "bars_were_fetched": per_ticker,
            "bars_are_fresh": per_ticker,
            "bars_are_sane": per_ticker,
            "values_are_plausible": per_indicator,
            "feature_count_meets_target": len(instants),
            "identities_hold": len(instants),
        }
        identities = [one.verdict for one in collector.judged if one.check == "identities_hold"]
        assert {verdict.metadata["identities_judged"] for verdict in identities} == {6}
