"""Correlations as Dagster shows them: the check in every run, the table beside every materialization."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from market_assets.analysis.heatmap import signed
from market_assets.checks.correlation import CORRELATION_CHECK, evaluate_correlation, survey_documented
from market_assets.collection.days import DayRange
from market_assets.store.tables import CRYPTO_CORRELATIONS
from market_assets_tests.integration.conftest import FIRST_TICK

if TYPE_CHECKING:
    from market_assets_tests.fakes import Collected
    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration

#: after VIX of the day is published
EVENING = FIRST_TICK.replace(hour=21, minute=31)


def evaluation(run: Collected) -> dg.AssetCheckEvaluation:
    [found] = [one for one in run.result.get_asset_check_evaluations() if one.check_name == CORRELATION_CHECK]
    return found


def plain(found: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in found.metadata.items()}


def test_the_documented_values_are_judged_by_every_run_and_only_a_new_session_changes_the_judgement(
    workshop: Workshop,
) -> None:
    collector = workshop.bootstrapped().at(FIRST_TICK + timedelta(minutes=30))
    tick, evening = collector.collect(), collector.at(EVENING).collect()
    day = FIRST_TICK.date()
    assert tick.success
    found = [evaluation(run) for run in (tick, evening)]
    assert [plain(one)["last_session"] for one in found] == [str(day - timedelta(days=1)), str(day)]
    for one in found:
        assert (one.severity, one.blocking) == (dg.AssetCheckSeverity.WARN, False)
        # The simulator's market is closer to the measured one than to what is said of it.
        assert not one.passed
        assert plain(one)["threshold"] == 3
        assert str(one.description).startswith(f"{plain(one)['observed']} of 3 documented values hold over 90 ")
    surveyed = survey_documented(collector.store, DayRange(day, day), collector.universe, collector.clock)
    assert evaluate_correlation(surveyed, 0.65).description == found[1].description
    stored = collector.store.read(CRYPTO_CORRELATIONS, start=day, end=day + timedelta(days=1))
    for pair in surveyed.pairs:
        own = stored[stored["ticker"] == pair.ticker.name].set_index("sessions")["correlation"]
        assert [window.correlation for window in pair.windows] == [own[20], own[90]]


def test_the_table_of_documented_and_measured_values_stays_in_sight_while_no_session_has_closed(
    workshop: Workshop,
) -> None:
    collector = workshop.bootstrapped().at(FIRST_TICK + timedelta(minutes=30))
    tick = collector.collect().metadata("crypto_correlations")
    assert tick["dagster/row_count"] == 0
    lines = tick["documented_beside_measured"].splitlines()
    assert lines[0] == "| ticker | documented | BTC 20 | BTC 90 |"
    assert [line.split()[1] for line in lines[2:]] == ["QQQ", "HYG", "LQD", "JPYUSD", "VIX"]
    evening = collector.at(EVENING).collect().metadata("crypto_correlations")
    day = FIRST_TICK.date()
    stored = collector.store.read(CRYPTO_CORRELATIONS, start=day, end=day + timedelta(days=1))
    own = stored[stored["ticker"] == "QQQ"].set_index("sessions")["correlation"]
    assert evening["documented_beside_measured"].splitlines()[2] == (
        f"| QQQ | +0.75 | {signed(own[20])} | {signed(own[90])} |"
    )
    assert evening["documented_beside_measured"] != tick["documented_beside_measured"]
