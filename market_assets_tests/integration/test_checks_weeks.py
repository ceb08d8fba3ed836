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


#: by day the ticks, and of how many tickers the calendar expects a bar of the day by then
@pytest.mark.parametrize(
    ("first", "ticks_of_days"),
    [
        # From Wednesday before Thanksgiving 2024 to the Tuesday after: New York shut on Thursday, shut from 18:00 on
        # Friday; currencies from 22:00 on Sunday. Of a half day the dollar index is expected while New York trades.
        (
            "2024-11-27",
            [
                {"20:31": 13, "21:31": 13},
                {"00:01": 0, "14:31": 4},
                {"14:31": 4, "15:01": 12, "18:01": 13, "18:31": 13, "20:31": 13},
                {"12:01": 1},
                {"00:01": 0, "22:31": 1, "23:31": 1},
                {"00:01": 0, "14:31": 5, "21:31": 13},
                {"00:01": 0},
            ],
        ),
        # A plain weekend, over which New York leaves summer time a week after London has.
        (
            "2025-10-31",
            [
                {"13:31": 5, "20:01": 13, "21:01": 13},
                {"00:01": 0},
                {"12:01": 1, "23:01": 1},
                {"00:31": 4, "14:31": 5, "15:01": 13},
            ],
        ),
    ],
    ids=["thanksgiving", "weekend_and_clock_change"],
)
def test_no_check_fails_in_a_week_in_which_nothing_is_wrong(
    simulator: SimulatorServer,
    clock: ManualClock,
    tmp_path: Path,
    first: str,
    ticks_of_days: list[dict[str, int]],
) -> None:
    instants = ticks(first, [list(day) for day in ticks_of_days])
    due = [count for day in ticks_of_days for count in day.values()]
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
        # and each of them has said something about everything, at every tick; completeness where a bar is due
        judged = Counter(one.check for one in collector.judged if one.verdict.judged)
        per_ticker, per_indicator = len(instants) * len(NAMES), len(instants) * len(collector.indicators)
        assert judged == {
            "bars_were_fetched": per_ticker,
            "bars_are_fresh": per_ticker,
            "bars_are_complete": sum(due),
            "bars_are_sane": per_ticker,
            "values_are_plausible": per_indicator,
            "feature_count_meets_target": len(instants),
            "identities_hold": len(instants),
        }
        complete = Counter(
            one.at for one in collector.judged if one.check == "bars_are_complete" and one.verdict.judged
        )
        assert [complete[at] for at in instants] == due
        identities = [one.verdict for one in collector.judged if one.check == "identities_hold"]
        assert {verdict.metadata["identities_judged"] for verdict in identities} == {6}
