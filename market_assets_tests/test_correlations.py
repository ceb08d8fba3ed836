"""Crypto correlations: where crypto is sampled, which pairs count, and that the future does not reach them."""

from __future__ import annotations

import math
from datetime import date
from functools import cache

import numpy as np
import pandas as pd
import pytest

from market_assets.calendars import venue_calendar
from market_assets.correlations import CORRELATION_FRAME_COLUMNS, CORRELATION_LOOKBACK_DAYS, session_correlations
from market_assets.metrics import TickerLog
from market_assets_tests.market_frames import action_frame, at, log, us, walk

START, END = date(2024, 3, 4), date(2024, 3, 8)
NOW = us("2024-03-09 00:00")


@cache
def bitcoin() -> TickerLog:
    return log("BTC", walk("BTC", "15m", "2023-10-01", "2024-03-09", level=40_000.0))


@cache
def ticker(name: str) -> TickerLog:
    return log(name, walk(name, "1d", "2023-10-01", "2024-03-09", scale=0.01))


def correlate(crypto: TickerLog, *logs: TickerLog, now_us: int = NOW, **options: object) -> pd.DataFrame:
    window = {"start": START, "end": END, **options}
    return session_correlations(crypto, {one.ticker.name: one for one in logs}, now_us=now_us, **window)  # type: ignore[arg-type]


def test_there_is_one_row_per_ticker_window_and_session() -> None:
    frame = correlate(bitcoin(), ticker("QQQ"), ticker("DXY"))
    assert tuple(frame.columns) == CORRELATION_FRAME_COLUMNS
    assert len(frame) == 2 * 2 * 5
    assert frame["crypto"].unique().tolist() == ["BTC"]
    assert frame["session"].tolist()[:5] == [date(2024, 3, day) for day in (4, 5, 6, 7, 8)]
    assert frame["correlation"].notna().all()
    assert frame["pairs"].tolist() == [20] * 5 + [90] * 5 + [20] * 5 + [90] * 5


def test_crypto_is_sampled_at_the_session_close_and_not_at_midnight() -> None:
    frame = correlate(bitcoin(), ticker("QQQ"), sessions=(20,))
    bars = bitcoin().bars.set_index("bar_end")["close"]
    table = venue_calendar("XNYS").sessions(date(2024, 1, 1), END)
    at_close = pd.to_datetime(table.close_us[-21:], unit="us", utc=True)
    closes = ticker("QQQ").bars["close"].to_numpy()[-21:]
    x, y = np.diff(np.log(bars.reindex(at_close))), np.diff(np.log(closes))
    assert frame["correlation"].iloc[-1] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)


def test_a_session_that_is_not_over_has_no_correlation_yet() -> None:
    sessions = correlate(bitcoin(), ticker("VIX"), now_us=us("2024-03-07 21:29"))["session"].unique().tolist()
    assert sessions == [date(2024, 3, day) for day in (4, 5, 6)]
    assert len(correlate(bitcoin(), ticker("VIX"), now_us=us("2024-03-07 21:30"))["session"].unique()) == 4
    assert correlate(bitcoin(), ticker("VIX"), now_us=us("2024-03-01 12:00")).empty


def test_nothing_later_than_the_close_changes_a_bit_of_it() -> None:
    frame = correlate(bitcoin(), ticker("QQQ"), ticker("DXY"), end=date(2024, 3, 6))
    limit = pd.Timestamp("2024-03-06 22:00", tz="UTC")
    nonsense = [
        TickerLog(
            one.ticker, one.bars.assign(close=one.bars["close"].where(one.bars["bar_end"] <= limit, 1.0)), one.actions
        )
        for one in (bitcoin(), ticker("QQQ"), ticker("DXY"))
    ]
    other = correlate(*nonsense, end=date(2024, 3, 6))
    assert frame["correlation"].to_numpy().tobytes() == other["correlation"].to_numpy().tobytes()


def test_the_look_back_is_enough_and_more_changes_no_bit() -> None:
    first = pd.Timestamp(START, tz="UTC") - pd.Timedelta(days=CORRELATION_LOOKBACK_DAYS)
    cut = [
        TickerLog(one.ticker, one.bars[one.bars["bar_start"] >= first].sample(frac=1.0, random_state=1), one.actions)
        for one in (bitcoin(), ticker("QQQ"))
    ]
    long, short = correlate(bitcoin(), ticker("QQQ")), correlate(*cut)
    pd.testing.assert_frame_equal(long, short, check_exact=True)
    alone = correlate(bitcoin(), ticker("QQQ"), start=END)
    tail = long[long["session"] == END].reset_index(drop=True)
    pd.testing.assert_frame_equal(tail, alone, check_exact=True)


def test_fewer_than_ninety_percent_of_the_pairs_is_a_gap() -> None:
    bars = ticker("QQQ").bars
    holes = bars.index[-12:-2:5]
    two = correlate(bitcoin(), TickerLog(ticker("QQQ").ticker, bars.drop(holes[:1]), ticker("QQQ").actions))
    assert two[two["sessions"] == 20]["pairs"].iloc[-1] == 18
    assert not math.isnan(two[two["sessions"] == 20]["correlation"].iloc[-1])
    four = correlate(bitcoin(), TickerLog(ticker("QQQ").ticker, bars.drop(holes), ticker("QQQ").actions))
    last = four[four["session"] == END].set_index("sessions")
    assert last["pairs"].to_dict() == {20: 16, 90: 86}
    assert math.isnan(last["correlation"][20])
    assert not math.isnan(last["correlation"][90])


def test_a_market_that_does_not_move_has_no_correlation() -> None:
    still = log("QQQ", ticker("QQQ").bars.assign(close=400.0))
    frame = correlate(bitcoin(), still)
    assert frame["correlation"].isna().all()
    assert frame["pairs"].max() == 90


def _crypto_days() -> pd.DataFrame:
    return walk("BTC", "1d", "2023-10-01", "2024-03-09", level=40_000.0)


def _returns_by_midnight(sessions: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (crypto, QQQ) returns of the last sessions, crypto at the midnight after each close."""
    closes = _crypto_days().set_index("bar_end")["close"]
    table = venue_calendar("XNYS").sessions(date(2023, 10, 1), END)
    midnights = pd.to_datetime(table.close_us[-sessions - 1 :], unit="us", utc=True).ceil("D")
    qqq = ticker("QQQ").bars["close"].to_numpy()[-sessions - 1 :]
    return np.diff(np.log(closes.reindex(midnights).to_numpy())), np.diff(np.log(qqq))


def test_where_only_crypto_days_exist_the_midnight_after_the_close_stands_in_and_is_known_later() -> None:
    frame = correlate(log("BTC", _crypto_days()), ticker("QQQ"), sessions=(20,))
    assert frame["pairs"].tolist() == [19] * 5
    x, y = _returns_by_midnight(20)
    assert frame["correlation"].iloc[-1] == pytest.approx(np.corrcoef(x[:-1], y[:-1])[0, 1], abs=1e-12)


def test_the_midnight_after_the_close_changes_no_bit_of_the_sessions_correlation() -> None:
    days = _crypto_days()
    after = days["bar_end"] > pd.Timestamp("2024-03-08 21:00", tz="UTC")
    assert after.sum() == 1
    nonsense = days.assign(close=days["close"].where(~after, 1.0))
    one, two = (correlate(log("BTC", bars), ticker("QQQ")) for bars in (days, nonsense))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_a_return_never_joins_a_sample_at_the_close_with_one_at_midnight() -> None:
    """Where intraday bars begin, the first return is taken from daily closes on both sides."""
    quarters = at("15m", "BTC", {"2024-03-07 20:45": 50_000.0, "2024-03-08 20:45": 60_000.0})
    frame = correlate(log("BTC", _crypto_days(), quarters), ticker("QQQ"), sessions=(20,))
    only_days = correlate(log("BTC", _crypto_days()), ticker("QQQ"), sessions=(20,))
    # 7 March has the sample at the close, but 6 March has not: as if there were none.
    assert frame["correlation"].iloc[-2] == only_days["correlation"].iloc[-2]
    x, y = _returns_by_midnight(20)
    x[-1] = math.log(60_000.0 / 50_000.0)
    assert frame["correlation"].iloc[-1] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
    assert frame["pairs"].tolist() == [19, 19, 19, 19, 20]


def test_a_stale_crypto_bar_is_no_sample() -> None:
    bars = bitcoin().bars
    silent = (bars["bar_end"] > pd.Timestamp("2024-03-07 19:00", tz="UTC")) & (
        bars["bar_end"] <= pd.Timestamp("2024-03-07 22:00", tz="UTC")
    )
    frame = correlate(log("BTC", bars[~silent]), ticker("QQQ"), sessions=(20,))
    # Two hours without a bar around the close: both returns fall back on midnights, the second one's still to come.
    assert frame["pairs"].tolist() == [20, 20, 20, 19, 19]
    whole = correlate(bitcoin(), ticker("QQQ"), sessions=(20,))
    assert frame["correlation"].tolist()[:3] == whole["correlation"].tolist()[:3]


def test_an_approximate_currency_close_that_came_later_does_not_count() -> None:
    """From daily rows alone the last two closes are not known when the session ends: 18 of 20 pairs."""
    frame = correlate(bitcoin(), ticker("EURUSD"), sessions=(20,))
    assert frame["pairs"].tolist() == [18] * 5
    assert frame["correlation"].notna().all()
    with_intraday = log("EURUSD", walk("EURUSD", "15m", "2024-01-10", "2024-03-09"))
    assert correlate(bitcoin(), with_intraday, sessions=(20,))["pairs"].tolist() == [20] * 5


def test_dividends_belong_to_the_returns() -> None:
    """A close that falls by the dividend on the ex-date has not moved."""
    paid = 5.0
    bars = ticker("QQQ").bars
    ex_dividend = bars.assign(
        close=bars["close"].where(bars["bar_end"] < pd.Timestamp("2024-03-06", tz="UTC"), bars["close"] - paid)
    )
    with_dividend = log("QQQ", ex_dividend, actions=action_frame("QQQ", [("dividend", "2024-03-06", paid)]))
    plain, ignored, counted = (
        correlate(bitcoin(), one, start=date(2024, 3, 6), end=date(2024, 3, 6), sessions=(20,))["correlation"][0]
        for one in (ticker("QQQ"), log("QQQ", ex_dividend), with_dividend)
    )
    assert counted == pytest.approx(plain, abs=1e-9)
    assert ignored != pytest.approx(plain, abs=1e-3)


def test_a_ticker_without_bars_has_rows_without_values() -> None:
    frame = correlate(bitcoin(), log("QQQ"), sessions=(20,))
    assert frame["pairs"].tolist() == [0] * 5
    assert frame["correlation"].isna().all()
