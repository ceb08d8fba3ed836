from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_assets.calendars import US_PER_DAY, venue_calendar
from market_assets.maths.arrays import NO_TEXT, map_floats
from market_assets.maths.quantity import Quantity
from market_assets.maths.windows import pearson, required_pairs, sample_stdev, stretches
from market_assets.metrics import METRIC_SESSIONS, lookback_days
from market_assets.universe import UNIVERSE

RETURNS = st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=25)


@given(RETURNS)
def test_the_standard_deviation_is_numpys_with_ddof_1(values: list[float]) -> None:
    assert sample_stdev(np.array(values)) == pytest.approx(float(np.std(values, ddof=1)), rel=1e-9, abs=1e-15)


@given(RETURNS)
def test_statistics_have_the_same_bits_whatever_array_the_values_come_from(values: list[float]) -> None:
    contiguous = np.array(values)
    strided = np.repeat(contiguous, 3)[::3]
    assert sample_stdev(contiguous) == sample_stdev(strided)
    assert np.array_equal(pearson(contiguous, contiguous**2), pearson(strided, strided**2), equal_nan=True)


def test_equal_values_have_no_deviation_and_no_correlation() -> None:
    equal, other = np.full(20, 0.1), np.arange(20.0)
    assert sample_stdev(equal) == 0.0
    assert math.isnan(pearson(equal, other))
    assert math.isnan(pearson(other, equal))


def test_correlation_is_exact_at_its_ends_and_survives_tiny_returns() -> None:
    x = np.array([1.0, 2.0, 4.0, 3.0]) * 1e-160
    assert pearson(x, x) == pytest.approx(1.0)
    assert pearson(x, -x) == pytest.approx(-1.0)
    assert -1.0 <= pearson(x, -3.0 * x) <= 1.0


def test_ninety_percent_of_a_window_must_be_valid() -> None:
    assert required_pairs(20) == 18
    assert required_pairs(90) == 81


def test_a_step_function_is_evaluated_once_per_stretch() -> None:
    instants, position = stretches(np.array([10, 20]), np.array([25, 9, 10, 19, 20]))
    assert instants == [np.iinfo(np.int64).min, 10, 20]
    assert position.tolist() == [2, 0, 1, 1, 2]


def test_logarithms_are_pythons() -> None:
    values = np.array([1.1, np.nan, 0.3])
    assert map_floats(math.log, values)[0] == math.log(1.1)
    assert np.isnan(map_floats(math.log, values)[1])


def _quantity(values: list[float], reasons: list[str | None], fresh: bool = True) -> Quantity:
    return Quantity(np.array(values), np.array(reasons, dtype=object), np.full(len(values), fresh))


def test_arithmetic_never_turns_a_missing_operand_into_a_number() -> None:
    known, missing = _quantity([4.0, 4.0], [None, None]), _quantity([2.0, np.nan], [None, "VIX stale"])
    for result in (known + missing, known - missing, known * missing, known / missing, missing / known, 2.0 * missing):
        assert not math.isnan(result.value[0])
        assert math.isnan(result.value[1])
        assert result.reasons.tolist() == [None, "VIX stale"]


def test_what_is_not_finite_is_missing_with_a_reason() -> None:
    zero = _quantity([0.0], [None])
    for result in (zero / zero, _quantity([1.0], [None]) / zero, zero.log()):
        assert math.isnan(result.value[0])
        assert result.reasons.tolist() == ["not_finite"]


def test_a_result_is_fresh_only_if_every_operand_is() -> None:
    fresh, old = _quantity([1.0], [None]), _quantity([1.0], [None], fresh=False)
    assert (fresh + fresh).counts.tolist() == [True]
    assert (fresh + old).counts.tolist() == [False]
    assert (fresh + 1.0).counts.tolist() == [True]


def test_nulling_keeps_older_reasons() -> None:
    quantity = _quantity([1.0, np.nan], [None, "stale"]).null_where(np.array([True, True]), "other")
    assert quantity.reasons.tolist() == ["other", "stale"]
    assert quantity.is_null.all()
    assert np.full(1, NO_TEXT).tolist() == [None]


@pytest.mark.parametrize("venue", sorted({ticker.venue for ticker in UNIVERSE}))
@pytest.mark.parametrize("sessions", [1, METRIC_SESSIONS, 91])
def test_the_look_back_in_days_always_holds_the_sessions(venue: str, sessions: int) -> None:
    calendar = venue_calendar(venue)
    table = calendar.sessions(calendar.first_day, calendar.last_day)
    # From the end of a session until the next one begins it stays the last one: the worst T is just before that.
    opened, until = table.open_us[:-sessions], table.open_us[sessions:]
    assert int((until - opened).max()) <= lookback_days(sessions) * US_PER_DAY
