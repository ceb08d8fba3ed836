"""Correlations of plain price series: what is joined, sampled and returned, and what is refused."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from market_assets.analysis import analyse, rolling_correlation
from market_assets.errors import CorrelationInputError


def walk(index: pd.DatetimeIndex, seed: int, shared: float = 0.6) -> pd.Series:
    """Return prices that share a part of their moves with every other walk over the same dates."""
    common = np.random.default_rng(0).normal(0.0, 0.02, len(index))
    own = np.random.default_rng(seed).normal(0.0, 0.02, len(index))
    return pd.Series(100.0 * np.exp(np.cumsum(shared * common + own)), index=index)


DAYS = pd.date_range("2024-01-01", "2024-12-31", freq="D", unit="us")
CRYPTO = walk(DAYS, 1)
#: no weekends and no 4 July
TICKER = walk(DAYS, 2)[(DAYS.day_of_week < 5) & (pd.Timestamp("2024-07-04") != DAYS)]


def test_with_joined_dates_a_crypto_return_into_monday_begins_on_friday() -> None:
    found = rolling_correlation(CRYPTO, TICKER, window=20)
    assert found.index.equals(TICKER.index)
    friday_to_monday = math.log(CRYPTO["2024-12-30"] / CRYPTO["2024-12-27"])
    x = np.diff(np.log(CRYPTO.reindex(TICKER.index).to_numpy()))
    assert x[-2] == pytest.approx(friday_to_monday, abs=1e-15)
    y = np.diff(np.log(TICKER.to_numpy()))
    assert found.iloc[-1] == pytest.approx(np.corrcoef(x[-20:], y[-20:])[0, 1], abs=1e-14)
    assert found.isna().sum() == 20


def test_with_joined_returns_it_begins_on_sunday() -> None:
    found = rolling_correlation(CRYPTO, TICKER, window=20, join="returns")
    x = pd.Series(np.log(CRYPTO)).diff().reindex(TICKER.index).to_numpy()[1:]
    y = np.diff(np.log(TICKER.to_numpy()))
    assert found.iloc[-1] == pytest.approx(np.corrcoef(x[-20:], y[-20:])[0, 1], abs=1e-14)
    assert found.iloc[-1] != rolling_correlation(CRYPTO, TICKER, window=20).iloc[-1]


@pytest.mark.parametrize(
    ("join", "last_day"), [("prices", "2024-12-27"), ("returns", "2024-12-29"), (None, "2024-12-29")]
)
def test_a_week_is_its_last_price_under_its_monday(join: str | None, last_day: str) -> None:
    """Joined dates first: Friday's crypto price; each side by itself, as is usual: Sunday's."""
    found = rolling_correlation(CRYPTO[:"2024-12-29"], TICKER[:"2024-12-29"], window=13, sampling="weekly", join=join)
    assert found.index[-1] == pd.Timestamp("2024-12-23")
    assert set(pd.DatetimeIndex(found.index).day_of_week) == {0}
    ends = pd.date_range(end=last_day, periods=14, freq="7D")
    x = np.diff(np.log(CRYPTO.reindex(ends).to_numpy()))
    fridays = pd.date_range(end="2024-12-27", periods=14, freq="7D")
    y = np.diff(np.log(TICKER.reindex(fridays).to_numpy()))
    assert found.iloc[-1] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-14)


def test_simple_returns_are_not_log_returns() -> None:
    log, simple = (rolling_correlation(CRYPTO, TICKER, window=20, returns=kind).iloc[-1] for kind in ("log", "simple"))
    joined = CRYPTO.reindex(TICKER.index)
    x, y = (one.pct_change().to_numpy()[-20:] for one in (joined, TICKER))
    assert simple == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-14)
    assert log != simple


def test_ranks_share_their_average_in_a_tie() -> None:
    crypto = pd.Series([1.0, 2.0, 4.0, 4.0, 4.0, 2.0, 6.0], index=DAYS[:7])
    ticker = pd.Series([1.0, 3.0, 6.0, 6.0, 5.0, 5.0, 4.0], index=DAYS[:7])
    found = rolling_correlation(crypto, ticker, window=6, method="spearman").iloc[-1]
    # returns of crypto: 2, 2, 1, 1, 1/2, 3; of the ticker: 3, 2, 1, 5/6, 1, 4/5
    x, y = [4.5, 4.5, 2.5, 2.5, 1.0, 6.0], [6.0, 5.0, 3.5, 2.0, 3.5, 1.0]
    assert found == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-14)


def test_min_periods_lets_a_window_grow() -> None:
    whole = rolling_correlation(CRYPTO, TICKER, window=20)
    grown = rolling_correlation(CRYPTO, TICKER, window=20, min_periods=5)
    assert grown.isna().sum() == 5
    pd.testing.assert_series_equal(grown[20:], whole[20:], check_exact=True)


def test_the_bits_of_a_window_do_not_depend_on_what_came_before() -> None:
    whole = rolling_correlation(CRYPTO, TICKER, window=20)
    late = rolling_correlation(CRYPTO["2024-10-01":], TICKER["2024-10-01":], window=20)
    pd.testing.assert_series_equal(late.dropna(), whole[late.dropna().index], check_exact=True)


def test_an_analysis_tells_all_of_the_last_window() -> None:
    found = analyse(CRYPTO, TICKER, window=90)
    assert found.correlation == rolling_correlation(CRYPTO, TICKER, window=90).iloc[-1]
    assert found.rank == rolling_correlation(CRYPTO, TICKER, window=90, method="spearman").iloc[-1]
    assert (found.pairs, found.last, found.reason) == (90, date(2024, 12, 31), None)
    assert found.interval is not None
    assert found.interval.low < 0.26 < found.interval.high  # .36 of the variance is shared: .36 / 1.36
    assert found.noise == pytest.approx(0.2066, abs=1e-4)


@pytest.mark.parametrize("lead", [-2, -1, 0, 1, 2])
def test_a_positive_lag_means_that_the_ticker_leads(lead: int) -> None:
    moves = np.random.default_rng(8).normal(0.0, 0.02, 120)
    index = DAYS[10:110]
    ticker = pd.Series(100.0 * np.exp(np.cumsum(moves[10:110])), index=index)
    crypto = pd.Series(100.0 * np.exp(np.cumsum(moves[10 - lead : 110 - lead])), index=index)
    found = analyse(crypto, ticker, window=90)
    by_lag = {one.lag: one for one in found.lead_lag}
    assert list(by_lag) == [-2, -1, 0, 1, 2]
    assert by_lag[lead].correlation == pytest.approx(1.0)
    assert by_lag[lead].pairs == 90 - abs(lead)
    assert all(abs(one.correlation or 0.0) < 0.3 for lag, one in by_lag.items() if lag != lead)
    assert by_lag[0].correlation == found.correlation


def test_too_few_returns_and_a_side_that_stands_still_are_none_with_a_reason_and_never_zero() -> None:
    short = analyse(CRYPTO[:50], TICKER, window=90)
    assert (short.correlation, short.rank, short.interval) == (None, None, None)
    assert short.reason == "35 of 90 pairs, 90 are needed"
    assert {one.correlation for one in short.lead_lag} == {None}
    still = analyse(CRYPTO, TICKER * 0.0 + 7.0, window=20)
    assert (still.correlation, still.rank, still.interval) == (None, None, None)
    assert still.reason == "one side does not move"
    nothing = analyse(CRYPTO[:1], TICKER[-1:], window=20)
    assert (nothing.pairs, nothing.first, nothing.noise) == (0, None, None)


def test_dates_may_be_texts_days_or_times_of_a_zone_in_any_order() -> None:
    expected = rolling_correlation(CRYPTO, TICKER, window=20)
    in_new_york = TICKER.set_axis(
        (pd.DatetimeIndex(TICKER.index) + pd.Timedelta("16h")).tz_localize("America/New_York")
    )
    as_days = TICKER.set_axis([day.date() for day in pd.DatetimeIndex(TICKER.index)])
    as_texts = TICKER.set_axis([f"{day:%Y-%m-%d}" for day in pd.DatetimeIndex(TICKER.index)])
    for ticker in (in_new_york, as_days, as_texts, TICKER[::-1], TICKER.reindex(DAYS)):
        pd.testing.assert_series_equal(rolling_correlation(CRYPTO, ticker, window=20), expected, check_exact=True)


NUMBERED = TICKER.reset_index(drop=True)
TWICE = pd.concat([TICKER, TICKER[-1:]])
NEGATIVE = TICKER.where(TICKER.index != pd.Timestamp("2024-04-22"), -37.63)


@pytest.mark.parametrize(
    ("ticker", "options", "said"),
    [
        (TICKER, {"window": 2}, "window=2: must be a whole number of returns, 3 or more"),
        (TICKER, {"window": 20.0}, "window=20.0: must be a whole number"),
        (TICKER, {"window": 20, "sampling": "monthly"}, "sampling='monthly': choose one of 'daily', 'weekly'"),
        (TICKER, {"window": 20, "returns": "percent"}, "returns='percent': choose one of 'log', 'simple'"),
        (TICKER, {"window": 20, "join": "outer"}, "join='outer': choose one of 'prices', 'returns'"),
        (TICKER, {"window": 20, "method": "kendall"}, "method='kendall': choose one of"),
        (TICKER, {"window": 20, "min_periods": 21}, "min_periods=21: must lie between 1 and the window of 20"),
        (TICKER.tolist(), {"window": 20}, "ticker: pass a pandas Series of prices by date, not list"),
        (NUMBERED, {"window": 20}, "ticker: its index has dtype int64; index the prices by date"),
        (TICKER.set_axis(["soon"] * len(TICKER)), {"window": 20}, "ticker: its index holds what is no date"),
        (TICKER.astype(str) + "$", {"window": 20}, "ticker: prices have dtype"),
        (TWICE, {"window": 20}, "ticker: 2024-12-31 has two prices; keep one a day"),
        (NEGATIVE, {"window": 20}, "ticker: the price of 2024-04-22 is -37.63; leave out what is not positive"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_remedy(ticker: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(CorrelationInputError) as refused:
        rolling_correlation(CRYPTO, ticker, **options)
    assert said in str(refused.value)
