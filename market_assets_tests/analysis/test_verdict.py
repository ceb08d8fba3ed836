"""What the market is said to do beside what was measured, in words."""

from __future__ import annotations

from datetime import date

import pytest

from market_assets.analysis import Interval, WindowCorrelation
from market_assets.analysis.verdict import compare


def window(correlation: float | None, interval: tuple[float, float] | None = None) -> WindowCorrelation:
    return WindowCorrelation(
        window=90,
        first=date(2026, 1, 2),
        last=date(2026, 5, 12),
        pairs=90,
        approximate_pairs=0,
        correlation=correlation,
        reason=None if correlation is not None else "12 of 90 pairs, 81 are needed",
        interval=None if interval is None else Interval(*interval, 4),
        interval_reason=None,
        rank=correlation,
        lead_lag=(),
    )


@pytest.mark.parametrize(
    ("documented", "measured", "interval", "verdict", "words"),
    [
        (0.75, 0.60, (0.40, 0.78), "holds", "inside the interval"),
        (0.70, 0.33, (-0.21, 0.72), "holds", "inside the interval, about zero"),
        (0.75, 0.32, (0.11, 0.50), "weaker", "outside of the interval: measured weaker"),
        (-0.45, -0.20, (-0.40, 0.01), "weaker", "outside of the interval: measured weaker, about zero"),
        (-0.45, -0.80, (-0.90, -0.60), "stronger", "outside of the interval: measured stronger"),
        (-0.45, 0.30, (0.10, 0.50), "opposite sign", "outside of the interval: measured with the opposite sign"),
        (
            -0.45,
            0.02,
            (-0.20, 0.24),
            "opposite sign",
            "outside of the interval: measured with the opposite sign, about zero",
        ),
        (
            -0.45,
            0.02,
            (-0.50, 0.53),
            "opposite sign",
            "inside the interval: measured with the opposite sign, about zero",
        ),
    ],
)
def test_a_documented_value_holds_if_it_has_the_sign_and_lies_in_the_interval(
    documented: float, measured: float, interval: tuple[float, float], verdict: str, words: str
) -> None:
    found = compare(documented, window(measured, interval))
    assert (found.verdict, found.words) == (verdict, words)
    assert found.sign_agrees == (verdict != "opposite sign")


def test_what_is_missing_is_neither_held_nor_contradicted() -> None:
    assert compare(None, window(0.5, (0.3, 0.6))).verdict == "undocumented"
    for one in (window(None), window(0.5)):
        found = compare(0.75, one)
        assert (found.verdict, found.words, found.sign_agrees) == ("not measured", "not measured", None)
