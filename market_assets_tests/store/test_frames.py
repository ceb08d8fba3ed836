"""What frames the store takes, and what it says of the others. No database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from market_assets.errors import NaiveTimestampError
from market_assets.store.frames import NO_INSTANT, to_arrays, to_frame
from market_assets.store.tables import CORPORATE_ACTIONS, MARKET_BARS, ML_INDICATORS, QUARANTINED_BARS
from market_assets_tests.store.builders import at, bars, indicator_rows

Spoil = Callable[[pd.DataFrame], pd.DataFrame]


def test_a_frame_survives_the_way_there_and_back() -> None:
    frame = bars([1.0, float("nan")])
    pd.testing.assert_frame_equal(to_frame(MARKET_BARS.columns, to_arrays(MARKET_BARS, frame)), frame)


def test_pandas_own_strings_are_taken_and_come_back_as_python_strings() -> None:
    frame = indicator_rows([1.0, 2.0]).astype({"indicator": "string"})
    frame["reason"] = pd.array(["a", None], dtype="string")
    back = to_frame(ML_INDICATORS.columns, to_arrays(ML_INDICATORS, frame))
    assert list(back["reason"]) == ["a", None]
    assert type(back["indicator"][0]) is str


def test_rows_are_sorted_by_key() -> None:
    arrays = to_arrays(MARKET_BARS, bars([1.0, 2.0, 3.0]).iloc[::-1])
    assert list(arrays["close"]) == [1.0, 2.0, 3.0]


def test_other_zones_and_units_become_utc_microseconds() -> None:
    frame = indicator_rows([1.0])
    frame["observed_at"] = frame["observed_at"].dt.tz_convert(ZoneInfo("America/New_York")).dt.as_unit("ns")
    assert list(to_arrays(ML_INDICATORS, frame)["observed_at"]) == [int(at(0).timestamp() * 1_000_000)]


def test_a_column_of_datetime_objects_is_taken_and_missing_ones_become_null() -> None:
    frame = bars([1.0, 2.0]).assign(reason="bad")
    frame["bar_end"] = pd.Series([at(16).astimezone(ZoneInfo("Asia/Tokyo")), None], dtype=object)
    arrays = to_arrays(QUARANTINED_BARS, frame)
    assert list(arrays["bar_end"]) == [int(at(16).timestamp() * 1_000_000), NO_INSTANT]


@pytest.mark.parametrize("naive", [pd.Timestamp("2026-03-02"), datetime(2026, 3, 2)])  # noqa: DTZ001 - the subject
def test_naive_instants_are_refused(naive: datetime) -> None:
    with pytest.raises(NaiveTimestampError, match=r"ml_indicators.observed_at"):
        to_arrays(ML_INDICATORS, indicator_rows([1.0]).assign(observed_at=[naive]))
    with pytest.raises(NaiveTimestampError, match=r"ml_indicators.observed_at"):
        to_arrays(ML_INDICATORS, indicator_rows([1.0]).assign(observed_at=pd.Series([naive], dtype=object)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frame: frame.drop(columns=["close", "basis"]), "lacks the columns close, basis"),
        (lambda frame: frame.assign(complete=True), "columns the table does not: complete"),
        (lambda frame: frame.assign(bar_start=[1, 2]), "bar_start has dtype int64"),
        (lambda frame: frame.assign(close="high"), "close has dtype .* that are no numbers"),
        (lambda frame: frame.assign(source=[None, "yahoo"]), "source is NULL in 1 rows"),
        (lambda frame: frame.assign(source=[7, 7]), r"source holds 7 \(int\)"),
        (lambda frame: frame.assign(interval="a" * 17), "at most 16 characters"),
        (lambda frame: frame.assign(ticker="QQQ "), "no trailing blank"),
        (lambda frame: frame.assign(bar_start=frame["bar_start"].iloc[0]), "share the key"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_with_the_column_and_the_reason(spoil: Spoil, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_arrays(MARKET_BARS, spoil(bars([1.0, 2.0])))


@pytest.mark.parametrize("value", [datetime(2026, 3, 2, tzinfo=UTC), "2026-03-02", pd.Timestamp("2026-03-02")])
def test_only_dates_are_dates(value: object) -> None:
    frame = pd.DataFrame({"ticker": ["QQQ"], "kind": ["split"], "value": [2.0], "basis": [1.0], "source": ["yahoo"]})
    with pytest.raises(ValueError, match=r"corporate_actions.ex_date holds .* takes datetime.date"):
        to_arrays(CORPORATE_ACTIONS, frame.assign(ex_date=pd.Series([value], dtype=object)))
    assert to_arrays(CORPORATE_ACTIONS, frame.assign(ex_date=[date(2026, 3, 2)]))["ex_date"] == np.datetime64(
        "2026-03-02"
    )
