"""The limits of the checks on real prices: years without a false alarm, and the few days that are one.

The data and the reading of it are those of `scripts/derive_check_limits.py`.
"""

from __future__ import annotations

import runpy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from market_assets.checks.complete import HOLE_LIMIT, THIN_HOLE_LIMIT
from market_assets.checks.identities import DAILY_TOLERANCE, DXY_REMAINDER
from market_assets.checks.movement import JUMP_LIMIT, LEVEL_LIMIT, STUCK_LIMIT
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    import pandas as pd

SCRIPT = Path(__file__).parents[2] / "scripts" / "derive_check_limits.py"
YAHOO_FX = "fx_ohlc_yahoo_alex.csv.gz"


@cache
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def data(shared_dir: Path) -> tuple[dict[str, dict[str, pd.DataFrame]], dict[str, dict[str, pd.DataFrame]]]:
    found: tuple[dict[str, dict[str, pd.DataFrame]], dict[str, dict[str, pd.DataFrame]]] = script()["read"](
        shared_dir / "market"
    )
    return found


Data = tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]


def test_four_days_in_nine_years_of_every_ticker_are_jumps_and_none_stands_still_or_leaves_its_level(
    data: Data,
) -> None:
    daily, _ = data
    jumps, bars = set(), 0
    for rows_by_name in daily.values():
        for name, rows in rows_by_name.items():
            found = script()["examined"](UNIVERSE[name], script()["daily_bars"](UNIVERSE[name], rows))
            bars += found.bars
            assert found.largest_level < LEVEL_LIMIT * 0.7, name
            assert found.longest_stuck == 0, name
            jumps |= {(name, f"{one.bar_start:%Y-%m}") for one in found.unusual if one.observed >= JUMP_LIMIT}
    assert bars > 60_000
    assert jumps == {("BTC", "2018-11"), ("BTC", "2020-03"), ("USO", "2020-03")}


def test_no_intraday_bar_is_a_jump_and_the_longest_standstill_is_a_quarter_of_the_limit(data: Data) -> None:
    daily, intraday = data
    past: dict[str, Any] = {}
    for rows_by_name in daily.values():
        past |= {name: script()["daily_bars"](UNIVERSE[name], rows) for name, rows in rows_by_name.items()}
    bars, longest = 0, 0.0
    for rows_by_name in intraday.values():
        for name, rows in rows_by_name.items():
            found = script()["examined"](UNIVERSE[name], script()["intraday_bars"](UNIVERSE[name], rows), past[name])
            assert found.unusual == [], name
            assert found.largest_jump < JUMP_LIMIT / 2, name
            assert found.without_past < found.bars / 10, name
            bars += found.bars
            longest = max(longest, found.longest_stuck)
    assert bars > 60_000
    assert longest == 30.0 == STUCK_LIMIT / 4


def test_of_the_etfs_only_the_thinly_traded_ones_lack_quarter_hours_or_are_late_and_those_within_their_limits(
    data: Data,
) -> None:
    rows_by_name = dict(data[1]["A_etf_1m_yahoo_2019-12_2020-01.csv.gz"])
    # its recording ends in the middle of a day, behind that of the others
    rows_by_name["SPY"] = rows_by_name["SPY"].loc[:"2020-01-11"]
    days = 0
    for name, rows in rows_by_name.items():
        ticker = UNIVERSE[name]
        bars = script()["intraday_bars"](ticker, rows)
        found, late = script()["missing_by_day"](ticker, bars), script()["lateness"](ticker, bars)
        share = found["missing"] / found["expected"]
        if ticker.thinly_traded:
            assert share.max() < THIN_HOLE_LIMIT * 0.7
            assert late.max() < 45 * 0.7
        else:
            assert share.max() == 0.0, name
            assert late.max() == 0.0, name
            days += len(found)
    assert days > 100
    # and the thin ones could not be judged as the others are
    thin = script()["intraday_bars"](UNIVERSE["ARKQ"], rows_by_name["ARKQ"])
    lost = script()["missing_by_day"](UNIVERSE["ARKQ"], thin)
    assert ((lost["missing"] / lost["expected"]) > HOLE_LIMIT).mean() > 0.5
    assert (script()["lateness"](UNIVERSE["ARKQ"], thin) > 15).sum() > 10


def test_the_dollar_index_agrees_with_its_weights_at_every_close_of_seven_years(data: Data) -> None:
    closes = {name: rows["close"] for name, rows in data[0][YAHOO_FX].items()}
    index = data[0]["dxy_ohlc_yahoo_kittycapital.csv.gz"]["DXY"]["close"]
    left = script()["dollar_remainder"]({**closes, "DXY": index}, shifted=True)
    assert len(left) > 1800
    low, high = DXY_REMAINDER
    assert low < left.min()
    assert left.max() < high
    # and not because anything would: one percent of the width is used
    assert left.max() / left.min() > 1 + (high / low - 1) / 2


def test_a_currencys_daily_row_is_the_price_at_the_start_of_its_day(data: Data) -> None:
    daily, intraday = data
    for other in ("A_eurusd_30m_broker_2019-06_2020-10.csv.gz",):
        apart = script()["daily_against"](daily[YAHOO_FX]["EURUSD"]["close"], intraday[other]["EURUSD"])
        assert len(apart) > 300
        assert apart.max() < DAILY_TOLERANCE / 3
        # the broker's own daily rows close at the end of their day, and would not do
        wrong = script()["daily_against"](
            daily["fx_ohlc_broker_ejtrader.csv.gz"]["EURUSD"]["close"], intraday[other]["EURUSD"]
        )
        assert wrong.max() > DAILY_TOLERANCE
