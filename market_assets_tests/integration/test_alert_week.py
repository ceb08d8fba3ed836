"""A bad week, a normal weekend and a normal holiday week: everything that a person hears, written down by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from market_assets.sources.simulator import Fault, FaultKind
from market_assets.sources.simulator.faults import BadStyle
from market_assets_tests.alerts.bad_week import Deployment
from market_assets_tests.fakes import small_universe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from market_assets.clock import ManualClock
    from market_assets.sources.simulator import SimulatorServer

pytestmark = pytest.mark.integration

#: one of each venue that matters here: New York, Cboe with its lag, the FX week, around the clock
UNIVERSE = small_universe(("QQQ", "HYG", "TLT", "VIX", "EURUSD", "BTC"))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def deployment(simulator: SimulatorServer, clock: ManualClock, tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(
        simulator.url,
        clock,
        f"sqlite:///{tmp_path / 'week.db'}",
        universe=UNIVERSE,
        collection_interval_minutes=120,
        ml_feature_count_target=8,
    )
    yield made
    made.close()


def what_goes_wrong(simulator: SimulatorServer) -> dict[datetime, Callable[[], object]]:
    """Return what changes in the world, by the tick before which it does."""
    running: dict[str, int] = {}

    def begin(name: str, fault: Fault) -> Callable[[], object]:
        return lambda: running.update({name: simulator.faults.add(fault)})

    def end(name: str) -> Callable[[], object]:
        return lambda: simulator.faults.remove(running[name])

    tuesday, wednesday = date(2025, 11, 25), date(2025, 11, 26)
    stuck = Fault(
        kind=FaultKind.BAD_BARS,
        symbol="HYG",
        style=BadStyle.STUCK,
        start=utc("2025-11-25T15:00"),
        end=utc("2025-11-25T20:00"),
    )
    hundredfold = Fault(
        kind=FaultKind.BAD_BARS,
        symbol="QQQ",
        interval="15m",
        style=BadStyle.HUNDREDFOLD,
        start=utc("2025-11-26T15:00"),
        end=utc("2025-11-26T15:30"),
    )
    return {
        # four hours of 429 for everyone
        utc("2025-11-24T14:01"): begin("storm", Fault(kind=FaultKind.RATE_LIMITED)),
        utc("2025-11-24T18:01"): end("storm"),
        # one fetch of one ticker that fails once
        utc("2025-11-24T20:01"): begin("once", Fault(kind=FaultKind.SERVER_ERROR, symbol="HYG")),
        utc("2025-11-24T22:01"): end("once"),
        # one ticker is gone for two days, over the holiday, the other way round than VIX below
        utc("2025-11-25T16:01"): begin("gone", Fault(kind=FaultKind.NOT_FOUND, symbol="TLT")),
        utc("2025-11-27T16:01"): end("gone"),
        utc("2025-11-25T18:01"): begin("stuck", stuck),
        utc("2025-11-25T22:01"): end("stuck"),
        # answered, but without a bar, for two days: by night and on the holiday that proves nothing
        utc("2025-11-26T16:01"): begin("empty", Fault(kind=FaultKind.EMPTY, symbol="^VIX")),
        utc("2025-11-28T16:01"): end("empty"),
        utc("2025-11-26T18:01"): begin("hundredfold", hundredfold),
        utc("2025-11-26T22:01"): end("hundredfold"),
        # Tuesday's closes come out different from Thursday on
        utc("2025-11-27T06:01"): begin(
            "revised", Fault(kind=FaultKind.REVISED_BARS, symbol="QQQ", session=tuesday, factor=1.002)
        ),
        utc("2025-11-27T08:01"): begin(
            "volumes", Fault(kind=FaultKind.REVISED_BARS, symbol="HYG", session=wednesday, volume_factor=1.3)
        ),
    }


#: from Monday to Sunday, with Thanksgiving on the Thursday and a half day on the Friday. The storm is told when the
#: first run fails, the rest when it fails a second time. What VIX answers by night is no recovery. That TLT and VIX are
#: late, too, follows from their fetches; what the storm did to everyone follows from the failed run.
HEARD = [
    "Mon 14:01 ERROR run_failed broke: tick",
    "Mon 18:01 OK run_failed recovered: tick",
    "Tue 18:01 ERROR bars_were_fetched broke: TLT",
    "Tue 20:01 WARN bars_are_sane broke: HYG",
    "Tue 22:01 OK bars_are_sane recovered: HYG",
    "Wed 18:01 ERROR bars_were_fetched broke: VIX",
    "Wed 20:01 ERROR bars_are_sane broke: QQQ",
    "Wed 22:01 OK bars_are_sane recovered: QQQ",
    "Thu 16:01 OK bars_were_fetched recovered: TLT",
    "Fri 16:01 OK bars_were_fetched recovered: VIX",
]


def test_of_a_bad_week_a_person_hears_what_is_wrong_when_it_is_wrong_and_nothing_else(
    deployment: Deployment, simulator: SimulatorServer
) -> None:
    changes = what_goes_wrong(simulator)
    deployment.live(utc("2025-11-24T00:01"), utc("2025-12-01T00:01"), changes)
    assert deployment.heard == HEARD
    for _, message in deployment.poster.taken:
        assert len(message.body) <= 1500
    told = dict(zip(deployment.heard, (message.body for _, message in deployment.poster.taken), strict=True))
    assert "none of 6 tickers could be fetched from simulator (" in told[HEARD[0]]
    assert "from 2025-11-24 14:01 UTC, for 4 h 0 min" in told[HEARD[1]]
    assert "not fetched since 2025-11-25 16:01 UTC; observed" in told[HEARD[2]]
    assert "the same price for" in told["Tue 20:01 WARN bars_are_sane broke: HYG"]
    assert "times off the median close" in told["Wed 20:01 ERROR bars_are_sane broke: QQQ"]
    # the nightly settle runs missed TLT, too: a line of the next message
    assert (
        "Also: the settle run of 2025-11-16 to 2025-11-25 found "
        in told["Wed 18:01 ERROR bars_were_fetched broke: VIX"]
    )


def test_a_normal_weekend_the_change_of_the_clocks_and_a_normal_holiday_week_say_nothing(
    deployment: Deployment,
) -> None:
    # New York leaves summer time on Sunday, 2 November 2025, Europe a week before
    deployment.live(utc("2025-10-31T18:01"), utc("2025-11-03T16:01"))
    # Thanksgiving and the half day after it
    deployment.live(utc("2025-11-26T20:01"), utc("2025-11-29T00:01"))
    assert deployment.heard == []
    assert deployment.collector.store.alerts.states() == {}


def test_a_weekend_without_a_scheduler_is_told_once(deployment: Deployment, clock: ManualClock) -> None:
    deployment.live(utc("2025-11-14T20:01"), utc("2025-11-14T22:01"))
    at = utc("2025-11-14T22:02")
    while at < utc("2025-11-17T07:00"):
        clock.set(at)
        deployment._look()
        at += timedelta(minutes=30)
    deployment.live(utc("2025-11-17T08:01"), utc("2025-11-17T10:01"))
    assert deployment.heard == [
        "Sat 00:32 ERROR missed_ticks broke: collect",
        "Mon 08:01 OK missed_ticks recovered: collect",
    ]
