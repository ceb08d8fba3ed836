"""Real intraday blocks: half days, holes, thin tickers, off-grid rows, pre- and post-market."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from market_assets.correlations import session_correlations
from market_assets.features import compute_feature_rows
from market_assets.universe import UNIVERSE
from market_assets_tests.independent import reference
from market_assets_tests.independent.engine import daily_bars, etf_log, intraday_bars, plain_log, us_of

if TYPE_CHECKING:
    from pathlib import Path

ETF_MINUTES = "A_etf_1m_yahoo_2019-12_2020-01"
FIVE_MINUTES = "C_5m_yahoo_2025-09_10"
NULL_ABOVE = 90.0


@pytest.mark.parametrize("ticker", ["TLT", "ARKK", "USO"])
def test_prices_and_changes_within_the_day_over_christmas_2019(shared_dir: Path, ticker: str) -> None:
    """Every half hour of five weeks with a half day, from minute bars that the package only sees as quarter hours."""
    minutes = reference.intraday(shared_dir, ETF_MINUTES, ticker)
    # USO's minutes are as they traded, its daily bars rebased by the split that came four months later.
    closes = reference.etf_closes(shared_dir)[ticker] * (reference.USO_RATIO if ticker == "USO" else 1.0)
    paid = reference.dividends(shared_dir)[ticker]
    around = reference.days_of(closes.loc["2019-12-09":"2020-01-17"])
    opens, ends = (pd.DatetimeIndex([reference.nyse_hours(day)[end] for day in around]).as_unit("us") for end in (0, 1))
    sessions = reference.days_of(closes.loc["2019-12-16":"2020-01-10"])
    minutes = reference.regular_hours(minutes, sessions)
    quarters = reference.resample(minutes.drop(columns="day"), "15min")
    log = etf_log(shared_dir, ticker, intraday_bars(ticker, "15m", quarters))

    times = pd.date_range("2019-12-16T12:00Z", "2020-01-10T23:00Z", freq="30min")
    metrics = compute_feature_rows({ticker: log}, us_of(times)).tickers[ticker]
    starts = reference.days_of(minutes)
    price, change, stale = [], [], []
    for at in times:
        last_closed = around[int(ends.searchsorted(at, side="right")) - 1]
        seen = int(starts.searchsorted(at, side="left"))
        day, last = last_closed, closes[last_closed]
        waited = reference.stale_minutes(reference.nyse_hours(day)[1] - pd.Timedelta("1min"), at, opens, ends)
        if seen and minutes["day"].iloc[seen - 1] > last_closed:  # a trade after the last close
            day, last = minutes["day"].iloc[seen - 1], minutes["close"].iloc[seen - 1]
            waited = reference.stale_minutes(starts[seen - 1], at, opens, ends)
        before = closes[around[around < day][-1]]
        fits = waited <= NULL_ABOVE
        price.append(last if fits else np.nan)
        change.append(100.0 * ((last + paid[day]) / before - 1.0) if fits else np.nan)
        stale.append(waited)
    np.testing.assert_array_equal(metrics.stale_minutes, stale)
    np.testing.assert_allclose(metrics.price.value, price, rtol=1e-12)
    np.testing.assert_allclose(metrics.change_1d.value, change, rtol=1e-12, atol=1e-12)
    assert np.isnan(price).mean() < 0.2


@pytest.mark.parametrize("ticker", ["EURUSD", "GBPUSD", "JPYUSD"])
def test_currencies_over_a_month_with_holes_and_the_end_of_summer_time(shared_dir: Path, ticker: str) -> None:
    """Session closes are the quarter hours that end at 17:00 New York; where one is missing there is no change."""
    bars = reference.intraday(shared_dir, FIVE_MINUTES, {"JPYUSD": "USDJPY"}.get(ticker, ticker))
    if UNIVERSE[ticker].inverted:
        bars = (1.0 / bars).rename(columns={"high": "low", "low": "high"})
    quarters = reference.quarter_hours(bars)
    log = plain_log(ticker, intraday_bars(ticker, "15m", reference.resample(bars, "15min")))
    times = pd.date_range("2025-10-06T12:00Z", "2025-10-28T23:30Z", freq="30min")
    metrics = compute_feature_rows({ticker: log}, us_of(times)).tickers[ticker]

    ends = reference.days_of(quarters)
    session = pd.Series([reference.fx_session(end - pd.Timedelta("1min")) for end in ends], index=ends)
    local = ends.tz_convert(reference.NEW_YORK)
    weekday = session.dt.day_of_week.to_numpy() < 5
    closing = (local.hour == 17) & (local.minute == 0)
    closes = pd.Series(quarters["close"].to_numpy()[closing], index=session[closing])
    quarters, session = quarters[weekday], session[weekday]
    ends = reference.days_of(quarters)
    known, gaps = 0, 0
    for row, at in enumerate(times):
        seen = int(ends.searchsorted(at, side="right")) - 1
        value = metrics.price.value[row]
        if np.isnan(value):
            assert metrics.price.reasons[row] == "stale"
            assert metrics.stale_minutes[row] > NULL_ABOVE
            gaps += 1
            continue
        assert value == quarters["close"].iloc[seen]
        assert metrics.age_minutes[row] == (at - ends[seen]).total_seconds() / 60.0
        before = session.iloc[seen] - pd.offsets.BusinessDay(1)
        if before in closes.index:
            assert metrics.change_1d.value[row] == pytest.approx(100.0 * (value / closes[before] - 1.0), rel=1e-12)
            known += 1
        else:
            assert metrics.change_1d.reasons[row] == "no_previous_close"
    assert known > 300
    assert gaps > 20  # whole sessions are missing in this block


def test_pre_and_post_market_and_live_rows_never_give_a_price(shared_dir: Path) -> None:
    """The block has quotes from 04:00 to 20:00 New York; only 09:30 to 16:00 counts."""
    bars = reference.intraday(shared_dir, FIVE_MINUTES, "QQQ")
    quarters = reference.resample(bars, "15min")
    log = plain_log("QQQ", intraday_bars("QQQ", "15m", quarters))
    times = pd.date_range("2025-09-29T14:00Z", "2025-10-24T22:00Z", freq="30min")
    metrics = compute_feature_rows({"QQQ": log}, us_of(times)).tickers["QQQ"]
    has_price = ~metrics.price.is_null
    ends = times[has_price] - pd.to_timedelta(metrics.age_minutes[has_price], unit="min")
    clock = (ends.tz_convert(reference.NEW_YORK)).strftime("%H:%M")
    assert clock.min() >= "09:45"
    assert clock.max() == "16:00"
    closes = quarters["close"].set_axis(reference.days_of(quarters) + pd.Timedelta("15min"))
    assert metrics.price.value[has_price].tolist() == closes.reindex(ends).tolist()


def test_merged_five_minute_bars_are_the_exchanges_own_half_hours(shared_dir: Path) -> None:
    merged = reference.resample(reference.intraday(shared_dir, "E_btc_5m_binance_2021-09_12", "BTCUSDT"), "30min")
    native = reference.intraday(shared_dir, "E_crypto_30m_binance_2021-07_2022-03", "BTCUSDT")
    both = reference.days_of(merged).intersection(reference.days_of(native))[1:-1]
    assert len(both) > 4000
    for column in ("open", "high", "low", "close"):
        assert merged.loc[both, column].tolist() == native.loc[both, column].tolist()
    np.testing.assert_allclose(merged.loc[both, "volume"], native.loc[both, "volume"], rtol=1e-9)


@pytest.mark.parametrize("ticker", ["QQQ", "VIX"])
def test_crypto_is_sampled_at_the_tickers_own_close(shared_dir: Path, ticker: str) -> None:
    """BTC's own half hours, as 1h bars: at 16:00 New York for QQQ, and the last one before 16:15 for the VIX."""
    half_hours = reference.intraday(shared_dir, "E_crypto_30m_binance_2021-07_2022-03", "BTCUSDT")
    hours = reference.resample(half_hours, "60min")
    hour_ends = reference.days_of(hours) + pd.Timedelta("1h")
    etfs, indices = reference.etf_closes(shared_dir), reference.index_closes(shared_dir)
    closes = (indices if ticker == "VIX" else etfs)[ticker].loc["2021-07-02":"2022-03-23"]
    paid = pd.Series(0.0, index=closes.index) if ticker == "VIX" else reference.dividends(shared_dir)[ticker]
    days = reference.days_of(closes)
    early = {"2021-11-26": "13:00"}
    clock = [early.get(str(day.date()), "16:00") for day in days]
    at_close = pd.DatetimeIndex(
        [
            pd.Timestamp(f"{day.date()} {time}").tz_localize(reference.NEW_YORK)
            for day, time in zip(days, clock, strict=True)
        ]
    )
    if ticker == "VIX":
        at_close += pd.Timedelta("15min")
    sampled = hours["close"].to_numpy()[hour_ends.searchsorted(at_close, side="right") - 1]
    x = reference.log(pd.Series(sampled, index=days) / pd.Series(sampled, index=days).shift(1))
    y = reference.log_returns(closes, paid.reindex(days))
    log = plain_log("VIX", daily_bars("VIX", closes)) if ticker == "VIX" else etf_log(shared_dir, ticker)
    frame = session_correlations(
        plain_log("BTC", intraday_bars("BTC", "1h", hours)),
        {ticker: log},
        start=days[95].date(),
        end=days[-1].date(),
        now_us=int(us_of(pd.DatetimeIndex([at_close[-1] + pd.Timedelta("1h")]))[0]),
    )
    for window in (20, 90):
        own = frame[frame["sessions"] == window]
        expected, pairs = reference.correlation(x, y, window)
        assert own["pairs"].tolist() == pairs.iloc[95:].tolist()
        np.testing.assert_allclose(own["correlation"], expected.iloc[95:], atol=1e-12)
    assert own["correlation"].notna().all()
