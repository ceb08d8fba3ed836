"""Wrong numbers that the replaced system produced in silence, each looked for at the end of real runs.

Others are looked for where they would arise: a failed collection reported as done and two schedulers at once in
`test_dagster_failures.py`; backfills that paint today's values into the past, and 48 collections that collapse into one
row, in `test_dagster_days.py`; 0.0067 losing digits in `test_dagster_databases.py`.
"""

from __future__ import annotations

import math
import statistics
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from market_assets.calendars import to_us
from market_assets.row_texts import null_reasons
from market_assets.sources.simulator import Fault, FaultKind
from market_assets.sources.simulator.bars import View
from market_assets.store.tables import CRYPTO_CORRELATIONS, CRYPTO_ML_FEATURES, MARKET_BARS
from market_assets.universe import UNIVERSE
from market_assets_tests.fakes import cell, true_price
from market_assets_tests.integration.conftest import FIRST_TICK

if TYPE_CHECKING:
    from market_assets.sources.simulator import SimulatorServer
    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def true_closes(server: SimulatorServer, symbol: str, until: datetime, count: int) -> list[tuple[date, float]]:
    """Return label and close of the last `count` sessions of `symbol` ended by `until`, straight from the market."""
    instrument = server.market.instrument(symbol)
    assert instrument is not None
    rows = View(server.market, instrument, to_us(until)).rows("1d", to_us(until - timedelta(days=60)), to_us(until))
    sessions = server.market.calendar(instrument).sessions(until.date() - timedelta(days=60), until.date())
    ended = set(sessions.label[sessions.close_us <= to_us(until)].tolist())
    closes = {
        label: float(np.float32(close))
        for label, close in zip(rows.label.tolist(), rows.close.tolist(), strict=True)
        if label in ended
    }
    return sorted(closes.items())[-count:]


def test_volatility_is_that_of_the_closes_and_never_a_constant_zero(workshop: Workshop) -> None:
    collector, _ = workshop.after_the_week()
    rows = collector.rows()
    for ticker in collector.universe.features:
        written = rows[f"ml_{ticker.name.lower()}_volatility"].dropna()
        assert len(written) > 0.9 * len(rows), ticker.name
        assert (written > 0.01).all(), ticker.name
        assert written.nunique() >= 5, f"{ticker.name}: a session that closes moves it"
    # recomputed from the market alone: closes and dividends of 21 sessions, sample deviation of 20 returns
    at = utc("2024-11-29T18:00")
    closes = true_closes(workshop.simulator, "QQQ", at, 21)
    assert closes[-1][0] == date(2024, 11, 29)
    assert len(closes) == 21
    instrument = workshop.simulator.market.instrument("QQQ")
    assert instrument is not None
    ex_dates = set(workshop.simulator.market.ex_dates(instrument))
    assert not {day for day, _ in closes} & ex_dates, "this window has no dividend to add"
    returns = [math.log(after / before) for (_, before), (_, after) in pairwise(closes)]
    expected = 100 * statistics.stdev(returns)
    assert collector.row(at)["ml_qqq_volatility"] == pytest.approx(expected, rel=1e-9)


def test_a_missing_ticker_is_null_with_its_name_and_makes_no_one_legged_spread(workshop: Workshop) -> None:
    collector = workshop.bootstrapped()
    workshop.simulator.faults.add(Fault(kind=FaultKind.NOT_FOUND, symbol="HYG"))

    tick = collector.at(FIRST_TICK + timedelta(hours=3)).collect()

    assert tick.status == "partial"
    row = collector.row(FIRST_TICK.replace(hour=18, minute=0))
    assert not pd.isna(row["ml_lqd_change_1d"]), "the other leg is there"
    missing = ["ml_hyg_price", "ml_hyg_change_1d", "ml_credit_spreads"]
    assert row[missing].isna().all()
    assert null_reasons(row["reasons"], collector.universe)["ml_credit_spreads"] == "HYG stale"
    assert row["feature_count"] <= len(collector.columns) - 3
    values = [row[name] for name in collector.columns]
    assert not any(value == 0 for value in values)


def test_fridays_change_is_no_new_session_on_saturday_and_sunday(workshop: Workshop) -> None:
    collector, _ = workshop.after_the_week()
    friday = collector.row(utc("2024-11-29T18:00"))
    weekend = collector.rows(date(2024, 11, 30), date(2024, 12, 2))
    assert len(weekend) == 96
    for ticker in ("qqq", "hyg", "lqd"):
        for metric in ("price", "change_1d", "volatility"):
            assert set(weekend[f"ml_{ticker}_{metric}"]) == {friday[f"ml_{ticker}_{metric}"]}
    assert all('"QQQ":[' in ages and '"closed"' in ages for ages in weekend["ages"])
    # no correlation is measured at a session that never was, nor is a bar of one stored
    sessions = collector.store.read(CRYPTO_CORRELATIONS, start=date(2024, 11, 22), series=["BTC"])
    assert set(sessions.loc[sessions["ticker"] == "QQQ", "session"]) == {
        date(2024, 11, day) for day in (22, 25, 26, 27, 29)
    } | {date(2024, 12, 2)}
    bars = collector.store.read(MARKET_BARS, start=date(2024, 11, 30), end=date(2024, 12, 2), series=["QQQ", "VIX"])
    assert bars.empty


def test_a_running_bar_is_never_stored_and_never_taken_for_a_close(workshop: Workshop) -> None:
    collector, runs = workshop.after_the_week()
    for run in runs:
        at = datetime.fromisoformat(run["at"])
        known = collector.store.read(MARKET_BARS, as_of=at + timedelta(seconds=30))
        lag = known["ticker"].map({ticker.name: pd.Timedelta(ticker.feed_lag) for ticker in UNIVERSE})
        assert (known["bar_end"] + lag <= at).all(), at
    # while Friday's session runs, its daily bar is not there and the volatility stands on Wednesday's close
    running = utc("2024-11-29T17:30")
    known = collector.store.read(
        MARKET_BARS, start=date(2024, 11, 27), series=["QQQ"], intervals=["1d"], as_of=running + timedelta(minutes=2)
    )
    assert known["bar_start"].dt.date.tolist() == [date(2024, 11, 27)]
    assert collector.row(running)["ml_qqq_volatility"] == collector.row(utc("2024-11-27T21:00"))["ml_qqq_volatility"]
    # afterwards it is, with the close of the half day
    daily = collector.store.read(MARKET_BARS, start=date(2024, 11, 29), series=["QQQ"], intervals=["1d"])
    assert daily["close"].iloc[0] == true_price(workshop.simulator, "QQQ", utc("2024-11-29T18:00"))


def test_a_crypto_row_at_three_in_the_morning_does_not_see_that_evenings_close(workshop: Workshop) -> None:
    collector, _ = workshop.after_the_week()
    crypto = collector.store.read(CRYPTO_ML_FEATURES, series=["BTC"]).set_index("timestamp")

    def qqq(text: str) -> float:
        return true_price(workshop.simulator, "QQQ", utc(text))

    # the evening of Tuesday the 26th closed at another price than the night before it had seen
    monday, tuesday = qqq("2024-11-25T21:00"), qqq("2024-11-26T21:00")
    assert monday != tuesday
    assert cell(crypto, utc("2024-11-26T03:00"), "ml_qqq_price") == monday
    assert cell(crypto, utc("2024-11-26T21:00"), "ml_qqq_price") == tuesday
    assert cell(crypto, utc("2024-11-27T03:00"), "ml_qqq_price") == tuesday
    assert cell(crypto, utc("2024-11-26T03:00"), "price") == true_price(
        workshop.simulator, "BTC-USD", utc("2024-11-26T03:00")
    )
    # a crypto row between two observation times has the row before it, never the one after
    assert cell(crypto, utc("2024-11-26T15:15"), "ml_qqq_price") == qqq("2024-11-26T15:00")
    # neither does it see that evening's correlation
    sessions = collector.store.read(CRYPTO_CORRELATIONS, series=["BTC"])
    sessions = sessions[(sessions["ticker"] == "QQQ") & (sessions["sessions"] == 20)].set_index("session")
    for at, session in [("2024-11-26T03:00", 25), ("2024-11-26T20:45", 25), ("2024-11-26T21:00", 26)]:
        expected = cell(sessions, date(2024, 11, session), "correlation")
        assert cell(crypto, utc(at), "ml_nasdaq_correlation") == expected
    assert sessions["correlation"].nunique() == len(sessions)


def test_no_value_is_lost_between_the_wire_and_the_feature_row(workshop: Workshop) -> None:
    collector, _ = workshop.after_the_week()
    at = utc("2024-12-02T14:30")
    row = collector.row(at)
    for name, symbol, lag in [("qqq", "QQQ", 0), ("hyg", "HYG", 0), ("lqd", "LQD", 0), ("vix", "^VIX", 15)]:
        assert row[f"ml_{name}_price"] == true_price(workshop.simulator, symbol, at, lag=timedelta(minutes=lag)), name
    yen = true_price(workshop.simulator, "JPY=X", at)
    assert row["ml_jpyusd_price"] == 1 / yen
    assert 0.004 < row["ml_jpyusd_price"] < 0.02
