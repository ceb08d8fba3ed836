"""The checks as Dagster runs them: each evaluated once in every run, the right one for what is wrong, and cheap."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from market_assets.checks import results, tickers
from market_assets.sources.simulator import Fault, FaultKind
from market_assets.sources.simulator.faults import BadStyle
from market_assets.store import queries, snapshots
from market_assets.store.tables import MARKET_BARS, QUARANTINED_BARS
from market_assets.universe import UNIVERSE
from market_assets_tests.fakes import small_universe
from market_assets_tests.integration.conftest import FIRST_TICK

if TYPE_CHECKING:
    from market_assets_tests.fakes import Collected
    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration

SECOND_TICK = FIRST_TICK + timedelta(minutes=30)
TICKER_CHECKS = {"bars_were_fetched", "bars_are_fresh", "bars_are_complete", "bars_are_sane"}
WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
#: small enough to be quick, large enough for a target of 20
SEVEN = small_universe(("QQQ", "SPY", "HYG", "LQD", "JPYUSD", "VIX", "BTC"))


def evaluations(run: Collected) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """Return what was evaluated in a run, by asset and check; each may have been so once only."""
    found = run.result.get_asset_check_evaluations()
    assert all(count == 1 for count in Counter((one.asset_key, one.check_name) for one in found).values())
    return {("/".join(one.asset_key.path), one.check_name): one for one in found}


def plain(evaluation: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in evaluation.metadata.items()}


def failed(run: Collected) -> dict[tuple[str, str], dg.AssetCheckSeverity]:
    """Return which checks of a run have failed, but for the correlations': simulated markets do not do as is said."""
    found = {key: one.severity for key, one in evaluations(run).items() if not one.passed}
    found.pop(("crypto_correlations", "correlation_within_threshold"), None)
    return found


def recorded(run: Collected) -> dict[str, str]:
    """Return the failed checks of a run's record."""
    assert run.record is not None
    failures: dict[str, str] = run.record.summary["failed_checks"]
    return failures


def test_a_tick_evaluates_every_check_once_and_all_of_them_pass(workshop: Workshop) -> None:
    collector = workshop.bootstrapped(UNIVERSE)
    tick = collector.at(SECOND_TICK).collect()

    assert tick.status == "ok", tick.failed_steps
    found = evaluations(tick)
    expected = {(f"ticker/{ticker.name}", name) for ticker in UNIVERSE for name in TICKER_CHECKS}
    expected |= {(f"indicator/{one.name}", "values_are_plausible") for one in collector.indicators}
    expected |= {("ml_features", name) for name in ("feature_count_meets_target", "identities_hold")}
    assert found.keys() >= expected
    assert failed(tick) == {}
    for key in expected:
        metadata = plain(found[key])
        assert metadata["judged"] is True, key
        assert {"observed", "threshold", "worst_offenders"} <= metadata.keys(), key
        assert metadata["worst_offenders"] == "none", key
        assert found[key].description, key
    count = plain(found["ml_features", "feature_count_meets_target"])
    assert (count["observed"], count["threshold"], count["core_features"]) == (58, 35, "43 of 43")
    # no step of their own: they are the assets' own words
    checked_by = {
        event.step_key for event in tick.result.all_events if event.event_type_value == "ASSET_CHECK_EVALUATION"
    }
    assert {key.replace("/", "__") for key, _ in expected} - {"ml_features"} <= checked_by
    assert "ml_features.compute_ml_features" in checked_by


def test_what_is_wrong_with_a_source_is_told_by_the_check_that_is_about_it(workshop: Workshop) -> None:
    collector = workshop.bootstrapped(SEVEN, ml_feature_count_target=20)
    faults = workshop.simulator.faults

    def at(time: str) -> datetime:
        return datetime.fromisoformat(f"{FIRST_TICK.date()}T{time}Z")

    for symbol, style, first, last in (
        ("QQQ", BadStyle.HUNDREDFOLD, "15:30", "16:00"),
        ("HYG", BadStyle.STUCK, "14:30", "19:00"),
        ("LQD", BadStyle.NEGATIVE, "15:00", "15:30"),
    ):
        bad = Fault(kind=FaultKind.BAD_BARS, interval="15m", symbol=symbol, style=style, start=at(first), end=at(last))
        faults.add(bad)
    spike = Fault(
        kind=FaultKind.REVISED_BARS, interval="15m", symbol="JPY=X", factor=1.2, start=at("15:00"), end=at("15:15")
    )
    faults.add(spike)
    faults.add(Fault(kind=FaultKind.WRONG_SYMBOL, symbol="SPY"))
    faults.add(Fault(kind=FaultKind.LATE_BARS, symbol="^VIX", interval="15m", delay=timedelta(minutes=70)))

    tick = collector.at(FIRST_TICK + timedelta(hours=2)).collect()

    assert tick.status == "partial", tick.failed_steps
    found = evaluations(tick)
    assert (
        failed(tick).items()
        >= {
            ("ticker/QQQ", "bars_are_sane"): ERROR,
            ("ticker/HYG", "bars_are_sane"): WARN,
            ("ticker/LQD", "bars_are_sane"): ERROR,
            ("ticker/JPYUSD", "bars_are_sane"): WARN,
            ("ticker/SPY", "bars_were_fetched"): ERROR,
            ("ticker/SPY", "bars_are_fresh"): ERROR,
            ("ticker/VIX", "bars_are_fresh"): WARN,
            # it has none of the bars that were due an hour ago
            ("ticker/VIX", "bars_are_complete"): WARN,
        }.items()
    )
    assert recorded(tick).keys() == {f"{asset} {check}" for asset, check in failed(tick)}
    assert recorded(tick)["ticker/SPY bars_were_fetched"].startswith("error: wrong_symbol: ")
    told = {name: plain(found[f"ticker/{name}", "bars_are_sane"]) for name in ("QQQ", "HYG", "LQD", "JPYUSD", "SPY")}
    assert "15m 2025-11-19T15:30Z at" in told["QQQ"]["worst_offenders"]
    assert "standstill 150 of 120 open-market minutes" in told["HYG"]["extremes"]
    assert told["LQD"]["quarantined/not_positive"] == 2
    assert "15m 2025-11-19T15:00Z at" in told["JPYUSD"]["worst_offenders"]
    assert plain(found["ticker/SPY", "bars_were_fetched"])["cause"] == "wrong_symbol"
    assert plain(found["ticker/SPY", "bars_are_fresh"])["last_bar"] == "15m until 2025-11-19 15:00 UTC"
    # nobody is failed for what is wrong with another
    assert not {key for key in failed(tick) if key[0] in {"ticker/BTC", "ticker/VIX"}} - {
        ("ticker/VIX", "bars_are_fresh"),
        ("ticker/VIX", "bars_are_complete"),
    }
    # flagged and not dropped, held back and not deleted
    bars = collector.store.read(MARKET_BARS, start=FIRST_TICK.date(), series=["QQQ", "LQD"], intervals=["15m"])
    close = bars.set_index(["ticker", "bar_start"])["close"]
    assert close["QQQ", datetime.fromisoformat("2025-11-19T15:30Z")] > 10_000
    assert ("LQD", datetime.fromisoformat("2025-11-19T15:00Z")) not in close.index
    held_back = collector.store.read(QUARANTINED_BARS)
    assert held_back[["ticker", "reason"]].drop_duplicates().to_numpy().tolist() == [["LQD", "not_positive"]]

    faults.clear()
    healed = collector.at(FIRST_TICK + timedelta(hours=2, minutes=30)).collect()
    assert failed(healed) == {}


def test_a_session_that_the_source_lacks_is_told_by_the_tick_and_by_the_settle_runs_record(workshop: Workshop) -> None:
    before = datetime.fromisoformat("2025-11-18T23:31Z")
    collector = workshop.bootstrapped(SEVEN, at=before, ml_feature_count_target=20)
    faults = workshop.simulator.faults
    faults.add(Fault(kind=FaultKind.MISSING_SESSION, symbol="HYG", session=FIRST_TICK.date()))

    evening = collector.at(datetime.fromisoformat("2025-11-19T22:01Z")).collect()

    # the daily row is not due for hours
    found = plain(evaluations(evening)["ticker/HYG", "bars_are_complete"])
    assert found["worst_offenders"] == "2025-11-19 15m: 26 of 26 bars missing at the source"
    assert (found["observed"], found["threshold"]) == (1.0, 0.1)
    complete = {key: severity for key, severity in failed(evening).items() if key[1] == "bars_are_complete"}
    assert complete == {("ticker/HYG", "bars_are_complete"): WARN}

    settled = collector.at(datetime.fromisoformat("2025-11-20T13:01Z")).collect(
        FIRST_TICK.date(), FIRST_TICK.date(), kind="settle"
    )
    told = recorded(settled)["ticker/HYG bars_are_complete"]
    assert told.startswith("warn: 2 of 2 days and intervals lack more bars than they may. Worst: 2025-11-19 ")
    assert "1d: 1 of 1" in plain(evaluations(settled)["ticker/HYG", "bars_are_complete"])["worst_offenders"]

    faults.clear()
    healed = collector.at(datetime.fromisoformat("2025-11-20T13:31Z")).collect(
        FIRST_TICK.date(), FIRST_TICK.date(), kind="settle"
    )
    assert recorded(healed) == {}
    assert failed(healed) == {}


def test_a_weekend_and_the_afternoon_of_a_half_day_fail_no_check(workshop: Workshop) -> None:
    # The day after Thanksgiving: New York shuts at 18:00 UTC.
    collector = workshop.bootstrapped(SEVEN, at=datetime.fromisoformat("2025-11-28T17:31Z"), ml_feature_count_target=20)
    for at in ("2025-11-28T18:31Z", "2025-11-28T20:31Z", "2025-11-29T12:01Z"):
        tick = collector.at(datetime.fromisoformat(at)).collect()
        assert tick.status == "ok", tick.failed_steps
        assert failed(tick) == {}, at
        assert recorded(tick) == {}, at
    shut = evaluations(tick)["ticker/QQQ", "bars_are_complete"]
    assert shut.description == "not judged: no bar is due"
    assert evaluations(tick)["ticker/BTC", "bars_are_complete"].description == "complete: 48 of 48 bars due are there"


def test_a_ticker_that_cannot_be_fetched_is_judged_by_what_is_stored(workshop: Workshop) -> None:
    collector = workshop.bootstrapped(SEVEN, ml_feature_count_target=20)
    workshop.simulator.faults.add(Fault(kind=FaultKind.NOT_FOUND, symbol="QQQ"))
    seen = {}
    for minutes in (0, 30, 90, 120):
        tick = collector.at(FIRST_TICK + timedelta(minutes=minutes)).collect()
        fresh = evaluations(tick)["ticker/QQQ", "bars_are_fresh"]
        seen[minutes] = (fresh.passed, fresh.severity, plain(fresh)["observed"])
        sane = evaluations(tick)["ticker/QQQ", "bars_are_sane"]
        assert sane.passed
        assert plain(sane)["bars_judged"] == 2
        assert not evaluations(tick)["ticker/QQQ", "bars_were_fetched"].passed
    assert seen == {
        0: (True, WARN, 0.0),
        30: (False, WARN, 16.0),
        90: (False, WARN, 76.0),
        120: (False, ERROR, 106.0),
    }


def test_a_run_over_past_days_judges_its_days_and_not_how_fresh_they_are(workshop: Workshop) -> None:
    collector = workshop.bootstrapped(SEVEN, ml_feature_count_target=20).at(FIRST_TICK + timedelta(hours=11))
    first, last = date(2025, 11, 17), date(2025, 11, 19)
    spoilt = datetime.fromisoformat("2025-11-18T15:00Z")
    workshop.simulator.faults.add(
        Fault(
            kind=FaultKind.BAD_BARS,
            symbol="QQQ",
            interval="15m",
            style=BadStyle.HIGH_BELOW_LOW,
            start=spoilt,
            end=spoilt + timedelta(minutes=15),
        )
    )

    settled = collector.collect(first, last, kind="settle")

    assert settled.success, settled.failed_steps
    found = evaluations(settled)
    for ticker in SEVEN:
        fresh = found[f"ticker/{ticker.name}", "bars_are_fresh"]
        assert fresh.passed
        assert plain(fresh)["judged"] is False
        assert fresh.description == "not judged: the run is about past days, 2025-11-17 to 2025-11-19"
    assert failed(settled) == {("ticker/QQQ", "bars_are_sane"): ERROR}
    assert plain(found["ticker/QQQ", "bars_are_sane"])["bars_judged"] == 3 * 26 + 3 - 1
    assert plain(found["ml_features", "feature_count_meets_target"])["observed_at"] == "2025-11-19 23:30 UTC"


def test_a_check_that_is_broken_fails_and_harms_no_row(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    collector = workshop.bootstrapped(SEVEN).at(SECOND_TICK)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("no such limit")

    checks = tuple(
        tickers.TickerCheck(check.name, check.description, broken if check.name == "bars_are_sane" else check.evaluate)  # type: ignore[arg-type]
        for check in tickers.TICKER_CHECKS
    )
    monkeypatch.setattr(results, "TICKER_CHECKS", checks)
    tick = collector.collect()

    assert tick.status == "ok", tick.failed_steps
    sane = evaluations(tick)["ticker/QQQ", "bars_are_sane"]
    assert (sane.passed, sane.severity) == (False, ERROR)
    assert sane.description == "could not be evaluated: ZeroDivisionError: no such limit"
    assert evaluations(tick)["ticker/QQQ", "bars_were_fetched"].passed
    assert collector.row(SECOND_TICK.replace(minute=30))[list(collector.columns)].notna().all()


class RowsRead:
    """Counts the rows that the checks read of the store."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._counting = False
        select = queries.select_arrays

        def counted(*arguments: Any, **more: Any) -> Any:
            rows = select(*arguments, **more)
            self.count += self._counting * len(next(iter(rows.values())))
            return rows

        monkeypatch.setattr(snapshots, "select_arrays", counted)
        for name in ("read_evidence", "read_daily_prices"):
            monkeypatch.setattr(results, name, self._while(getattr(results, name)))

    def _while(self, function: Any) -> Any:
        def called(*arguments: Any, **more: Any) -> Any:
            self._counting = True
            try:
                return function(*arguments, **more)
            finally:
                self._counting = False

        return called


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> RowsRead:
    return RowsRead(monkeypatch)


def test_checks_read_the_days_partition_however_much_is_stored(workshop: Workshop, rows_read: RowsRead) -> None:
    collector = workshop.bootstrapped(SEVEN, ml_feature_count_target=20)
    stored = len(collector.store.read(MARKET_BARS))
    assert collector.at(SECOND_TICK).collect().status == "ok"
    read = rows_read.count
    # 400 days are stored; a check that loaded its asset would read them all
    assert stored > 20_000
    assert 500 < read < 2_500
    # a fortnight later there is more, and no more of it is read
    first, last = (FIRST_TICK.date() + timedelta(days=days) for days in (1, 14))
    collector.at(SECOND_TICK + timedelta(days=14)).collect(first, last, kind="catch_up")
    assert len(collector.store.read(MARKET_BARS)) > stored + 3_000
    rows_read.count = 0
    assert collector.at(SECOND_TICK + timedelta(days=14, minutes=30)).collect().status == "ok"
    assert rows_read.count == pytest.approx(read, rel=0.1)
