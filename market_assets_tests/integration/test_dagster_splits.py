"""A share is split between two collections: no row ever mixes price bases, and nothing stored is rewritten for it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from market_assets.store.tables import CORPORATE_ACTIONS, MARKET_BARS
from market_assets_tests.fakes import Collector, cell, closed_versions, small_universe, true_price

if TYPE_CHECKING:
    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration

#: QQQ and SPY make tech_leadership, a level ratio
THREE = small_universe(("QQQ", "SPY", "BTC"))
EX_DATE = date(2025, 11, 19)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


BEFORE = utc("2025-11-18T20:01")
LATER = [utc("2025-11-19T00:01"), utc("2025-11-19T15:01")]
MORNING = utc("2025-11-19T15:00")


def collected(workshop: Workshop, ratio: float | None) -> Collector:
    """Collect before, on the night of, and after the ex-date; then let a settle run read ten days again."""
    collector = workshop.bootstrapped(THREE, at=BEFORE)
    if ratio is not None:
        workshop.simulator.market.add_split("QQQ", EX_DATE, ratio)
    for at in LATER:
        for run in collector.run_schedule("collect_tick", at):
            assert run.status == "ok", run.failed_steps
    return collector


@pytest.mark.parametrize("ratio", [2.0, 0.125])
def test_a_split_between_two_collections_never_mixes_price_bases(workshop: Workshop, ratio: float) -> None:
    plain = collected(workshop, None)
    split = collected(workshop, ratio)
    calm, rows = plain.rows(), split.rows()

    # before the ex-date's midnight in New York the row stands on the old basis, from then on the new one is in force
    tuesday, night = utc("2025-11-18T21:00"), utc("2025-11-19T05:00")
    for at in (BEFORE.replace(minute=0), tuesday, utc("2025-11-19T00:00"), utc("2025-11-19T04:30")):
        assert cell(rows, at, "ml_qqq_price") == pytest.approx(cell(calm, at, "ml_qqq_price"), rel=1e-6)
    for at in (night, utc("2025-11-19T14:30"), MORNING):
        assert cell(rows, at, "ml_qqq_price") == pytest.approx(cell(calm, at, "ml_qqq_price") / ratio, rel=1e-4)
        assert cell(rows, at, "ml_tech_leadership") == pytest.approx(
            cell(rows, at, "ml_qqq_price") / cell(rows, at, "ml_spy_price"), rel=1e-12
        )
    assert cell(rows, MORNING, "ml_qqq_price") == true_price(workshop.simulator, "QQQ", MORNING)
    # returns know no split: no change and no volatility of a hundred per cent, before or after
    for name in ("ml_qqq_change_1d", "ml_qqq_volatility"):
        pd.testing.assert_series_equal(rows[name], calm[name], rtol=1e-3, atol=2e-3)
    # the other tickers do not notice
    for name in plain.columns:
        if "spy" in name:
            pd.testing.assert_series_equal(rows[name], calm[name], check_exact=True)
    assert '"QQQ":"2025-11-19"' in cell(rows, MORNING, "basis")
    assert '"QQQ"' not in cell(rows, utc("2025-11-19T04:30"), "basis")


def test_a_mere_rebase_makes_no_new_versions_of_the_history(workshop: Workshop) -> None:
    collector = collected(workshop, 2.0)
    served = collector.rows()
    bars = collector.store.read(MARKET_BARS, series=["QQQ"])

    [settle] = collector.run_schedule("settle", utc("2025-11-20T02:10"))

    assert settle.status == "ok", settle.failed_steps
    # the source now serves the whole history in new shares; the stored bars say on what they stand and stay as they are
    assert settle.metadata("ticker/QQQ")["write/market_bars"].split(", ")[1:3] == ["0 revised", "0 withdrawn"]
    assert closed_versions(collector, "market_bars") == 0
    after = collector.store.read(MARKET_BARS, series=["QQQ"], end=utc("2025-11-19T15:00"))
    before = bars[bars["bar_start"] < pd.Timestamp(utc("2025-11-19T15:00"))]
    known = after.merge(before, on=["interval", "bar_start"], suffixes=("", "_was"))
    assert len(known) >= len(before) - 2
    assert (known["close"] == known["close_was"]).all()
    assert set(known["basis"]) == {1.0}
    splits = collector.store.read(CORPORATE_ACTIONS, series=["QQQ"])
    splits = splits[splits["kind"] == "split"]
    assert list(zip(splits["ex_date"], splits["value"], strict=True)) == [(EX_DATE, 2.0)]
    # bars that the settle run has read for the first time stand on a basis of their own, rows do not differ for it
    rows = collector.rows().loc[served.index]
    pd.testing.assert_frame_equal(rows[list(collector.columns)], served[list(collector.columns)], check_exact=True)
    assert closed_versions(collector, "ml_features") == 0


def test_history_loaded_after_a_split_gives_the_rows_that_were_served_before_it(workshop: Workshop) -> None:
    early = workshop.bootstrapped(THREE, at=BEFORE)
    assert early.collect(date(2025, 11, 13), date(2025, 11, 17), kind="backfill").status == "ok"
    workshop.simulator.market.add_split("QQQ", EX_DATE, 2.0)
    late = workshop.new(universe=THREE)

    late.at(LATER[1] + timedelta(days=1)).collect()
    assert late.collect(date(2025, 11, 13), date(2025, 11, 17), kind="backfill").status == "ok"

    days = (date(2025, 11, 13), date(2025, 11, 18))
    one, two = early.rows(*days), late.rows(*days)
    assert len(one) == len(two) == 5 * 48
    # prices at T are those of T, whichever representation the source had when they were fetched
    for name in ("ml_qqq_price", "ml_qqq_volatility", "ml_qqq_change_1d", "ml_tech_leadership"):
        pd.testing.assert_series_equal(one[name], two[name], rtol=1e-4, atol=1e-4)
