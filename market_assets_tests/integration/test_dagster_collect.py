"""The first collection and the tick after it, of the whole universe: real Dagster runs, yfinance's own client."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from market_assets.store.tables import CRYPTO_CORRELATIONS, CRYPTO_ML_FEATURES, MARKET_BARS, ML_FEATURES, ML_INDICATORS
from market_assets.universe import UNIVERSE
from market_assets_tests.fakes import TimedRequests, true_price
from market_assets_tests.integration.conftest import FIRST_TICK

if TYPE_CHECKING:
    from market_assets_tests.integration.conftest import Workshop

pytestmark = pytest.mark.integration

TODAY = FIRST_TICK.date()


def test_the_first_collection_loads_the_look_back_and_records_only_today(workshop: Workshop) -> None:
    _, first = workshop.prepared(UNIVERSE)
    collector = workshop.bootstrapped(UNIVERSE)

    assert first["status"] == "ok"
    # 19 tickers, 7 indicators, tick, features, correlations, crypto rows: each once, for today
    assert first["materialized"].keys() == {
        *(f"ticker/{ticker.name}" for ticker in UNIVERSE),
        *(f"indicator/{one.name}" for one in collector.indicators),
        "tick",
        "ml_features",
        "crypto_correlations",
        "crypto_ml_features_materialized",
    }
    assert all(partitions == [TODAY.isoformat()] for partitions in first["materialized"].values())
    # one request per ticker and interval, whatever had to be loaded
    asked = {(ticker.yahoo_symbol, interval, 200) for ticker in UNIVERSE for interval in ("15m", "1h", "1d")}
    assert sorted(map(tuple, first["requests"])) == sorted(asked)
    bars = collector.store.read(MARKET_BARS, series=["QQQ"])
    oldest = bars.groupby("interval")["bar_start"].min().dt.date
    assert TODAY - timedelta(days=401) <= oldest["1d"] <= TODAY - timedelta(days=396)
    assert TODAY - timedelta(days=60) <= oldest["15m"] <= TODAY - timedelta(days=57)
    assert oldest["1h"] <= oldest["15m"]
    # what was loaded is enough for every feature, and everything downstream has its rows
    row = collector.row(FIRST_TICK.replace(minute=0))
    assert (row["feature_count"], row["core_count"], row["origin"]) == (58, 43, "live")
    assert row[list(collector.columns)].notna().all()
    assert len(collector.rows()) == 31
    assert len(collector.store.read(ML_INDICATORS)) == 7 * 31
    crypto = collector.store.read(CRYPTO_ML_FEATURES)
    last = crypto.groupby("symbol")["timestamp"].max()
    assert last.to_dict() == dict.fromkeys(["BTC", "ETH"], FIRST_TICK.replace(minute=0))
    # no session of today has closed: the crypto rows of the first day stand on correlations of the days before
    sessions = collector.store.read(CRYPTO_CORRELATIONS)["session"]
    assert sessions.max() == TODAY - timedelta(days=1)
    assert sessions.min() >= TODAY - timedelta(days=10)
    joined = crypto[["ml_nasdaq_correlation", "ml_arkk_correlation", "ml_gold_correlation"]]
    assert joined.notna().all(axis=None)
    assert collector.store.source() == "simulator"


def test_a_second_tick_asks_once_per_ticker_and_interval_and_the_fetches_overlap(workshop: Workshop) -> None:
    collector = workshop.bootstrapped(UNIVERSE)
    server = workshop.simulator
    server.latency = timedelta(milliseconds=400)
    server.requests = seen = TimedRequests()
    server.in_flight_peak = 0
    hanging = server.in_flight  # requests of other tests that are never answered

    tick = collector.at(FIRST_TICK + timedelta(minutes=30)).collect()

    assert tick.success, tick.failed_steps
    symbols = {ticker.yahoo_symbol for ticker in UNIVERSE}
    assert tick.asked() == {(symbol, interval) for symbol in symbols for interval in ("15m", "1d")}
    assert len(tick.requests) == 38
    assert {request.window for request in tick.requests if request.interval == "15m"} == {
        (FIRST_TICK.replace(hour=0, minute=0), FIRST_TICK.replace(hour=0, minute=0) + timedelta(days=1))
    }
    # one cookie and one crumb for all of them
    assert len(seen) <= 40
    assert server.in_flight_peak - hanging == collector.settings.yahoo_workers == 8
    assert seen.span < 0.5 * 38 * 0.4, "one after the other they would take 15.2 s"
    row = collector.row(FIRST_TICK.replace(minute=30))
    assert (row["feature_count"], row["origin"]) == (58, "live")
    # what was served half an hour ago is untouched
    assert len(collector.rows()) == 32
    assert collector.store.read(ML_FEATURES)["known_from"].nunique() == 2
    # everything a person needs stands beside the materialization
    shown = tick.metadata("ticker/QQQ")
    assert shown["requests"] == 2
    assert shown["write/market_bars"] == "2 new, 0 revised, 0 withdrawn, 2 unchanged"
    assert shown["latest_close"] == pytest.approx(true_price(server, "QQQ", FIRST_TICK.replace(minute=30)), rel=1e-6)
    assert {"dagster/row_count", "preview", "closes", "latest_bar_end", "window/15m", "source"} <= shown.keys()
    assert tick.metadata("ml_features")["feature_count"] == 58
    assert {"preview", "highly_correlated"} & tick.metadata("crypto_correlations").keys() or (
        tick.metadata("crypto_correlations")["dagster/row_count"] == 0
    )
    assert tick.metadata("indicator/credit_spreads")["non_null"] == 32
    assert all(check.passed for check in tick.checks.values())
    assert set(tick.checks) == {ticker.name for ticker in UNIVERSE}


def test_one_ticker_materialized_by_hand_collects_that_ticker_and_no_day(workshop: Workshop) -> None:
    collector = workshop.bootstrapped()
    collector.at(FIRST_TICK + timedelta(days=1))

    alone = collector.collect(date(2025, 11, 19), kind="ad_hoc", selection=["ticker/QQQ"])

    assert alone.success, alone.failed_steps
    assert alone.status == "ok"
    assert alone.materialized == {"ticker/QQQ": ["2025-11-19"]}
    assert {request.symbol for request in alone.requests} == {"QQQ"}
    assert alone.record is not None
    assert alone.record.summary["complete"] is False


def test_a_table_of_the_users_own_crypto_prices_is_the_left_side_of_the_join(workshop: Workshop) -> None:
    collector = workshop.bootstrapped(crypto_prices_table="my_prices")
    stamps = ["2025-11-19 03:07:00", "2025-11-19 15:10:00", "2025-11-19 15:40:00"]
    with collector.store.database.engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE my_prices (timestamp TIMESTAMP, symbol TEXT, price REAL, volume REAL, market_cap REAL)"
            )
        )
        for number, stamp in enumerate(stamps):
            values = {"stamp": f"{stamp}.000000", "price": 90_000.5 + number}
            connection.execute(
                sa.text("INSERT INTO my_prices VALUES (:stamp, 'BTC/USDT', :price, 1.5, 1.8e12)"), values
            )

    tick = collector.at(FIRST_TICK + timedelta(minutes=30)).collect()

    assert tick.status == "ok", tick.failed_steps
    rows = collector.store.read(CRYPTO_ML_FEATURES, start=TODAY, series=["BTC/USDT"]).set_index("timestamp")
    # 15:40 is still to come
    assert rows["price"].tolist() == [90_000.5, 90_001.5]
    assert rows["market_cap"].tolist() == [1.8e12, 1.8e12]
    assert rows["ml_qqq_price"].tolist() == [
        collector.row(FIRST_TICK.replace(hour=3, minute=0))["ml_qqq_price"],
        collector.row(FIRST_TICK.replace(minute=0))["ml_qqq_price"],
    ]
    assert rows["ml_nasdaq_correlation"].notna().all()
    # the collected bars no longer make rows of their own
    assert collector.store.read(CRYPTO_ML_FEATURES, start=TODAY, series=["BTC"]).empty
