"""Splits and dividends: no price, change or return ever mixes two bases."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from market_assets.metrics import StalenessLimits, TickerMetrics, TickerSeries
from market_assets_tests.market_frames import action_frame, daily, instants, log

LIMITS = StalenessLimits.for_interval(30)
#: USO as it traded around its reverse split 1:8 (8 old for 1 new), ex-date 2020-04-29
NATIVE = {
    "2020-04-24": 2.6,
    "2020-04-27": 2.2,
    "2020-04-28": 2.1,
    "2020-04-29": 18.0,
    "2020-04-30": 19.0,
}
SPLIT = action_frame("USO", [("split", "2020-04-29", 0.125)])


def metrics(bars: pd.DataFrame, actions: pd.DataFrame, *times: str) -> TickerMetrics:
    return TickerSeries.prepare(log("USO", bars, actions=actions)).at(instants(*times), LIMITS)


def rebased(ratio: float, ex_date: str) -> pd.DataFrame:
    """Return the same bars as a source serves them after it has applied the split."""
    before = daily("USO", {label: close / ratio for label, close in NATIVE.items() if label < ex_date}, basis=ratio)
    return pd.concat([before, daily("USO", {label: close for label, close in NATIVE.items() if label >= ex_date})])


def test_a_price_stands_on_the_basis_in_force_at_its_time_whichever_basis_was_stored() -> None:
    times = ("2020-04-28 20:00", "2020-04-29 03:59", "2020-04-29 04:00", "2020-04-29 20:00")  # New York is UTC-4
    for bars in (daily("USO", NATIVE), rebased(0.125, "2020-04-29")):
        result = metrics(bars, SPLIT, *times)
        assert result.price.value.tolist() == [2.1, 2.1, 2.1 / 0.125, 18.0]
        assert result.splits_in_force.tolist() == [0, 0, 1, 1]


def test_changes_across_the_split_join_closes_on_one_basis() -> None:
    times = ("2020-04-28 20:00", "2020-04-29 12:00", "2020-04-29 20:00", "2020-04-30 20:00")
    expected = [100.0 * (x - 1.0) for x in (2.1 / 2.2, 2.1 / 2.2, 18.0 / (2.1 / 0.125), 19.0 / 18.0)]
    for bars in (daily("USO", NATIVE), rebased(0.125, "2020-04-29")):
        result = metrics(bars, SPLIT, *times)
        assert result.change_1d.value == pytest.approx(expected, rel=1e-12)


def test_a_split_unknown_until_now_never_changes_an_older_row() -> None:
    times = ("2020-04-24 20:00", "2020-04-27 20:00", "2020-04-28 20:00")
    without = metrics(daily("USO", NATIVE), action_frame("USO"), *times)
    with_split = metrics(daily("USO", NATIVE), SPLIT, *times)
    assert without.price.value.tolist() == with_split.price.value.tolist()
    assert without.change_1d.value[1:].tolist() == with_split.change_1d.value[1:].tolist()


@pytest.mark.parametrize("ratio", [3.0, 0.1, 1.05, 7 / 3])
def test_a_split_in_the_middle_of_history_never_mixes_bases(ratio: float) -> None:
    """Any mixture of stored bases gives the same returns; nothing is rescaled where it need not be."""
    actions = action_frame("USO", [("split", "2020-04-29", ratio)])
    native = {label: close if label >= "2020-04-29" else close * ratio / 0.125 for label, close in NATIVE.items()}
    old = daily("USO", native)
    new = pd.concat(
        [
            daily("USO", {k: v / ratio for k, v in native.items() if k < "2020-04-29"}, basis=ratio),
            daily("USO", {k: v for k, v in native.items() if k >= "2020-04-29"}),
        ],
        ignore_index=True,
    )
    mixed = pd.concat([old.iloc[[0, 2]], new.iloc[[1, 3, 4]]], ignore_index=True)
    returns = [TickerSeries.prepare(log("USO", bars, actions=actions)).closes.log_return for bars in (old, new, mixed)]
    valid = ~np.isnan(returns[0])
    assert valid.sum() == 4
    for other in returns[1:]:
        assert other[valid] == pytest.approx(returns[0][valid], abs=1e-15)
    # On one stored basis nothing lies between two closes: exact.
    series = TickerSeries.prepare(log("USO", new, actions=actions)).closes
    stored = new["close"].tolist()
    assert series.log_return[valid].tolist() == [math.log(b / a) for a, b in pairwise(stored)]


def test_two_splits_multiply() -> None:
    actions = action_frame("USO", [("split", "2020-04-30", 2.0), ("split", "2020-04-28", 0.25)])
    result = metrics(daily("USO", {"2020-04-27": 8.0}), actions, "2020-04-27 20:00", "2020-04-28 12:00")
    assert result.price.value.tolist() == [8.0, 32.0]
    closes = metrics(daily("USO", {"2020-04-27": 8.0, "2020-04-30": 16.0}), actions, "2020-04-30 20:00")
    assert closes.close_before(3).value.tolist() == [16.0]


def test_a_dividend_is_added_on_its_ex_date_only() -> None:
    actions = action_frame("USO", [("dividend", "2020-04-28", 0.5)])
    result = metrics(daily("USO", NATIVE), actions, "2020-04-27 20:00", "2020-04-28 20:00", "2020-04-30 20:00")
    expected = [100.0 * (2.2 / 2.6 - 1.0), 100.0 * ((2.1 + 0.5) / 2.2 - 1.0), 100.0 * (19.0 / 18.0 - 1.0)]
    assert result.change_1d.value.tolist() == expected
    assert result.price.value.tolist() == [2.2, 2.1, 19.0]
    closes = result.series.closes
    row = int(np.searchsorted(closes.table.label, np.datetime64("2020-04-28")))
    assert closes.log_return[row] == math.log((2.1 + 0.5) / 2.2)


def test_a_rebased_dividend_is_the_same_dividend() -> None:
    plain = metrics(daily("USO", NATIVE), action_frame("USO", [("dividend", "2020-04-28", 0.5)]), "2020-04-28 20:00")
    scaled = action_frame("USO", [("dividend", "2020-04-28", 4.0)], basis=0.125)
    other = metrics(daily("USO", NATIVE), scaled, "2020-04-28 20:00")
    assert plain.change_1d.value.tolist() == other.change_1d.value.tolist()


def test_an_ex_date_on_a_holiday_counts_for_the_next_session() -> None:
    # Good Friday 2020-04-10
    bars = daily("USO", {"2020-04-09": 5.0, "2020-04-13": 5.0})
    actions = action_frame("USO", [("dividend", "2020-04-10", 0.1)])
    result = metrics(bars, actions, "2020-04-13 20:00")
    assert result.change_1d.value.tolist() == [100.0 * ((5.0 + 0.1) / 5.0 - 1.0)]


def test_a_bad_dividend_or_split_is_a_gap_and_never_a_wrong_number() -> None:
    bars = daily("USO", NATIVE)
    for value, basis in ((math.nan, 1.0), (-0.1, 1.0), (0.1, 0.0), (0.1, -1.0), (0.1, math.nan)):
        bad_dividend = action_frame("USO", [("dividend", "2020-04-28", value)], basis=basis)
        result = metrics(bars, bad_dividend, "2020-04-27 20:00", "2020-04-28 20:00")
        assert result.change_1d.reasons.tolist() == [None, "bad_action"]
    bad_split = action_frame("USO", [("split", "2020-04-29", 0.0)])
    result = metrics(bars, bad_split, "2020-04-28 20:00", "2020-04-29 12:00", "2020-04-29 20:00")
    assert result.price.reasons.tolist() == [None, "bad_action", None]
    assert result.change_1d.is_null.tolist() == [False, True, True]
