from __future__ import annotations

import pytest

from market_assets.columns import (
    CORRELATION_COLUMNS,
    VIX_FEAR_INDEX,
    VIX_FEAR_INDEX_SOURCE,
    core_columns,
    feature_columns,
    indicator_columns,
    metric_column,
    metric_columns,
)
from market_assets.universe import UNIVERSE, Category, Ticker, Universe


def test_the_documented_universe_has_58_features_of_which_43_are_core() -> None:
    assert len(feature_columns()) == len(set(feature_columns())) == 58
    assert len(core_columns()) == 43
    assert set(core_columns()) < set(feature_columns())


def test_columns_are_ordered_by_ticker_then_metric_then_indicator() -> None:
    assert metric_columns()[:4] == ("ml_qqq_price", "ml_qqq_change_1d", "ml_qqq_volatility", "ml_spy_price")
    assert metric_columns()[-1] == "ml_dxy_volatility"
    assert indicator_columns() == (
        "ml_risk_on_ratio",
        "ml_innovation_premium",
        "ml_tech_leadership",
        "ml_credit_spreads",
        "ml_flight_to_quality",
        "ml_dollar_strength",
        "ml_market_breadth",
    )
    assert feature_columns() == metric_columns() + indicator_columns()


def test_the_fear_index_is_a_second_name_and_no_feature() -> None:
    assert VIX_FEAR_INDEX not in feature_columns()
    assert VIX_FEAR_INDEX_SOURCE in feature_columns()
    assert not set(CORRELATION_COLUMNS) & set(feature_columns())


def test_a_new_ticker_brings_its_columns_with_it() -> None:
    semiconductors = Ticker("SMH", "SMH", Category.EQUITY_INDICES, "XNYS", "USD", "Semiconductor ETF")
    universe = Universe((*UNIVERSE, semiconductors))
    assert len(feature_columns(universe)) == 61
    assert len(core_columns(universe)) == 46
    assert "ml_smh_volatility" in core_columns(universe)


def test_crypto_references_are_no_features() -> None:
    assert not [column for column in feature_columns() if "btc" in column or "eth_" in column]


def test_an_unknown_metric_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="unknown metric 'close'; known: price, change_1d, volatility"):
        metric_column(UNIVERSE["QQQ"], "close")
