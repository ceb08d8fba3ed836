"""Surveys of the log: the stored correlations to the bit, weeks, gaps, dividends, and what is not known."""

from __future__ import annotations

import math
from datetime import date
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from market_assets.analysis import rolling_correlation
from market_assets.analysis.definitions import Definition, Pairing, ReturnKind, Sampling
from market_assets.analysis.survey import Survey, survey, survey_days
from market_assets.calendars import venue_calendar
from market_assets.correlations import session_correlations
from market_assets.errors import CorrelationInputError
from market_assets.metrics import TickerLog
from market_assets.universe import UNIVERSE
from market_assets_tests.market_frames import action_frame, log, us, walk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from market_assets.analysis import WindowCorrelation

END = date(2024, 3, 8)
NOW = us("2024-03-09 00:00")
WEEKLY = Definition(sampling=Sampling.WEEKLY)


@cache
def bitcoin() -> TickerLog:
    return log("BTC", walk("BTC", "15m", "2022-10-01", "2024-03-09", level=40_000.0))


@cache
def ticker(name: str) -> TickerLog:
    return log(name, walk(name, "1d", "2022-10-01", "2024-03-09", scale=0.01))


def look(
    *logs: TickerLog,
    windows: Sequence[int] = (20, 90),
    definition: Definition | None = None,
    crypto: TickerLog | None = None,
    end: date = END,
    now_us: int = NOW,
) -> Survey:
    crypto = crypto or bitcoin()
    return survey(
        {one.ticker.name: one for one in (crypto, *logs)},
        cryptos=[crypto.ticker],
        tickers=[one.ticker for one in logs],
        windows=windows,
        end=end,
        now_us=now_us,
        definition=definition or Definition(),
    )


def one_window(*logs: TickerLog, window: int, definition: Definition | None = None) -> WindowCorrelation:
    return look(*logs, windows=(window,), definition=definition).pairs[0].windows[0]


def sampled(name: str, first: str) -> pd.DataFrame:
    """Return the closes of a New York ticker beside Bitcoin's price at them, by session."""
    table = venue_calendar(UNIVERSE[name].venue).sessions(date.fromisoformat(first), END)
    at_close = pd.to_datetime(table.close_us, unit="us", utc=True)
    closes = ticker(name).bars.set_index("bar_end")["close"].reindex(at_close)
    crypto = bitcoin().bars.set_index("bar_end")["close"].reindex(at_close)
    index = pd.DatetimeIndex(table.label.astype("datetime64[us]"))
    return pd.DataFrame({"crypto": crypto.to_numpy(), "ticker": closes.to_numpy()}, index=index)


def log_returns(prices: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(np.log(prices.to_numpy()), prices.index, prices.columns).diff()


@pytest.mark.parametrize("end", [END, date(2024, 2, 20)])
def test_daily_windows_have_the_bits_of_the_stored_correlations(end: date) -> None:
    names = ("QQQ", "VIX", "DXY", "EURUSD")
    frame = session_correlations(
        bitcoin(), {name: ticker(name) for name in names}, start=end, end=end, now_us=NOW, sessions=(20, 90, 250)
    )
    stored = {
        (name, sessions): (correlation, pairs, session)
        for name, sessions, correlation, pairs, session in frame[
            ["ticker", "sessions", "correlation", "pairs", "session"]
        ].itertuples(index=False, name=None)
    }
    found = look(*map(ticker, names), windows=(20, 90, 250), end=end)
    assert len(stored) == 12
    for pair in found.pairs:
        for window in pair.windows:
            correlation, pairs, session = stored[pair.ticker.name, window.window]
            assert window.correlation is not None
            assert window.correlation.hex() == correlation.hex()
            assert (window.pairs, window.last) == (pairs, session)
            assert window.last == end


def test_a_week_is_the_last_session_of_its_monday_to_sunday_as_pandas_has_it() -> None:
    weeks = sampled("QQQ", "2022-10-03").resample("W-MON", label="left", closed="left").last()
    x, y = (np.diff(np.log(weeks[name].to_numpy()))[-52:] for name in ("crypto", "ticker"))
    found = one_window(ticker("QQQ"), window=52, definition=WEEKLY)
    assert found.correlation == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)
    assert (found.pairs, found.last, found.first) == (52, date(2024, 3, 4), date(2023, 3, 13))


def test_the_week_that_is_running_counts_up_to_its_last_session() -> None:
    found = look(ticker("QQQ"), windows=(13,), definition=WEEKLY, end=date(2024, 3, 6)).pairs[0].windows[0]
    weeks = sampled("QQQ", "2022-10-03")[:"2024-03-06"].resample("W-MON", label="left", closed="left").last()
    x, y = (np.diff(np.log(weeks[name].to_numpy()))[-13:] for name in ("crypto", "ticker"))
    assert found.correlation == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-12)


@pytest.mark.parametrize("sampling", list(Sampling))
def test_simple_returns(sampling: Sampling) -> None:
    prices = sampled("QQQ", "2022-10-03")
    if sampling is Sampling.WEEKLY:
        prices = prices.resample("W-MON", label="left", closed="left").last()
    moved = prices.pct_change()[-20:]
    definition = Definition(sampling, ReturnKind.SIMPLE)
    found = one_window(ticker("QQQ"), window=20, definition=definition)
    assert found.correlation == pytest.approx(np.corrcoef(moved["crypto"], moved["ticker"])[0, 1], abs=1e-12)


def without(name: str, *days: str) -> TickerLog:
    bars = ticker(name).bars
    gone = bars["bar_start"].dt.strftime("%Y-%m-%d").isin(days)
    assert gone.sum() == len(days)
    return log(name, bars[~gone])


def test_a_missing_close_takes_two_daily_returns_away_and_makes_none_of_two_days() -> None:
    found = one_window(without("QQQ", "2024-02-27"), window=20)
    assert found.pairs == 18
    prices = sampled("QQQ", "2024-02-01")
    prices.loc[pd.Timestamp("2024-02-27"), "ticker"] = np.nan
    moved = log_returns(prices)[-20:].dropna()
    assert found.correlation == pytest.approx(np.corrcoef(moved["crypto"], moved["ticker"])[0, 1], abs=1e-12)
    three = one_window(without("QQQ", "2024-02-27", "2024-03-01"), window=20)
    assert (three.correlation, three.reason) == (None, "16 of 20 pairs, 18 are needed")
    assert three.interval_reason == three.reason


def test_a_week_without_its_friday_ends_on_thursday_and_one_without_a_close_takes_two_returns_away() -> None:
    no_friday = one_window(without("QQQ", "2024-03-01"), window=13, definition=WEEKLY)
    prices = sampled("QQQ", "2022-10-03").drop(pd.Timestamp("2024-03-01"))
    weeks = prices.resample("W-MON", label="left", closed="left").last()
    moved = log_returns(weeks)[-13:]
    assert no_friday.pairs == 13
    assert no_friday.correlation == pytest.approx(np.corrcoef(moved["crypto"], moved["ticker"])[0, 1], abs=1e-12)
    days = [f"{day:%Y-%m-%d}" for day in pd.bdate_range("2024-02-05", "2024-02-09")]
    assert one_window(without("QQQ", *days), window=20, definition=WEEKLY).pairs == 18


def test_dividends_are_reinvested_or_left_out() -> None:
    """A close that falls by the dividend on its ex-date has not moved; over a week it is the same."""
    paid, ex_date = 5.0, "2024-02-28"
    bars = ticker("QQQ").bars
    before = bars["bar_end"] < pd.Timestamp(ex_date, tz="UTC")
    factor = 1.0 - paid / bars.loc[~before, "close"].iloc[0]
    lowered = bars.assign(close=bars["close"].where(before, bars["close"] * factor))
    paying = log("QQQ", lowered, actions=action_frame("QQQ", [("dividend", ex_date, paid)]))
    for definition in (Definition(), WEEKLY):
        whole = one_window(ticker("QQQ"), window=20, definition=definition)
        assert one_window(paying, window=20, definition=definition).correlation == pytest.approx(
            whole.correlation, abs=1e-12
        )
        price_only = Definition(definition.sampling, dividends=False)
        assert one_window(paying, window=20, definition=price_only).correlation == pytest.approx(
            one_window(log("QQQ", lowered), window=20, definition=definition).correlation, abs=1e-12
        )
        without_it = one_window(paying, window=20, definition=price_only).correlation
        assert without_it != pytest.approx(whole.correlation, abs=1e-3)


def test_a_split_is_no_move() -> None:
    bars = ticker("QQQ").bars
    after = bars["bar_end"] >= pd.Timestamp("2024-02-28", tz="UTC")
    split = log(
        "QQQ",
        bars.assign(close=bars["close"].where(~after, bars["close"] / 4.0)),
        actions=action_frame("QQQ", [("split", "2024-02-28", 4.0)]),
    )
    for sampling in Sampling:
        for dividends in (True, False):
            definition = Definition(sampling, dividends=dividends)
            assert one_window(split, window=20, definition=definition).correlation == pytest.approx(
                one_window(ticker("QQQ"), window=20, definition=definition).correlation, abs=1e-12
            )


def test_where_crypto_has_days_only_its_pairs_are_marked_and_the_last_one_is_not_known() -> None:
    days = log("BTC", walk("BTC", "1d", "2022-10-01", "2024-03-09", level=40_000.0))
    window = look(ticker("QQQ"), windows=(20,), crypto=days).pairs[0].windows[0]
    assert (window.pairs, window.approximate_pairs) == (19, 19)
    assert one_window(ticker("QQQ"), window=20).approximate_pairs == 0


@pytest.mark.parametrize("sampling", list(Sampling))
def test_pairing_by_date_takes_cryptos_midnight_close_as_published_figures_do(sampling: Sampling) -> None:
    days = walk("BTC", "1d", "2022-10-01", "2024-03-09", level=40_000.0)
    definition = Definition(sampling, pairing=Pairing.DATE)
    found = look(ticker("QQQ"), windows=(20,), definition=definition, crypto=log("BTC", days)).pairs[0].windows[0]

    def plain(bars: pd.DataFrame) -> pd.Series:
        return pd.Series(bars["close"].to_numpy(), index=pd.DatetimeIndex(bars["bar_start"]))

    rolled = rolling_correlation(plain(days), plain(ticker("QQQ").bars), window=20, sampling=sampling)
    assert found.correlation == pytest.approx(rolled.iloc[-1], abs=1e-12)
    assert found.pairs == 20


def test_a_session_that_is_not_over_is_not_in_it() -> None:
    last = [
        look(ticker("VIX"), windows=(20,), now_us=us(now)).pairs[0].windows[0].last
        for now in ("2024-03-07 21:29", "2024-03-07 21:30")
    ]
    assert last == [date(2024, 3, 6), date(2024, 3, 7)]
    nothing = look(ticker("QQQ"), windows=(20,), now_us=us("2010-01-04 00:00")).pairs[0].windows[0]
    assert (nothing.pairs, nothing.last, nothing.correlation) == (0, None, None)


@pytest.mark.parametrize("definition", [Definition(), WEEKLY, Definition(pairing=Pairing.DATE)])
def test_nothing_later_than_the_last_close_changes_a_bit(definition: Definition) -> None:
    end, limit = date(2024, 3, 6), pd.Timestamp("2024-03-07 00:00", tz="UTC")
    intraday = walk("BTC", "15m", "2022-10-01", "2024-03-09", level=40_000.0)
    both = log("BTC", intraday, walk("BTC", "1d", "2022-10-01", "2024-03-09", level=40_000.0))
    if definition.pairing is Pairing.SESSION:
        limit = pd.Timestamp("2024-03-06 21:00", tz="UTC")
    logs = [both, ticker("QQQ")]
    scrambled = [
        TickerLog(
            one.ticker, one.bars.assign(close=one.bars["close"].where(one.bars["bar_end"] <= limit, 1.0)), one.actions
        )
        for one in logs
    ]
    first, second = (
        look(one[1], windows=(13, 26), definition=definition, crypto=one[0], end=end) for one in (logs, scrambled)
    )
    assert first == second
    assert first.measured == 2


@pytest.mark.parametrize("definition", [Definition(), WEEKLY])
def test_the_look_back_is_enough_and_more_changes_no_bit(definition: Definition) -> None:
    windows = (20, 52)
    first = pd.Timestamp(END, tz="UTC") - pd.Timedelta(days=survey_days(windows, definition.sampling))
    cut = [
        TickerLog(one.ticker, one.bars[one.bars["bar_start"] >= first], one.actions)
        for one in (bitcoin(), ticker("QQQ"))
    ]
    short = look(cut[1], windows=windows, definition=definition, crypto=cut[0])
    assert short == look(ticker("QQQ"), windows=windows, definition=definition)
    assert short.measured == 2


def test_documented_values_stand_beside_measured_ones() -> None:
    found = look(ticker("QQQ"), ticker("GLD"))
    assert [pair.comparisons[1].documented for pair in found.pairs] == [0.75, None]
    # Two independent walks.
    assert [pair.comparisons[1].verdict for pair in found.pairs] == ["opposite sign", "undocumented"]
    assert found.tally("BTC", 90) == (0, 1)
    document = found.to_json()
    assert [pair["documented"] for pair in document["pairs"]] == [0.75, None]
    window = document["pairs"][0]["windows"][1]
    assert window["verdict"] == "opposite sign"
    assert window["interval"][1] < 0.75
    assert math.isclose(window["correlation"], found.pairs[0].windows[1].correlation or 0.0)


def test_a_window_too_short_is_refused() -> None:
    with pytest.raises(CorrelationInputError, match="window=2: must be a whole number of returns, 3 or more"):
        look(ticker("QQQ"), windows=(2,))
