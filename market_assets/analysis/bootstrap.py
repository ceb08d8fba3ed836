"""The interval of a correlation, by a moving-block bootstrap.

Belongs here: resampling and the interval. Does not belong here: which pairs make up a sample, judging what is measured.

Returns are neither normal nor independent: calm and wild days come in clusters that both markets share. The textbook's
interval (Fisher 1921: z = artanh r has the standard error 1 / sqrt(n - 3)) assumes otherwise and is too narrow. So
the standard error of z is taken from resamples that are put together from blocks of consecutive pairs (moving blocks:
Kuensch 1989, Annals of Statistics 17), block length n^(1/3), the rate at which the error of such a variance is least
(Hall, Horowitz and Jing 1995, Biometrika 82). Two corrections for short samples: resampling n / l blocks shows a
variance too small by the factor (n - l) / n, as n values show one too small by (n - 1) / n; and the quantile is
Student's with n - 2 degrees of freedom. The interval is tanh(z -+ t * error). What that covers is measured in
docs/correlations.md; percentiles of the resamples cover less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from market_assets.maths.windows import pearson

if TYPE_CHECKING:
    from market_assets.maths.arrays import FloatArray

LEVEL = 0.95
RESAMPLES = 1999
#: the same sample has the same interval, here and on any other machine, as long as numpy draws the same numbers
SEED = 20200312
#: with fewer there are too few distinct blocks for an error
FEWEST_PAIRS = 10
#: a resample further out has lost all but a straight line; artanh has no end
_MOST = 1.0 - 1e-9


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval of a correlation."""

    low: float
    high: float
    #: length of the blocks, in pairs
    block: int

    def __contains__(self, value: float) -> bool:
        """Whether `value` lies within, ends included."""
        return self.low <= value <= self.high


def block_length(pairs: int) -> int:
    """Return the length of the blocks: the cube root of the number of pairs, rounded (20: 3, 90: 4, 250: 6)."""
    return max(1, round(math.cbrt(pairs)))


def correlation_interval(
    x: FloatArray, y: FloatArray, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = SEED
) -> Interval | None:
    """Return the interval of Pearson's correlation of two equally long samples, in time order, without NaN.

    None with fewer than FEWEST_PAIRS pairs, without variance, for points on a straight line, and where over a
    twentieth of the resamples have no variance.
    """
    pairs = len(x)
    if pairs < FEWEST_PAIRS:
        return None
    measured = pearson(x, y)
    if not abs(measured) < _MOST:
        return None
    block = block_length(pairs)
    # Of values without a mean and of size one, sums of squares lose nothing to cancellation.
    dx, dy = ((side - side.mean()) / side.std() for side in (x, y))
    moments = _weights(pairs, block, resamples, seed) @ np.column_stack((dx, dy, dx * dx, dy * dy, dx * dy))
    sx, sy, sxx, syy, sxy = moments.T / pairs
    variance = np.maximum(sxx - sx * sx, 0.0) * np.maximum(syy - sy * sy, 0.0)
    usable = variance > 0.0
    if usable.mean() < level:
        return None
    resampled = (sxy - sx * sy)[usable] / np.sqrt(variance[usable])
    spread = float(np.arctanh(np.clip(resampled, -_MOST, _MOST)).std(ddof=1))
    error = spread * math.sqrt(pairs / (pairs - block))
    z, reach = math.atanh(measured), student_quantile(0.5 + level / 2.0, pairs - 2) * error
    return Interval(math.tanh(z - reach), math.tanh(z + reach), block)


def student_quantile(probability: float, degrees: int) -> float:
    """Return Student's quantile; from 8 degrees of freedom on the error at .975 is below 0.0005.

    Source: the expansion in 1 / degrees of Abramowitz and Stegun, 26.7.5.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4.0,
        (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0,
        (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0,
        (79.0 * z**9 + 776.0 * z**7 + 1482.0 * z**5 - 1920.0 * z**3 - 945.0 * z) / 92160.0,
    )
    return math.fsum(term / degrees**power for power, term in enumerate(terms))


@lru_cache(maxsize=4)
def _weights(pairs: int, block: int, resamples: int, seed: int) -> FloatArray:
    """Return how often each resample (row) has drawn each pair (column)."""
    draw = np.random.default_rng([seed, pairs, block])
    starts = draw.integers(0, pairs - block + 1, size=(resamples, -(-pairs // block)))
    drawn = (starts[:, :, np.newaxis] + np.arange(block)).reshape(resamples, -1)[:, :pairs]
    flat = drawn + np.arange(resamples)[:, np.newaxis] * pairs
    counts = np.bincount(flat.ravel(), minlength=resamples * pairs)
    return counts.reshape(resamples, pairs).astype(np.float64)
