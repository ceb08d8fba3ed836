"""Ten years of real daily data: every value of the package against the independent route."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from market_assets.correlations import session_correlations
from market_assets.features import FeatureRows, compute_feature_rows
from market_assets.indicators import INDICATORS
from market_assets_tests.independent import reference
from market_assets_tests.independent.engine import daily_bars, etf_log, plain_log, us_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INDICES = ("VIX", "DXY")
#: 17:30 New York: every session of the day is completed, feed lags over, and every venue but FX is closed
EVENING = pd.Timedelta("17h30min")
REL, ABS = 1e-12, 1e-12


@cache
def closes(shared: Path) -> pd.DataFrame:
    return pd.concat([reference.etf_closes(shared), reference.index_closes(shared)], axis=1)


@cache
def evenings(shared: Path) -> FeatureRows:
    logs = {name: etf_log(shared, name) for name in reference.names_of(reference.etf_closes(shared))}
    logs |= {name: plain_log(name, daily_bars(name, closes(shared)[name])) for name in INDICES}
    days = reference.days_of(closes(shared))
    return compute_feature_rows(logs, us_of((days + EVENING).tz_localize(reference.NEW_YORK)))


@cache
def paid(shared: Path) -> pd.DataFrame:
    return reference.dividends(shared).reindex(columns=closes(shared).columns, fill_value=0.0)


def assert_same(name: str, actual: np.ndarray[tuple[int], np.dtype[np.float64]], expected: pd.Series) -> None:
    """Every value, and every gap."""
    np.testing.assert_allclose(actual, expected.to_numpy(), rtol=REL, atol=ABS, equal_nan=True, err_msg=name)


def test_the_calendar_has_the_days_on_which_the_market_traded(shared_dir: Path) -> None:
    rows = evenings(shared_dir)
    for metrics in rows.tickers.values():
        table = metrics.series.table
        days = closes(shared_dir).index.to_numpy().astype("datetime64[D]")
        inside = (table.label >= days[0]) & (table.label <= days[-1])
        assert table.label[inside].tolist() == days.tolist()


def test_prices_stand_on_the_basis_in_force(shared_dir: Path) -> None:
    rows, series = evenings(shared_dir), closes(shared_dir)
    days = reference.days_of(series)
    for name in reference.names_of(series):
        before = np.where((name == "USO") & (days < reference.USO_EX_DATE), reference.USO_RATIO, 1.0)
        assert_same(name, rows.tickers[name].price.value, series[name] * before)


def test_changes_are_total_returns(shared_dir: Path) -> None:
    rows, series = evenings(shared_dir), closes(shared_dir)
    for name in reference.names_of(series):
        assert_same(name, rows.tickers[name].change_1d.value, reference.changes(series[name], paid(shared_dir)[name]))


def test_volatilities_agree(shared_dir: Path) -> None:
    rows, series = evenings(shared_dir), closes(shared_dir)
    for name in reference.names_of(series):
        returns = reference.log_returns(series[name], paid(shared_dir)[name])
        assert_same(name, rows.tickers[name].volatility.value, reference.volatility(returns))


def test_total_returns_are_those_of_the_dividend_adjusted_closes(shared_dir: Path) -> None:
    """Not by the same formula: Yahoo multiplies where total returns add, so that they differ in second order."""
    adjusted = reference._daily_file(shared_dir, "etf_adjclose_yahoo_dsturdy").set_index("date")
    rows = evenings(shared_dir)
    days = closes(shared_dir).index
    for name in ("SPY", "HYG", "TLT", "ARKK"):
        change = pd.Series(rows.tickers[name].change_1d.value, index=days)
        theirs = 100.0 * (adjusted[name] / adjusted[name].shift(1) - 1.0)
        both = pd.concat([change, theirs], axis=1).loc["2017-06-02" : reference.LAST_ADJUSTED_DAY].dropna()
        assert (both[0] - both[name]).abs().max() < 0.1
        assert (both[0] - both[name]).abs().median() < 1e-4


def test_indicators_agree(shared_dir: Path) -> None:
    rows, series, dividends = evenings(shared_dir), closes(shared_dir), paid(shared_dir)

    def by_name(function: Callable[[pd.Series, pd.Series], pd.Series]) -> pd.DataFrame:
        return pd.DataFrame({name: function(series[name], dividends[name]) for name in reference.names_of(series)})

    expected = reference.indicators(
        series,
        by_name(reference.changes),
        by_name(reference.log_returns),
        series["DXY"],
    )
    for column in reference.names_of(expected):
        assert_same(column, rows.quantities[column].value, expected[column])
        assert expected[column].notna().sum() > 2000


def test_identities_hold_on_every_day(shared_dir: Path) -> None:
    value = {name: quantity.value for name, quantity in evenings(shared_dir).quantities.items()}
    product = value["ml_innovation_premium"] * value["ml_tech_leadership"]
    np.testing.assert_allclose(product, value["ml_arkk_price"] / value["ml_spy_price"], rtol=1e-14)
    product = value["ml_tech_leadership"] * value["ml_market_breadth"]
    np.testing.assert_allclose(product, value["ml_qqq_price"] / value["ml_iwm_price"], rtol=1e-14)


def test_nearly_all_values_lie_in_the_plausible_ranges(shared_dir: Path) -> None:
    rows = evenings(shared_dir)
    for indicator in INDICATORS:
        value = rows.quantities[indicator.column].value
        value = value[~np.isnan(value)]
        assert indicator.plausible[0] < value.min()
        assert value.max() < indicator.plausible[1]


def test_the_next_morning_carries_the_evening(shared_dir: Path) -> None:
    series = closes(shared_dir)
    names = ("SPY", "TLT", "USO", "VIX")
    logs = {name: etf_log(shared_dir, name) for name in names[:3]}
    logs["VIX"] = plain_log("VIX", daily_bars("VIX", series["VIX"]))
    mornings = reference.days_of(series) + pd.Timedelta("1D")
    rows = compute_feature_rows(logs, us_of((mornings + pd.Timedelta("8h")).tz_localize(reference.NEW_YORK)))
    evening = evenings(shared_dir)
    for name in names:
        for metric in ("change_1d", "volatility"):
            column = f"ml_{name.lower()}_{metric}"
            assert rows.quantities[column].value.tobytes() == evening.quantities[column].value.tobytes()
        before = np.where((name == "USO") & (mornings < reference.USO_EX_DATE), reference.USO_RATIO, 1.0)
        assert_same(name, rows.tickers[name].price.value, series[name] * before)


def test_currency_volatility_from_daily_rows_alone(shared_dir: Path) -> None:
    """At 17:30 New York the rows of the last two sessions' closes are not complete yet: 18 of 20 returns."""
    rows = reference.fx_rows(shared_dir)
    for name in reference.names_of(rows):
        session_closes = reference.fx_session_closes(rows[name].dropna())
        days = reference.days_of(session_closes)[30:-3]
        log = plain_log(name, daily_bars(name, rows[name]))
        result = compute_feature_rows({name: log}, us_of((days + EVENING).tz_localize(reference.NEW_YORK)))
        expected = []
        array = session_closes.to_numpy()
        for end in range(31, 31 + len(days)):
            window = np.append(array[end - 21 : end - 2], [np.nan, np.nan])
            returns = np.diff(np.log(window))
            returns = returns[~np.isnan(returns)]
            expected.append(100.0 * np.std(returns, ddof=1) if len(returns) >= 18 else np.nan)
        assert_same(name, result.tickers[name].volatility.value, pd.Series(expected))
        assert np.isnan(expected).mean() < 0.05
        assert result.tickers[name].price.is_null.all()
        assert set(result.tickers[name].notes.tolist()) == {"approximate"}


@pytest.mark.parametrize("window", [20, 90])
def test_crypto_correlations_from_daily_bars_alone(shared_dir: Path, window: int) -> None:
    """Crypto is the UTC-daily close that follows the session's: the one of the same date, known at midnight."""
    crypto, series = reference.crypto_closes(shared_dir), closes(shared_dir).loc["2018":]
    sampled = crypto["BTC-USD"].reindex(reference.days_of(series))
    x = reference.log(sampled / sampled.shift(1)).set_axis(series.index)
    logs = {"QQQ": etf_log(shared_dir, "QQQ")}
    logs["VIX"] = plain_log("VIX", daily_bars("VIX", series["VIX"]))
    frame = session_correlations(
        plain_log("BTC", daily_bars("BTC", crypto["BTC-USD"])),
        logs,
        start=reference.days_of(series)[100].date(),
        end=reference.days_of(series)[-1].date(),
        now_us=int(us_of(pd.DatetimeIndex(["2026-08-21 21:30+00:00"]))[0]),
        sessions=(window,),
    )
    for name in logs:
        y = reference.log_returns(closes(shared_dir)[name], paid(shared_dir)[name]).reindex(series.index)
        expected, pairs = reference.correlation(x, y, window, last_is_unknown=True)
        own = frame[frame["ticker"] == name]
        assert own["session"].tolist() == [day.date() for day in reference.days_of(series)[100:]]
        assert_same(name, own["correlation"].to_numpy(), expected.iloc[100:])
        assert own["pairs"].tolist() == pairs.iloc[100:].tolist()


def test_the_measured_correlations_are_those_that_daily_data_has_always_shown(shared_dir: Path) -> None:
    """And not the documented ones: the market is said to have .80 with ARKK and -.65 with the VIX."""
    series = closes(shared_dir)
    logs = {"ARKK": etf_log(shared_dir, "ARKK"), "VIX": plain_log("VIX", daily_bars("VIX", series["VIX"]))}
    crypto = daily_bars("BTC", reference.crypto_closes(shared_dir)["BTC-USD"])
    frame = session_correlations(
        plain_log("BTC", crypto),
        logs,
        start=pd.Timestamp("2020-01-01").date(),
        end=pd.Timestamp("2024-12-31").date(),
        now_us=int(us_of(pd.DatetimeIndex(["2025-01-01 00:00+00:00"]))[0]),
        sessions=(90,),
    )
    means = frame.groupby("ticker")["correlation"].mean()
    assert means["ARKK"] == pytest.approx(0.38, abs=0.01)
    assert means["VIX"] == pytest.approx(-0.30, abs=0.01)
