"""The heat map as a PNG, drawn by matplotlib (the optional extra `plots`).

Belongs here: layout on a canvas. Does not belong here: what a cell says (`heatmap.py`).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from market_assets.analysis.heatmap import LIGHT, cell, colour, headline, signed, tallies, text_is_white
from market_assets.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from market_assets.analysis.survey import PairAnalysis, Survey

_DPI = 150
#: inches
_CELL_WIDTH, _CELL_HEIGHT, _NAMES_WIDTH, _SAID_WIDTH = 1.2, 0.36, 0.95, 0.85
_TOP, _LINE, _MARGIN, _GAP = 0.8, 0.17, 0.25, 0.4
_QUIET = "#565c66"
_KEY = "In brackets: 95 % interval, moving-block bootstrap. Documented: what the market is said to do."


def heatmap_picture(found: Survey, *, source: str | None = None) -> bytes:
    """Return the PNG: a panel per crypto reference, a row per ticker, a column per window.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        # Without pyplot there is no window, no global state and no display to look for.
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an optional extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("PNG needs the package matplotlib: pip install 'market-assets[plots]'") from None

    cryptos = found.cryptos
    rows = max(len(found.of(crypto)) for crypto in cryptos)
    panel = _NAMES_WIDTH + _SAID_WIDTH + _CELL_WIDTH * len(found.windows)
    width = max(2 * _MARGIN + (panel + _GAP) * len(cryptos) - _GAP, 7.5)
    body = _CELL_HEIGHT * (rows + 1)
    notes = [*tallies(found), _KEY]
    height = _TOP + body + _LINE * len(notes) + 2 * _MARGIN
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for position, crypto in enumerate(cryptos):
        left = _MARGIN + position * (panel + _GAP)
        area = (left / width, 1.0 - (_TOP + body) / height, panel / width, body / height)
        _panel(figure.add_axes(area), found, crypto, panel)
    left = _MARGIN / width
    figure.text(left, 1.0 - 0.35 / height, "Crypto against the traditional markets", fontsize=13, fontweight="bold")
    told = headline(found) + (f" Source: {source}." if source else "")
    figure.text(left, 1.0 - 0.47 / height, told, fontsize=7.5, color=_QUIET, wrap=True, va="top")
    figure.text(left, _MARGIN / height, "\n".join(notes), fontsize=7.5, color=_QUIET, va="bottom", linespacing=1.4)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": "", "Title": f"Crypto correlations to {found.last}"})
    return out.getvalue()


def _panel(axes: Axes, found: Survey, crypto: str, width: float) -> None:
    pairs = found.of(crypto)
    axes.set_xlim(0.0, width)
    axes.set_ylim(len(pairs) + 1.0, 0.0)
    axes.set_axis_off()
    axes.text(0.0, 0.5, crypto, fontsize=11, fontweight="bold", va="center")
    axes.text(_NAMES_WIDTH + _SAID_WIDTH / 2, 0.5, "documented", fontsize=7.5, color=_QUIET, ha="center", va="center")
    for column, window in enumerate(found.windows):
        middle = _NAMES_WIDTH + _SAID_WIDTH + (column + 0.5) * _CELL_WIDTH
        axes.text(middle, 0.5, f"{window} {found.unit()}s", fontsize=8, color=_QUIET, ha="center", va="center")
    for row, pair in enumerate(pairs, start=1):
        _row(axes, pair, row, found.unit())


def _row(axes: Axes, pair: PairAnalysis, row: int, unit: str) -> None:
    axes.text(0.0, row + 0.5, pair.ticker.name, fontsize=9, va="center")
    said = pair.ticker.documented_crypto_correlation
    if said is not None:
        _box(axes, _NAMES_WIDTH, row, _SAID_WIDTH, said)
        _text(axes, (_NAMES_WIDTH + _SAID_WIDTH / 2, row + 0.5), signed(said), 9.0, said)
    for column, (one, comparison) in enumerate(zip(pair.windows, pair.comparisons, strict=True)):
        shown = cell(one, comparison, unit)
        left = _NAMES_WIDTH + _SAID_WIDTH + column * _CELL_WIDTH
        middle = left + _CELL_WIDTH / 2
        _box(axes, left, row, _CELL_WIDTH, shown.value)
        if shown.value is None:
            axes.text(middle, row + 0.5, "not measured", fontsize=7, color=_QUIET, ha="center", va="center")
        elif not shown.interval:
            _text(axes, (middle, row + 0.5), shown.number, 9.0, shown.value)
        else:
            _text(axes, (middle, row + 0.34), shown.number, 9.0, shown.value)
            _text(axes, (middle, row + 0.76), f"[{shown.interval}]", 6.0, shown.value)


def _box(axes: Axes, left: float, row: int, width: float, value: float | None) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - an optional extra

    face = "white" if value is None else _hex(value)
    edge = "#d5d9e0" if value is None else "white"
    axes.add_patch(
        Rectangle((left + 0.02, row + 0.04), width - 0.04, 0.92, facecolor=face, edgecolor=edge, linewidth=0.6)
    )


def _text(axes: Axes, at: tuple[float, float], text: str, size: float, value: float) -> None:
    """Write on a box of the colour of `value`."""
    ink = "white" if text_is_white(colour(value, LIGHT)) else "black"
    axes.text(*at, text, fontsize=size, color=ink, ha="center", va="center")


def _hex(value: float) -> str:
    red, green, blue = colour(value, LIGHT)
    return f"#{red:02x}{green:02x}{blue:02x}"
