"""The interval of a correlation covers what it claims to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from market_assets.analysis import Interval, correlation_interval
from market_assets.analysis.bootstrap import block_length, student_quantile

if TYPE_CHECKING:
    from collections.abc import Callable

    from market_assets.maths.arrays import FloatArray

    Draw = Callable[[np.random.Generator, int], tuple[FloatArray, FloatArray]]

TRUE = 0.5
SAMPLES = 400


def _related(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray]:
    return first, TRUE * first + np.sqrt(1.0 - TRUE**2) * second


def independent(draw: np.random.Generator, pairs: int) -> tuple[FloatArray, FloatArray]:
    """Normal returns, one day like another."""
    return _related(*draw.standard_normal((2, pairs)))


def persistent(draw: np.random.Generator, pairs: int) -> tuple[FloatArray, FloatArray]:
    """Each return carries .3 of the one before, on both sides."""
    noise = draw.standard_normal((2, pairs + 50))
    for step in range(1, pairs + 50):
        noise[:, step] += 0.3 * noise[:, step - 1]
    return _related(*noise[:, 50:])


def clustered(draw: np.random.Generator, pairs: int) -> tuple[FloatArray, FloatArray]:
    """Calm and wild stretches that both sides share."""
    level = np.zeros(pairs + 100)
    for step in range(1, len(level)):
        level[step] = 0.95 * level[step - 1] + 0.3 * draw.standard_normal()
    return _related(*(draw.standard_normal((2, pairs)) * np.exp(level[100:] / 2.0)))


def heavy(draw: np.random.Generator, pairs: int) -> tuple[FloatArray, FloatArray]:
    """Student's with four degrees of freedom, shocks that hit both sides at once."""
    return _related(*(draw.standard_normal((2, pairs)) / np.sqrt(draw.chisquare(4, pairs) / 4.0)))


@pytest.mark.parametrize("kind", [independent, persistent, clustered, heavy])
@pytest.mark.parametrize("pairs", [20, 90])
def test_the_interval_holds_the_true_correlation_about_nineteen_times_of_twenty(kind: Draw, pairs: int) -> None:
    """.95 within what 400 samples can tell; a method that covers .85 or everything fails."""
    draw = np.random.default_rng(20240229)
    hits = 0
    for _ in range(SAMPLES):
        interval = correlation_interval(*kind(draw, pairs), resamples=499)
        assert interval is not None
        hits += TRUE in interval
    assert 0.89 <= hits / SAMPLES <= 0.98, hits / SAMPLES


def test_the_textbook_interval_would_not_do() -> None:
    """Why there is a bootstrap at all: with shared shocks, Fisher's interval covers far less than it says."""
    draw = np.random.default_rng(20240229)
    hits = 0
    for _ in range(SAMPLES):
        z = np.arctanh(np.corrcoef(*heavy(draw, 90))[0, 1])
        hits += abs(z - np.arctanh(TRUE)) <= 1.96 / np.sqrt(87)
    assert hits / SAMPLES < 0.86


def test_more_pairs_make_it_narrower() -> None:
    draw = np.random.default_rng(3)
    x, y = independent(draw, 250)
    widths = []
    for pairs in (20, 90, 250):
        interval = correlation_interval(x[-pairs:], y[-pairs:])
        assert interval is not None
        widths.append(interval.high - interval.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[2] < 0.3


def test_the_same_sample_has_the_same_interval() -> None:
    x, y = clustered(np.random.default_rng(4), 90)
    assert correlation_interval(x, y) == correlation_interval(x.copy(), y.copy())
    assert correlation_interval(x, y) != correlation_interval(x, y, seed=5)


def test_size_and_mean_do_not_matter_and_the_sides_may_be_swapped() -> None:
    x, y = clustered(np.random.default_rng(5), 90)
    one = correlation_interval(x, y)
    assert one is not None
    for other in (correlation_interval(1e-6 * x + 3.0, 1e6 * y - 1.0), correlation_interval(y, x)):
        assert other is not None
        assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=1e-7)
    mirrored = correlation_interval(x, -y)
    assert mirrored is not None
    assert (-mirrored.high, -mirrored.low) == pytest.approx((one.low, one.high), abs=1e-12)


def test_what_cannot_have_an_interval_has_none() -> None:
    x, y = independent(np.random.default_rng(6), 90)
    assert correlation_interval(x[:9], y[:9]) is None
    assert correlation_interval(x[:10], y[:10]) is not None
    assert correlation_interval(x, np.full(90, 0.5)) is None
    assert correlation_interval(x, 2.0 * x) is None
    once = np.zeros(90)
    once[40] = 1.0  # a third of the resamples do not draw it
    assert correlation_interval(x, once) is None


def test_the_blocks_are_the_cube_root_of_the_sample() -> None:
    assert [block_length(pairs) for pairs in (10, 20, 90, 250)] == [2, 3, 4, 6]
    interval = correlation_interval(*independent(np.random.default_rng(7), 250))
    assert interval is not None
    assert interval.block == 6


def test_both_ends_belong_to_the_interval() -> None:
    assert 0.25 in Interval(0.25, 0.5, 3)
    assert 0.5 in Interval(0.25, 0.5, 3)
    assert 0.51 not in Interval(0.25, 0.5, 3)


@pytest.mark.parametrize(("degrees", "tabulated"), [(8, 2.3060), (18, 2.1009), (88, 1.9873), (248, 1.9696)])
def test_students_quantile_is_the_tabulated_one(degrees: int, tabulated: float) -> None:
    assert student_quantile(0.975, degrees) == pytest.approx(tabulated, abs=5e-4)
