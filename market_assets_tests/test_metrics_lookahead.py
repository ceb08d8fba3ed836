"""Look-ahead, order and window: a value at T depends on what was available at T and on nothing else, to the bit."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market_assets.calendars import US_PER_DAY, US_PER_MINUTE, observation_grid, venue_calendar
from market_assets.features import FEATURE_LOOKBACK_DAYS, compute_feature_rows
from market_assets.metrics import TickerLog
from market_assets.universe import UNIVERSE
from market_assets_tests.market_frames import action_frame, full_market, us

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 7
#: two weeks around the US change to summer time, with a split and dividends inside
GRID = observation_grid(us("2024-03-04"), us("2024-03-16"), 30)
ACTIONS = {
    "USO": [("split", "2024-03-07", 0.125), ("dividend", "2024-03-08", 0.3)],
    "QQQ": [("split", "2024-03-12", 3.0), ("dividend", "2024-02-20", 0.5)],
    "HYG": [("dividend", "2024-03-05", 0.4), ("dividend", "2024-02-15", 0.4)],
}
PROPERTY = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def market() -> dict[str, TickerLog]:
    logs = full_market("2024-01-10", "2024-02-26", "2024-03-18", seed=SEED)
    # A currency that has daily rows alone: its closes become known late.
    gbp = logs["GBPUSD"]
    logs["GBPUSD"] = TickerLog(gbp.ticker, gbp.bars[gbp.bars["interval"] == "1d"], gbp.actions)
    return {
        name: TickerLog(log.ticker, log.bars, action_frame(name, ACTIONS.get(name, [])))
        for name, log in logs.items()
        if log.ticker.is_feature
    }


@cache
def reference() -> pd.DataFrame:
    return compute_feature_rows(market(), GRID).to_frame()


def same_bits(left: pd.DataFrame, right: pd.DataFrame) -> bool:
    for column in left.columns:
        one, two = left[column].to_numpy(), right[column].to_numpy()
        if one.dtype == np.float64:
            one, two = one.view(np.int64), two.view(np.int64)
        if not (one == two).all():
            return False
    return True


def rows_at(index: NDArray[np.int64]) -> pd.DataFrame:
    return reference().iloc[index].reset_index(drop=True)


def scrambled(log: TickerLog, at_us: int, rng: np.random.Generator) -> TickerLog:
    """Return the log with everything that is not available at T replaced by nonsense, and partly removed."""
    bars = log.bars.copy()
    lag = log.ticker.feed_lag
    future = (bars["bar_end"] + lag) > pd.Timestamp(at_us, unit="us", tz="UTC")
    nonsense = rng.uniform(1e-3, 1e6, len(bars))
    for column in ("open", "high", "low", "close"):
        bars[column] = np.where(future, nonsense, bars[column])
    bars["basis"] = np.where(future, 0.25, bars["basis"])
    bars = bars[~future | (rng.random(len(bars)) < 0.5)]
    calendar = venue_calendar(log.ticker.venue)
    begun = np.array([calendar.day_start_us(day) <= at_us for day in log.actions["ex_date"]], dtype=np.bool_)
    actions = log.actions.copy()
    actions["value"] = np.where(begun, actions["value"], rng.uniform(0.01, 50.0, len(actions)))
    return TickerLog(log.ticker, bars, actions)


def test_the_made_up_market_has_values_everywhere() -> None:
    frame = reference()
    assert frame["feature_count"].min() >= 50
    assert (frame["feature_count"] == 55).mean() > 0.9  # all but the currency without intraday bars
    assert frame["ml_gbpusd_volatility"].notna().all()


@PROPERTY
@given(row=st.integers(0, len(GRID) - 1), seed=st.integers(0, 2**32 - 1))
def test_scrambling_everything_not_yet_available_changes_no_bit(row: int, seed: int) -> None:
    at_us = GRID[row : row + 1]
    rng = np.random.default_rng(seed)
    logs = {name: scrambled(log, int(at_us[0]), rng) for name, log in market().items()}
    assert same_bits(compute_feature_rows(logs, at_us).to_frame(), rows_at(np.array([row])))


@PROPERTY
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_rows_and_of_observation_times_changes_no_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(GRID))[:40]
    logs = {
        name: TickerLog(
            log.ticker,
            log.bars.iloc[rng.permutation(len(log.bars))],
            log.actions.iloc[rng.permutation(len(log.actions))],
        )
        for name, log in market().items()
    }
    assert same_bits(compute_feature_rows(logs, GRID[order]).to_frame(), rows_at(order))


@PROPERTY
@given(row=st.integers(0, len(GRID) - 1), extra_days=st.integers(0, 10), length=st.integers(1, 60))
def test_a_row_has_the_same_bits_in_whatever_window_it_is_computed(row: int, extra_days: int, length: int) -> None:
    """A short window over just the look-back, against the long grid over all bars."""
    at_us = GRID[row : row + length]
    start = pd.Timestamp(int(at_us[0]) - (FEATURE_LOOKBACK_DAYS + extra_days) * US_PER_DAY, unit="us", tz="UTC")
    end = pd.Timestamp(int(at_us[-1]), unit="us", tz="UTC")
    logs = {
        name: TickerLog(
            log.ticker, log.bars[(log.bars["bar_start"] >= start) & (log.bars["bar_start"] < end)], log.actions
        )
        for name, log in market().items()
    }
    assert same_bits(compute_feature_rows(logs, at_us).to_frame(), rows_at(np.arange(row, row + len(at_us))))


def test_the_look_back_is_enough_for_a_whole_partition() -> None:
    day = np.flatnonzero(us("2024-03-13") <= GRID)[:48]
    first = pd.Timestamp(us("2024-03-13") - FEATURE_LOOKBACK_DAYS * US_PER_DAY, unit="us", tz="UTC")
    logs = {
        name: TickerLog(log.ticker, log.bars[log.bars["bar_start"] >= first], log.actions)
        for name, log in market().items()
    }
    assert same_bits(compute_feature_rows(logs, GRID[day]).to_frame(), rows_at(day))


def test_the_scrambling_reaches_the_rows_that_may_see_it() -> None:
    """The property above would prove nothing if the nonsense changed no row at all."""
    row = len(GRID) // 2
    logs = {name: scrambled(log, int(GRID[row]), np.random.default_rng(1)) for name, log in market().items()}
    later = compute_feature_rows(logs, GRID[row : row + 48]).to_frame()
    assert same_bits(later.iloc[:1], rows_at(np.array([row])))
    assert not same_bits(later, rows_at(np.arange(row, row + 48)))


def test_a_feed_lag_that_were_ignored_would_be_seen() -> None:
    """At 15 minutes before its availability a VIX bar is nonsense to the scrambler, so the row must not use it."""
    at_us = np.array([us("2024-03-06 15:30")])
    logs = {"VIX": scrambled(market()["VIX"], int(at_us[0]), np.random.default_rng(3))}
    rows = compute_feature_rows(logs, at_us)
    assert rows.tickers["VIX"].age_minutes.tolist() == [15.0]
    assert UNIVERSE["VIX"].feed_lag.total_seconds() * 1e6 == 15 * US_PER_MINUTE
