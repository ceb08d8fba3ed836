"""The correlation analysis on real prices against plain pandas: every date, every choice.

The plain route knows no session, no bar and no calendar of the package: prices, `resample`, `diff`, `pct_change`,
`rolling().corr()` and `DataFrame.corr()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from market_assets.analysis import analyse, rolling_correlation
from market_assets.analysis.definitions import Definition, Pairing, ReturnKind, Sampling
from market_assets.analysis.survey import survey
from market_assets.universe import UNIVERSE
from market_assets_tests.independent import reference
from market_assets_tests.independent.engine import daily_bars, etf_log, intraday_bars, plain_log, us_of

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from market_assets.metrics import TickerLog

ABS = 1e-12
SAMPLINGS = ["daily", "weekly"]
RETURNS = ["log", "simple"]
WINDOWS = [20, 90, 250]
SERIES = [("BTC-USD", "QQQ"), ("BTC-USD", "VIX"), ("ETH-USD", "HYG")]
#: every series of the files that is there on most days
TICKERS = ["QQQ", "ARKK", "HYG", "TLT", "USO", "VIX", "DXY"]


def closes(shared: Path) -> pd.DataFrame:
    return pd.concat([reference.etf_closes(shared), reference.index_closes(shared)], axis=1)


def weekly(prices: pd.DataFrame) -> pd.DataFrame:
    return prices.resample("W-MON", label="left", closed="left").last()


def returns_of(prices: pd.DataFrame, returns: str) -> pd.DataFrame:
    if returns == "simple":
        return prices.pct_change()
    return pd.DataFrame(np.log(prices.to_numpy()), prices.index, prices.columns).diff()


def paired(
    crypto: pd.Series, ticker: pd.Series, sampling: str, returns: str, *, weeks_of_joined_dates: bool = False
) -> pd.DataFrame:
    """Return the returns of both sides by the plain route: days of joined dates, weeks of each side by itself."""
    prices = pd.concat([crypto, ticker], axis=1, keys=["crypto", "ticker"])
    if sampling == "daily":
        return returns_of(prices.dropna(), returns)
    # `last` of a column skips the days on which it has no price.
    return returns_of(weekly(prices.dropna() if weeks_of_joined_dates else prices).dropna(), returns)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("returns", RETURNS)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_rolling_correlations_are_those_of_pandas_on_every_date(
    shared_dir: Path, sampling: str, returns: str, window: int
) -> None:
    crypto = reference.crypto_closes(shared_dir)
    for symbol, name in SERIES:
        ticker = closes(shared_dir)[name]
        found = rolling_correlation(crypto[symbol], ticker, window=window, sampling=sampling, returns=returns)
        plain = paired(crypto[symbol], ticker, sampling, returns)
        expected = plain["crypto"].rolling(window).corr(plain["ticker"])
        assert found.index.equals(expected.index)
        np.testing.assert_allclose(found, expected, rtol=0, atol=ABS, equal_nan=True, err_msg=f"{symbol} {name}")
        assert found.notna().sum() > (150 if sampling == "weekly" else 1700)


@pytest.mark.parametrize("returns", RETURNS)
def test_daily_returns_that_are_joined_afterwards(shared_dir: Path, returns: str) -> None:
    """Each side on its own dates: what crypto did over a weekend is in no return."""
    crypto, ticker = reference.crypto_closes(shared_dir)["BTC-USD"], closes(shared_dir)["QQQ"].dropna()
    sides = [returns_of(one.to_frame(), returns) for one in (crypto, ticker)]
    plain = pd.concat(sides, axis=1, join="inner")
    expected = plain["BTC-USD"].rolling(90).corr(plain["QQQ"])
    found = rolling_correlation(crypto, ticker, window=90, returns=returns, join="returns")
    np.testing.assert_allclose(found, expected, rtol=0, atol=ABS, equal_nan=True)
    with_weekends = rolling_correlation(crypto, ticker, window=90, returns=returns)
    assert abs(found.iloc[-1] - with_weekends.iloc[-1]) > 0.01


@pytest.mark.parametrize("returns", RETURNS)
def test_weeks_of_joined_dates(shared_dir: Path, returns: str) -> None:
    """Dates joined first: crypto's week ends with the ticker's."""
    crypto, ticker = reference.crypto_closes(shared_dir)["BTC-USD"], closes(shared_dir)["QQQ"]
    plain = paired(crypto, ticker, "weekly", returns, weeks_of_joined_dates=True)
    expected = plain["crypto"].rolling(52).corr(plain["ticker"])
    found = rolling_correlation(crypto, ticker, window=52, sampling="weekly", returns=returns, join="prices")
    np.testing.assert_allclose(found, expected, rtol=0, atol=ABS, equal_nan=True)
    by_themselves = rolling_correlation(crypto, ticker, window=52, sampling="weekly", returns=returns)
    assert abs(found.iloc[-1] - by_themselves.iloc[-1]) > 0.01


@pytest.mark.parametrize("window", WINDOWS)
def test_one_window_in_full_is_what_pandas_has(shared_dir: Path, window: int) -> None:
    crypto = reference.crypto_closes(shared_dir)["BTC-USD"]
    for name in TICKERS:
        found = analyse(crypto, closes(shared_dir)[name], window=window)
        plain = paired(crypto, closes(shared_dir)[name], "daily", "log").iloc[-window:]
        assert found.correlation == pytest.approx(plain.corr().iloc[0, 1], abs=ABS)
        assert found.rank == pytest.approx(plain.corr(method="spearman").iloc[0, 1], abs=ABS)
        for lag in found.lead_lag:
            moved = plain["ticker"].corr(plain["crypto"].shift(-lag.lag))
            assert lag.correlation == pytest.approx(moved, abs=ABS)
        assert found.interval is not None
        assert found.correlation is not None
        assert found.interval.low < found.correlation < found.interval.high


def log_of(shared: Path, name: str) -> TickerLog:
    if name in {"VIX", "DXY"}:
        return plain_log(name, daily_bars(name, closes(shared)[name]))
    return etf_log(shared, name)


@pytest.mark.parametrize("returns", list(ReturnKind))
@pytest.mark.parametrize("sampling", list(Sampling))
def test_surveys_by_date_are_the_published_way_of_doing_it(
    shared_dir: Path, sampling: Sampling, returns: ReturnKind
) -> None:
    crypto = reference.crypto_closes(shared_dir)["BTC-USD"]
    definition = Definition(sampling, returns, dividends=False, pairing=Pairing.DATE)
    last = pd.Timestamp("2024-12-31")
    found = survey(
        {"BTC": plain_log("BTC", daily_bars("BTC", crypto))} | {name: log_of(shared_dir, name) for name in TICKERS},
        cryptos=[UNIVERSE["BTC"]],
        tickers=[UNIVERSE[name] for name in TICKERS],
        windows=WINDOWS,
        end=last.date(),
        now_us=int(us_of(pd.DatetimeIndex([last + pd.Timedelta("1D")], tz="UTC"))[0]),
        definition=definition,
    )
    for pair in found.pairs:
        plain = paired(crypto[:last], closes(shared_dir)[pair.ticker.name][:last], sampling.value, returns.value)
        for window in pair.windows:
            expected = plain["crypto"].rolling(window.window).corr(plain["ticker"]).iloc[-1]
            if np.isnan(expected):
                assert window.correlation is None
            else:
                assert window.correlation == pytest.approx(expected, abs=ABS)
    assert found.measured == len(TICKERS) * len(WINDOWS)


def new_york_close(day: pd.Timestamp) -> pd.Timestamp:
    half_days = {"2019-11-29", "2019-12-24"}
    time = "13:00" if f"{day:%Y-%m-%d}" in half_days else "16:00"
    return pd.Timestamp(f"{day:%Y-%m-%d} {time}").tz_localize(reference.NEW_YORK).tz_convert("UTC")


@pytest.mark.parametrize("returns", list(ReturnKind))
@pytest.mark.parametrize(("sampling", "windows"), [(Sampling.DAILY, (20, 60)), (Sampling.WEEKLY, (12,))])
def test_surveys_by_session_sample_crypto_at_new_yorks_close(
    shared_dir: Path, sampling: Sampling, windows: tuple[int, ...], returns: ReturnKind
) -> None:
    """Real five-minute Bitcoin bars through a clock change, two half days and 12 March 2020."""
    five = reference.intraday(shared_dir, "A_btc_5m_binance_2019-11_2020-03", "BTCUSDT")
    end = pd.Timestamp("2020-03-12")
    names = ["QQQ", "HYG", "TLT"]
    found = survey(
        {"BTC": plain_log("BTC", intraday_bars("BTC", "15m", reference.resample(five, "15min")))}
        | {name: etf_log(shared_dir, name) for name in names},
        cryptos=[UNIVERSE["BTC"]],
        tickers=[UNIVERSE[name] for name in names],
        windows=windows,
        end=end.date(),
        now_us=int(us_of(pd.DatetimeIndex(["2020-03-13"], tz="UTC"))[0]),
        definition=Definition(sampling, returns),
    )
    prices = five["close"].copy()
    prices.index = pd.DatetimeIndex(prices.index) + pd.Timedelta("5min")
    days = reference.days_of(closes(shared_dir)["2019-11-18":"2020-03-12"])
    crypto = pd.Series([prices.asof(new_york_close(day)) for day in days], index=days)
    paid = reference.dividends(shared_dir)
    for pair in found.pairs:
        price = closes(shared_dir)[pair.ticker.name]
        # An index that reinvests each dividend at the close of its ex-date.
        grown = ((price + paid[pair.ticker.name]) / price.shift(1)).fillna(1.0).cumprod().reindex(days)
        plain = paired(crypto, grown, sampling.value, returns.value, weeks_of_joined_dates=True)
        for window in pair.windows:
            expected = plain.iloc[-window.window :].corr().iloc[0, 1]
            assert window.correlation == pytest.approx(expected, abs=ABS)
            assert (window.pairs, window.approximate_pairs) == (window.window, 0)
            assert window.last == last_label(end, sampling)


def last_label(end: pd.Timestamp, sampling: Sampling) -> date:
    return (end - pd.Timedelta(days=end.day_of_week) if sampling is Sampling.WEEKLY else end).date()


def test_documented_values_rarely_hold(shared_dir: Path) -> None:
    """Over 90 sessions, at the end of each quarter of 2020 to 2024; the figures of docs/correlations.md."""
    crypto = reference.crypto_closes(shared_dir)["BTC-USD"]
    held = {}
    for name in ("ARKK", "QQQ", "HYG", "VIX", "DXY", "TLT"):
        documented = UNIVERSE[name].documented_crypto_correlation
        assert documented is not None
        held[name] = 0
        for quarter in pd.date_range("2020-01-31", "2024-12-31", freq="QE"):
            since = quarter - pd.Timedelta(days=200)
            found = analyse(crypto[since:quarter], closes(shared_dir)[name][since:quarter], window=90)
            assert found.interval is not None
            assert found.correlation is not None
            held[name] += documented in found.interval and found.correlation * documented > 0.0
    assert sum(held.values()) < 0.1 * 20 * len(held)
