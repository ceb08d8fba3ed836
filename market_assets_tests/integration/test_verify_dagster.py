"""The proofs as Dagster runs them: the gate in every run, the replay in a job of its own, a day of 48 ticks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import sqlalchemy as sa

from market_assets.collection import build
from market_assets.store.tables import ML_FEATURES
from market_assets_tests.fakes import small_universe
from market_assets_tests.integration.conftest import FIRST_TICK

if TYPE_CHECKING:
    from market_assets_tests.fakes import Collected, Collector
    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
#: the evening before the day of 48 ticks
EVENING = datetime(2025, 11, 18, 23, 31, tzinfo=UTC)


def evaluation(result: dg.ExecuteInProcessResult | dg.JobExecutionResult, name: str) -> dg.AssetCheckEvaluation:
    [found] = [one for one in result.get_asset_check_evaluations() if one.check_name == name]
    return found


def gate(run: Collected) -> dg.AssetCheckEvaluation:
    return evaluation(run.result, "no_lookahead")


def replay_job(collector: Collector) -> dg.ExecuteInProcessResult:
    job = collector.definitions.resolve_job_def("replay")
    return job.execute_in_process(instance=collector.instance, run_config=QUIET, raise_on_error=False)


def plain(found: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in found.metadata.items()}


def test_every_run_judges_its_newest_row_and_a_range_a_few(workshop: Workshop) -> None:
    collector = workshop.bootstrapped().at(FIRST_TICK + timedelta(minutes=30))
    tick = collector.collect()
    assert gate(tick).passed
    assert plain(gate(tick)) == {"observed": 0, "threshold": 0, "rows_judged": 1, "worst_offenders": "none"}
    assert "crypto_ml_features_materialized" in tick.materialized
    backfill = collector.collect(FIRST_TICK.date() - timedelta(days=3), FIRST_TICK.date() - timedelta(days=1))
    assert backfill.success, backfill.failed_steps
    assert plain(gate(backfill))["rows_judged"] == 8


def test_a_row_that_the_log_does_not_give_fails_the_run_and_stops_what_stands_on_it(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = workshop.bootstrapped().at(FIRST_TICK + timedelta(minutes=30))
    real = build.build_features

    def wrong(*arguments: Any, **more: Any) -> Any:
        write = real(*arguments, **more)
        write.replacements[0].frame["ml_qqq_price"] *= 1.0000001
        return write

    monkeypatch.setattr(build, "build_features", wrong)
    tick = collector.collect()
    assert not tick.success
    assert tick.status == "failed"
    found = gate(tick)
    assert (found.passed, found.severity, found.blocking) == (False, dg.AssetCheckSeverity.ERROR, True)
    assert "ml_qqq_price" in plain(found)["worst_offenders"]
    assert "crypto_ml_features_materialized" not in tick.materialized
    assert "ml_features" in tick.materialized


def test_a_day_of_48_ticks_replays_to_the_bit_and_a_changed_row_does_not(workshop: Workshop) -> None:
    collector = workshop.bootstrapped(small_universe(("QQQ", "EURUSD", "VIX", "BTC")), at=EVENING)
    for number in range(1, 49):
        tick = collector.at(EVENING + number * timedelta(minutes=30)).collect()
        assert tick.status == "ok", tick.failed_steps
        assert gate(tick).passed
    day = EVENING.date() + timedelta(days=1)
    rows = collector.store.read(ML_FEATURES, start=day, end=day + timedelta(days=1))
    assert (len(rows), set(rows["origin"]), rows["known_from"].nunique()) == (48, {"live"}, 48)

    collector.at(datetime(day.year, day.month, day.day + 1, 3, 25, tzinfo=UTC))
    found = evaluation(replay_job(collector), "served_equals_replayed")
    assert found.passed
    assert plain(found)["origin/live"] == "48 of 48 identical"

    table = collector.store.schema.current(ML_FEATURES)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    with collector.store.database.engine.begin() as connection:
        changed = table.update().where(table.c.observed_at == noon).values(ml_eurusd_price=sa.literal(1.0))
        assert connection.execute(changed).rowcount == 1
    found = evaluation(replay_job(collector), "served_equals_replayed")
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert plain(found)["observed"] == 47 / 48
    assert plain(found)["worst_offenders"].startswith(f"{noon:%Y-%m-%dT%H:%MZ} ml_eurusd_price: served 1.0")
