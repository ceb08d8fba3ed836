"""The crypto table's join: what was known at the row's time, never what belongs to its date."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pandas as pd
import pytest

from market_assets.columns import feature_columns
from market_assets.crypto_join import (
    CORRELATION_JOIN_DAYS,
    FEATURE_MAX_AGE,
    LEFT_COLUMNS,
    crypto_rows_from_bars,
    join_crypto_rows,
    reference_of,
)
from market_assets.errors import NaiveTimestampError
from market_assets.universe import UNIVERSE, Universe
from market_assets_tests.market_frames import at, daily, walk


def left_rows(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "symbol": [symbol for symbol, _ in rows],
            "timestamp": pd.to_datetime([time for _, time in rows], utc=True, format="ISO8601").as_unit("us"),
            "price": [50_000.0 + number for number in range(len(rows))],
            "volume": 1.0,
            "market_cap": np.nan,
        }
    )


def feature_rows(values: dict[str, float]) -> pd.DataFrame:
    """Return feature rows whose columns all hold the value, but the VIX, which holds it a hundredfold."""
    frame = pd.DataFrame({column: list(values.values()) for column in feature_columns()})
    frame["ml_vix_price"] *= 100.0
    frame.insert(0, "observed_at", pd.to_datetime(list(values), utc=True).as_unit("us"))
    return frame


def correlation_rows(*rows: tuple[str, str, int, str, float]) -> pd.DataFrame:
    columns = ["crypto", "ticker", "sessions", "session", "correlation"]
    return pd.DataFrame([(*row[:3], date.fromisoformat(row[3]), row[4]) for row in rows], columns=columns).assign(
        pairs=20
    )


NO_CORRELATIONS = correlation_rows()
FEATURES = feature_rows({"2024-03-06 20:30Z": 1.0, "2024-03-06 21:00Z": 2.0, "2024-03-06 21:30Z": 3.0})


def test_a_row_gets_the_last_feature_row_observed_by_then() -> None:
    left = left_rows(
        ("BTC", "2024-03-06 20:29:59Z"), ("BTC", "2024-03-06 20:30Z"), ("BTC", "2024-03-06 20:59:59.999999Z"),
        ("ETH", "2024-03-06 21:00Z"), ("ETH", "2024-03-07 12:00Z"),
    )  # fmt: skip
    joined = join_crypto_rows(left, FEATURES, NO_CORRELATIONS)
    assert np.array_equal(joined["ml_qqq_price"], [np.nan, 1.0, 1.0, 2.0, 3.0], equal_nan=True)
    assert (
        joined["ml_vix_fear_index"].tolist()[1:] == joined["ml_vix_price"].tolist()[1:] == [100.0, 100.0, 200.0, 300.0]
    )


def test_a_row_at_three_in_the_morning_cannot_see_that_days_close() -> None:
    features = feature_rows({"2024-03-06 03:00Z": 1.0, "2024-03-06 21:00Z": 2.0})
    correlations = correlation_rows(("BTC", "QQQ", 20, "2024-03-05", 0.1), ("BTC", "QQQ", 20, "2024-03-06", 0.9))
    joined = join_crypto_rows(left_rows(("BTC", "2024-03-06 03:00Z")), features, correlations)
    assert joined["ml_qqq_price"].tolist() == [1.0]
    assert joined["ml_nasdaq_correlation"].tolist() == [0.1]


def test_a_correlation_counts_from_the_close_of_its_session_on() -> None:
    correlations = correlation_rows(
        ("BTC", "QQQ", 20, "2024-03-08", 0.1),
        ("BTC", "QQQ", 20, "2024-03-11", 0.2),
        ("BTC", "QQQ", 90, "2024-03-11", 0.7),
        ("BTC", "ARKK", 20, "2024-03-11", 0.3),
        ("BTC", "GLD", 20, "2024-03-11", 0.4),
        ("ETH", "QQQ", 20, "2024-03-11", 0.5),
        ("BTC", "SPY", 20, "2024-03-11", 0.6),
    )
    # Summer time began on the 10th: Monday's session ends at 20:00 UTC, Friday's ended at 21:00.
    left = left_rows(("BTC", "2024-03-10 12:00Z"), ("BTC", "2024-03-11 19:59Z"), ("BTC", "2024-03-11 20:00Z"),
                     ("ETH", "2024-03-11 20:00Z"))  # fmt: skip
    joined = join_crypto_rows(left, FEATURES, correlations)
    assert joined["ml_nasdaq_correlation"].tolist() == [0.1, 0.1, 0.2, 0.5]
    assert joined["ml_arkk_correlation"].tolist()[2] == 0.3
    assert joined["ml_gold_correlation"].tolist()[2] == 0.4
    assert math.isnan(joined["ml_arkk_correlation"][3])


def test_an_older_session_never_stands_in_for_a_missing_one() -> None:
    correlations = correlation_rows(("BTC", "QQQ", 20, "2024-03-05", 0.1), ("BTC", "QQQ", 20, "2024-03-06", math.nan))
    left = left_rows(("BTC", "2024-03-06 20:00Z"), ("BTC", "2024-03-07 00:00Z"), ("BTC", "2024-03-08 00:00Z"))
    joined = join_crypto_rows(left, FEATURES, correlations)
    assert joined["ml_nasdaq_correlation"].tolist()[0] == 0.1
    assert joined["ml_nasdaq_correlation"].isna().tolist() == [False, True, True]


def test_a_feature_row_of_yesterday_is_known_and_an_older_one_is_not() -> None:
    assert FEATURE_MAX_AGE.days == 1
    left = left_rows(("BTC", "2024-03-07 21:30Z"), ("BTC", "2024-03-07 21:30:00.000001Z"))
    joined = join_crypto_rows(left, FEATURES, NO_CORRELATIONS)
    assert joined["ml_qqq_price"].isna().tolist() == [False, True]


def test_rows_keep_their_order_and_their_own_values() -> None:
    left = left_rows(("SOL", "2024-03-06 21:15Z"), ("BTC", "2024-03-06 20:45Z"), ("ETH", "2024-03-06 21:45Z"))
    joined = join_crypto_rows(left.assign(market_cap=[1e9, np.nan, 2e9]), FEATURES.iloc[::-1], NO_CORRELATIONS)
    assert joined["symbol"].tolist() == ["SOL", "BTC", "ETH"]
    assert joined["price"].tolist() == left["price"].tolist()
    assert joined["market_cap"].fillna(0.0).tolist() == [1e9, 0.0, 2e9]
    assert joined["ml_spy_change_1d"].tolist() == [2.0, 1.0, 3.0]
    assert joined["timestamp"].equals(left["timestamp"])


def test_the_columns_are_those_of_the_table() -> None:
    joined = join_crypto_rows(left_rows(), FEATURES, NO_CORRELATIONS)
    assert joined.empty
    assert list(joined.columns) == [
        *LEFT_COLUMNS,
        *feature_columns(),
        "ml_nasdaq_correlation",
        "ml_arkk_correlation",
        "ml_gold_correlation",
        "ml_vix_fear_index",
    ]


def test_without_feature_rows_the_features_are_gaps() -> None:
    joined = join_crypto_rows(left_rows(("BTC", "2024-03-06 20:45Z")), FEATURES.iloc[:0], NO_CORRELATIONS)
    assert joined[list(feature_columns())].isna().all(axis=None)


def test_a_smaller_universe_has_gaps_where_its_tickers_were() -> None:
    universe = Universe(tuple(ticker for ticker in UNIVERSE if ticker.name not in {"GLD", "VIX"}))
    joined = join_crypto_rows(left_rows(("BTC", "2024-03-06 20:45Z")), FEATURES, NO_CORRELATIONS, universe=universe)
    assert joined["ml_gold_correlation"].isna().all()
    assert joined["ml_vix_fear_index"].isna().all()


@pytest.mark.parametrize("symbol", ["BTC", "btc", "BTC-USD", "BTCUSDT", "BTC/USDT", "btc_usdc"])
def test_a_users_symbol_is_recognised(symbol: str) -> None:
    assert reference_of(symbol) == "BTC"


@pytest.mark.parametrize("symbol", ["SOL", "WBTC", "BTCDOM", "ETHBTC", ""])
def test_other_symbols_are_no_reference(symbol: str) -> None:
    assert reference_of(symbol) is None


def test_naive_times_and_duplicate_feature_rows_are_refused() -> None:
    left = left_rows(("BTC", "2024-03-06 20:45Z"))
    with pytest.raises(NaiveTimestampError, match="timestamp"):
        join_crypto_rows(left.assign(timestamp=left["timestamp"].dt.tz_localize(None)), FEATURES, NO_CORRELATIONS)
    with pytest.raises(ValueError, match="two feature rows share an observed_at"):
        join_crypto_rows(left, pd.concat([FEATURES, FEATURES]), NO_CORRELATIONS)


def test_collected_bars_make_one_row_per_bar_end_with_the_shortest_bar() -> None:
    quarters = at("15m", "BTC", {"2024-03-06 23:30": 1.0, "2024-03-06 23:45": 2.0})
    bars = pd.concat([daily("BTC", {"2024-03-06": 9.0}), at("1h", "BTC", {"2024-03-06 23:00": 8.0}), quarters])
    rows = crypto_rows_from_bars(pd.concat([bars, at("1h", "ETH", {"2024-03-06 22:00": 7.0})]))
    assert list(rows.columns) == list(LEFT_COLUMNS)
    assert rows["symbol"].tolist() == ["BTC", "BTC", "ETH"]
    assert rows["price"].tolist() == [1.0, 2.0, 7.0]
    assert rows["timestamp"].dt.strftime("%H:%M").tolist() == ["23:45", "00:00", "23:00"]
    assert rows["market_cap"].isna().all()
    assert crypto_rows_from_bars(walk("BTC", "1h", "2024-03-06", "2024-03-06")).empty


def test_the_days_of_correlations_to_read_hold_the_last_session() -> None:
    assert CORRELATION_JOIN_DAYS >= 6
