from __future__ import annotations

import math

import pandas as pd
import pytest

from market_assets.collection.sanity import split_by_sanity
from market_assets.universe import UNIVERSE


def bar(opened: float, high: float, low: float, close: float, volume: float = 10.0) -> pd.DataFrame:
    start = pd.Timestamp("2026-01-02T14:30Z")
    return pd.DataFrame(
        {
            "bar_start": [start],
            "bar_end": [start + pd.Timedelta("15min")],
            "open": [opened],
            "high": [high],
            "low": [low],
            "close": [close],
            "volume": [volume],
        }
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (bar(10, 11, 9, math.nan), "not_finite"),
        (bar(10, math.inf, 9, 10), "not_finite"),
        (bar(10, 11, 0, 10), "not_positive"),
        (bar(10, 11, -1, 10), "not_positive"),
        (bar(10, 9, 11, 10), "high_below_low"),
        (bar(10, 11, 9, 12), "outside_range"),
        (bar(8, 11, 9, 10), "outside_range"),
        (bar(10, 11, 9, 10, -5), "negative_volume"),
    ],
)
def test_an_impossible_bar_is_held_back_with_its_reason(row: pd.DataFrame, reason: str) -> None:
    good, bad = split_by_sanity(row, UNIVERSE["QQQ"])
    assert good.empty
    assert bad["reason"].tolist() == [reason]


def test_a_possible_bar_passes_unchanged() -> None:
    row = bar(10, 11, 9, 10.5)
    good, bad = split_by_sanity(row, UNIVERSE["QQQ"])
    pd.testing.assert_frame_equal(good, row)
    assert bad.empty


def test_a_close_just_outside_its_own_range_is_rounding_not_an_error() -> None:
    good, _ = split_by_sanity(bar(1.0800, 1.0810, 1.0790, 1.0812), UNIVERSE["EURUSD"])
    assert len(good) == 1


def test_a_yen_that_was_not_inverted_is_held_back_by_its_band() -> None:
    _, bad = split_by_sanity(bar(150, 151, 149, 150), UNIVERSE["JPYUSD"])
    assert bad["reason"].tolist() == ["outside_band"]
    good, _ = split_by_sanity(bar(0.00667, 0.00668, 0.00666, 0.0067), UNIVERSE["JPYUSD"])
    assert good["close"].tolist() == [0.0067]
