"""Prices and level ratios on the basis of a reader's choice."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from market_assets.client import FeatureStore
from market_assets.client.bases import columns_to_rescale, level_tickers
from market_assets.client.columns import Catalogue
from market_assets.errors import FeatureRequestError
from market_assets.features import compute_feature_rows
from market_assets.indicators import INDICATORS, Indicator
from market_assets.maths.arrays import instants_us
from market_assets.metrics import TickerLog
from market_assets.store.tables import CORPORATE_ACTIONS, MARKET_BARS
from market_assets_tests.feature_log import STORY, STORY_EX_DATE, STORY_SPLIT, FeatureLog, made_up_bars, universe_of
from market_assets_tests.market_frames import action_frame

if TYPE_CHECKING:
    from pathlib import Path

    from market_assets.indicators import IndicatorInputs
    from market_assets.maths.quantity import Quantity

#: 00:00 New York of the ex-date
EX_AT = pd.Timestamp(STORY_EX_DATE, tz="America/New_York").tz_convert("UTC")


def test_it_is_found_out_which_indicators_a_split_changes() -> None:
    levels = {indicator.name: level_tickers(indicator) for indicator in INDICATORS}
    assert levels == {
        "risk_on_ratio": {"QQQ", "HYG", "VIX", "TLT"},
        "innovation_premium": {"ARKK", "QQQ"},
        "tech_leadership": {"QQQ", "SPY"},
        "credit_spreads": set(),
        "flight_to_quality": set(),
        "dollar_strength": set(),
        "market_breadth": {"SPY", "IWM"},
    }
    whole = Catalogue.whole()
    assert columns_to_rescale(whole, ["ml_tech_leadership", "ml_qqq_price", "ml_dollar_strength"]) == ("ml_spy_price",)


def test_a_history_is_continuous_on_the_basis_of_as_of(story: FeatureLog) -> None:
    at_t, as_of = (story.client.history("2026-03-02", basis=basis) for basis in ("at_T", "as_of"))
    before = (at_t["observed_at"] < EX_AT).to_numpy()
    assert 0 < before.sum() < len(before)
    np.testing.assert_array_equal(as_of["ml_qqq_price"][before], at_t["ml_qqq_price"][before] / STORY_SPLIT)
    np.testing.assert_array_equal(as_of["ml_qqq_price"][~before], at_t["ml_qqq_price"][~before])
    steps = np.abs(np.diff(np.log(as_of["ml_qqq_price"].dropna())))
    assert steps.max() < 0.1
    assert np.abs(np.diff(np.log(at_t["ml_qqq_price"].dropna()))).max() > 1.0


def test_level_ratios_are_computed_again_from_the_rescaled_prices(story: FeatureLog) -> None:
    at_t, as_of = (story.client.history("2026-03-02", basis=basis) for basis in ("at_T", "as_of"))
    prices = {name: as_of[f"ml_{name}_price"] for name in ("qqq", "hyg", "vix", "tlt")}
    expected = (prices["qqq"] + prices["hyg"]) / (prices["vix"] + prices["tlt"])
    np.testing.assert_array_equal(as_of["ml_risk_on_ratio"], expected)
    before = (at_t["observed_at"] < EX_AT).to_numpy()
    assert (as_of["ml_risk_on_ratio"][before] < 0.5 * at_t["ml_risk_on_ratio"][before]).all()
    # The components need not be asked for.
    alone = story.client.history("2026-03-02", features=["ml_risk_on_ratio"])
    np.testing.assert_array_equal(alone["ml_risk_on_ratio"], expected)


def test_rescaled_rows_have_the_bits_of_rows_computed_on_that_basis(story: FeatureLog) -> None:
    """Independent of the client: the maths, told that the bars had stood on the new basis all along."""
    read = story.store.read
    logs = {}
    for ticker in STORY.features:
        bars = read(MARKET_BARS, series=[ticker.name])
        if ticker.name == "QQQ":
            old = bars["bar_start"] < EX_AT
            bars.loc[old, "close"] /= STORY_SPLIT
        logs[ticker.name] = TickerLog(ticker, bars, read(CORPORATE_ACTIONS, series=[ticker.name]).iloc[:0])
    as_of = story.client.history("2026-03-02", features=["ml_qqq_price", "ml_risk_on_ratio"])
    rows = compute_feature_rows(
        logs, instants_us(as_of["observed_at"]), universe=STORY, indicators=story.indicators
    ).to_frame()
    for name in ("ml_qqq_price", "ml_risk_on_ratio"):
        np.testing.assert_array_equal(as_of[name], rows[name])


def test_returns_volatilities_and_correlations_stand_on_no_basis(story: FeatureLog) -> None:
    at_t, as_of = (story.client.history(basis=basis) for basis in ("at_T", "as_of"))
    unchanged = [name for name in story.catalogue.features if name not in {"ml_qqq_price", "ml_risk_on_ratio"}]
    pd.testing.assert_frame_equal(as_of[unchanged], at_t[unchanged], check_exact=True)


def test_only_splits_known_and_in_force_at_as_of_count(story: FeatureLog) -> None:
    window = ("2026-03-03", "2026-03-04")
    before = story.client.history(*window, as_of="2026-03-05T13:00Z", basis="as_of")
    pd.testing.assert_frame_equal(before, story.client.history(*window, as_of="2026-03-05T13:00Z", basis="at_T"))
    after = story.client.history(*window, as_of="2026-03-05T14:02Z")
    assert (after["ml_qqq_price"] == before["ml_qqq_price"] / STORY_SPLIT).sum() > 40


def test_training_sets_are_as_served_unless_asked_otherwise(story: FeatureLog) -> None:
    """On the basis of as_of the level of a row before the split would tell the model that a split came."""
    asked = pd.DataFrame({"timestamp": pd.to_datetime(["2026-03-03T15:35Z", "2026-03-05T15:35Z"])})
    served, rescaled = (story.client.training_set(asked, basis=basis) for basis in ("at_T", "as_of"))
    assert story.client.training_set(asked).attrs["basis"] == "at_T"
    assert (served["ml_qqq_price"] / rescaled["ml_qqq_price"]).tolist() == [STORY_SPLIT, 1.0]
    assert served["ml_hyg_price"].tolist() == rescaled["ml_hyg_price"].tolist()


def test_a_row_that_was_served_before_the_split_was_known_is_rescaled_by_it(tmp_path: Path) -> None:
    """At the ex-date's midnight the split counts; whether a row stands on it, the row says itself."""
    bars = made_up_bars(["QQQ"], "2026-02-20", "2026-03-03", "2026-03-05")
    log = FeatureLog.open(tmp_path / "m.db", universe_of("QQQ"), bars)
    log.tick(datetime(2026, 3, 4, 1, 1, tzinfo=UTC), date(2026, 2, 20), date(2026, 3, 4))
    log.tick(datetime(2026, 3, 4, 6, 1, tzinfo=UTC))
    log.actions = action_frame("QQQ", [("split", "2026-03-04", 4.0)])
    # After the open the source knows the split, and has rebased nothing yet.
    log.collect_bars(datetime(2026, 3, 4, 15, 1, tzinfo=UTC))
    client = log.client
    at = pd.Timestamp("2026-03-04T06:00Z")
    served = client.history(at, at + pd.Timedelta("1us"), basis="at_T")["ml_qqq_price"].iloc[0]
    assert client.history(at, at + pd.Timedelta("1us"))["ml_qqq_price"].iloc[0] == served / 4.0
    log.build(datetime(2026, 3, 4, 15, 1, tzinfo=UTC))
    rebuilt = client.history(at, at + pd.Timedelta("1us"), basis="at_T")["ml_qqq_price"].iloc[0]
    assert rebuilt == served / 4.0
    assert client.history(at, at + pd.Timedelta("1us"))["ml_qqq_price"].iloc[0] == rebuilt
    log.store.close()


def test_a_split_that_is_known_but_not_in_force_rescales_nothing(tmp_path: Path) -> None:
    bars = made_up_bars(["QQQ"], "2026-02-20", "2026-03-03", "2026-03-05")
    announced = action_frame("QQQ", [("split", "2026-03-05", 4.0)])
    log = FeatureLog.open(tmp_path / "m.db", universe_of("QQQ"), bars, announced)
    log.tick(datetime(2026, 3, 4, 15, 31, tzinfo=UTC), date(2026, 3, 3), date(2026, 3, 5))
    assert len(log.store.read(CORPORATE_ACTIONS)) == 1
    at_t, as_of = (log.client.history(basis=basis) for basis in ("at_T", "as_of"))
    np.testing.assert_array_equal(at_t["ml_qqq_price"], as_of["ml_qqq_price"])
    assert at_t["ml_qqq_price"].notna().any()
    log.store.close()


def _against_its_close(inputs: IndicatorInputs) -> Quantity:
    return inputs.price("QQQ") / inputs.close_before("HYG", 1)


def test_an_indicator_that_cannot_be_computed_from_its_row_is_refused_only_where_a_split_matters(
    story: FeatureLog,
) -> None:
    odd = replace(INDICATORS[0], inputs=("QQQ", "HYG"), compute=_against_its_close)
    assert isinstance(odd, Indicator)
    assert level_tickers(odd) == {"QQQ", "HYG"}
    client = FeatureStore(store=story.store, universe=STORY, indicators=[odd])
    assert len(client.history("2026-03-05T14:00Z", features=[odd.column])) > 0
    assert len(client.history(features=[odd.column], basis="at_T")) > 0
    with pytest.raises(FeatureRequestError, match=r'a split of HYG or QQQ changes it.*ask for basis="at_T"'):
        client.history(features=[odd.column])
