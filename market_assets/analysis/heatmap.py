"""What a heat map of correlations shows, whatever draws it: cells, colours and texts.

Belongs here: the grid and the colour scale. Does not belong here: HTML (`heatmap_page.py`), pixels
(`heatmap_picture.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from market_assets.analysis.definitions import Pairing, ReturnKind

if TYPE_CHECKING:
    from market_assets.analysis.measures import WindowCorrelation
    from market_assets.analysis.survey import Survey
    from market_assets.analysis.verdict import Comparison

#: colours of -1, 0 and +1: blue and red, which people who cannot tell red from green still tell apart
LIGHT = ((33, 102, 172), (247, 247, 247), (178, 24, 43))
DARK = ((67, 147, 214), (38, 40, 44), (228, 92, 80))
#: how many shades there are on each side of zero
SHADES = 10

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Cell:
    """One correlation: the text of its number, of its interval, and all that is known of it in words."""

    value: float | None
    number: str
    interval: str
    words: str


def colour(value: float, scale: tuple[Colour, Colour, Colour] = LIGHT) -> Colour:
    """Return the colour of a correlation, linear between the scale's three."""
    low, middle, high = scale
    end = high if value >= 0.0 else low
    part = min(abs(value), 1.0)
    red, green, blue = (round(one + (two - one) * part) for one, two in zip(middle, end, strict=True))
    return red, green, blue


def text_is_white(background: Colour) -> bool:
    """Whether white text on a background has more contrast than black (WCAG 2 relative luminance)."""
    channels = [
        level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4  # noqa: PLR2004 - the sRGB curve
        for level in (channel / 255.0 for channel in background)
    ]
    luminance = 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    # (1.05) / (L + 0.05) against (L + 0.05) / (0.05)
    return (luminance + 0.05) ** 2 < 1.05 * 0.05


def shade(value: float) -> int:
    """Return the shade of a correlation, -SHADES to SHADES."""
    return round(max(-1.0, min(1.0, value)) * SHADES)


def cell(one: WindowCorrelation, comparison: Comparison, unit: str) -> Cell:
    """Return the cell of one window."""
    if one.correlation is None:
        return Cell(None, "–", "", one.reason or "")  # noqa: RUF001 - a dash in a table
    words = [f"{one.pairs} pairs to {one.last}", f"rank {signed(one.rank)}"]
    words += [f"ticker leads by {lag.lag:+d} {unit}s {signed(lag.correlation)}" for lag in one.lead_lag if lag.lag]
    if comparison.documented is not None:
        words.append(f"documented {signed(comparison.documented)}: {comparison.words}")
    if one.interval is None:
        return Cell(one.correlation, signed(one.correlation), "", "; ".join(words))
    return Cell(one.correlation, signed(one.correlation), between(one), "; ".join(words))


def signed(value: float | None) -> str:
    """Return a correlation with its sign and two digits, a dash for None; never a negative zero."""
    if value is None:
        return "–"  # noqa: RUF001 - a dash in a table
    return f"{value:+.2f}".replace("-0.00", "+0.00")


def between(one: WindowCorrelation) -> str:
    """Return the interval as text, empty if there is none."""
    return "" if one.interval is None else f"{signed(one.interval.low)} to {signed(one.interval.high)}"


def headline(found: Survey) -> str:
    """Return in one sentence what was measured and how."""
    chosen = found.definition
    kinds = "log" if chosen.returns is ReturnKind.LOG else "simple"
    what = "total" if chosen.dividends else "price"
    crypto = (
        "crypto sampled at the ticker's own session close"
        if chosen.pairing is Pairing.SESSION
        else "crypto's close of the same UTC date, hours after the ticker's: for comparison with published figures only"
    )
    return f"Correlation of {chosen.sampling.value} {kinds} {what} returns up to {found.last}; {crypto}."


def tallies(found: Survey) -> list[str]:
    """Return, a sentence for each crypto reference, how many documented values hold."""
    told = []
    for crypto in found.cryptos:
        counts = [(window, *found.tally(crypto, window)) for window in found.windows]
        parts = [f"{held} of {judged} over {window} {found.unit()}s" for window, held, judged in counts if judged]
        if parts:
            told.append(f"{crypto}: documented values that hold: {', '.join(parts)}.")
    return told
