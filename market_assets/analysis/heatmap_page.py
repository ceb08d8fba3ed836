"""The heat map as one HTML page that stands alone: no script, nothing requested from elsewhere, light and dark.

Belongs here: markup and style. Does not belong here: what a cell says (`heatmap.py`).

Colour is never the only carrier: each cell has its number, and its interval as text.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from market_assets.analysis.bootstrap import RESAMPLES
from market_assets.analysis.heatmap import (
    DARK,
    LIGHT,
    SHADES,
    between,
    cell,
    colour,
    headline,
    shade,
    signed,
    tallies,
    text_is_white,
)
from market_assets.analysis.measures import LAGS

if TYPE_CHECKING:
    from market_assets.analysis.heatmap import Colour
    from market_assets.analysis.survey import PairAnalysis, Survey

_STYLE = """\
:root { color-scheme: light dark; --ink: #1b1d21; --quiet: #565c66; --paper: #ffffff; --line: #d5d9e0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8eaee; --quiet: #a3aab5; --paper: #17191c; --line: #3a3f47; }
}
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { max-width: 48rem; } .quiet { color: var(--quiet); }
.maps { display: flex; flex-wrap: wrap; gap: 2rem; } .wide { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 2px; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .4rem; }
th { font-weight: 600; text-align: left; padding: .2rem .5rem; } thead th { color: var(--quiet); }
td { padding: .25rem .5rem; text-align: center; white-space: nowrap; }
td.words, th.words { text-align: left; white-space: normal; min-width: 13rem; }
.list td { padding: .2rem .35rem; } .list td, .list th { border-bottom: 1px solid var(--line); }
.map td { min-width: 6.2rem; border-radius: 3px; } .map td.said { min-width: 3.5rem; }
.map b { display: block; font-size: 1.05rem; } .map small { display: block; }
td.none { color: var(--quiet); border: 1px dashed var(--line); }
"""

_KEY = (
    f"Large: Pearson's correlation. Small: its 95 % interval, from {RESAMPLES} moving-block resamples. Documented: "
    "what the market is said to do; it is never an input. A documented value holds where it has the measured sign and "
    "lies inside the interval: it is not contradicted, and a wide interval contradicts little."
)
_LAG_KEY = (
    "Lead and lag: the ticker's return with crypto's return so many steps later; positive: the ticker leads. Within "
    "the noise bound lies what as many unrelated returns give 19 times of 20. About zero: the interval contains zero. "
    "Pairs after a ~: how many take crypto's UTC-daily close, where no bar at the ticker's close is."
)


def heatmap_page(found: Survey, *, source: str | None = None) -> str:
    """Return the page. `source`: where the rows come from, said on the page."""
    unit = found.unit()
    origin = f" Source of the prices: {escape(source)}." if source else ""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Crypto correlations to {found.last}</title>",
            f"<style>\n{_STYLE}{_shades()}</style>",
            "</head>",
            "<body>",
            "<h1>Crypto against the traditional markets</h1>",
            f"<p>{escape(headline(found))}{origin}</p>",
            f"<ul>{''.join(f'<li>{escape(told)}</li>' for told in tallies(found))}</ul>",
            '<div class="maps">',
            *(_map(found, crypto) for crypto in found.cryptos),
            "</div>",
            f'<p class="quiet">{_KEY}</p>',
            *(_list(found, crypto, unit) for crypto in found.cryptos),
            f'<p class="quiet">{_LAG_KEY}</p>',
            "</body>",
            "</html>",
            "",
        ]
    )


def _map(found: Survey, crypto: str) -> str:
    unit = found.unit()
    heads = "".join(f'<th scope="col">{window} {unit}s</th>' for window in found.windows)
    rows = "\n".join(_map_row(pair, unit) for pair in found.of(crypto))
    return (
        f'<div class="wide"><table class="map"><caption>{escape(crypto)}</caption>\n'
        f'<thead><tr><th scope="col">Ticker</th><th scope="col">Documented</th>{heads}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _map_row(pair: PairAnalysis, unit: str) -> str:
    said = pair.ticker.documented_crypto_correlation
    cells = [_said(said)]
    for one, comparison in zip(pair.windows, pair.comparisons, strict=True):
        shown = cell(one, comparison, unit)
        title = f' title="{escape(shown.words)}"' if shown.words else ""
        if shown.value is None:
            cells.append(f'<td class="none"{title}>{escape(shown.number)}<small>{escape(shown.words)}</small></td>')
        else:
            small = f"<small>{escape(shown.interval)}</small>" if shown.interval else ""
            cells.append(f'<td class="{_name(shown.value)}"{title}><b>{escape(shown.number)}</b>{small}</td>')
    name = f'<th scope="row" title="{escape(pair.ticker.description)}">{escape(pair.ticker.name)}</th>'
    return f"<tr>{name}{''.join(cells)}</tr>"


def _said(value: float | None) -> str:
    return '<td class="said"></td>' if value is None else f'<td class="said {_name(value)}">{signed(value)}</td>'


def _list(found: Survey, crypto: str, unit: str) -> str:
    heads = ["Ticker", f"{unit.capitalize()}s", "Documented", "Measured", "95 % interval", "Rank"]
    heads += [f"Lag {lag:+d}" for lag in LAGS if lag] + ["Noise bound", "Pairs"]
    rows = [
        _list_row(pair, position, len(found.windows))
        for pair in found.of(crypto)
        for position in range(len(found.windows))
    ]
    columns = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return (
        f"<h2>{escape(crypto)} in full</h2>\n"
        f'<div class="wide"><table class="list"><thead><tr>{columns}'
        '<th scope="col" class="words">The documented value is</th></tr></thead>\n'
        f"<tbody>\n{chr(10).join(rows)}\n</tbody></table></div>"
    )


def _list_row(pair: PairAnalysis, position: int, count: int) -> str:
    one, comparison = pair.windows[position], pair.comparisons[position]
    name = f'<th scope="row" rowspan="{count}">{escape(pair.ticker.name)}</th>' if position == 0 else ""
    noise = "" if one.noise is None else f"±{one.noise:.2f}"
    texts = [
        str(one.window),
        "" if comparison.documented is None else signed(comparison.documented),
        signed(one.correlation),
        between(one),
        signed(one.rank),
        *(signed(lag.correlation) for lag in one.lead_lag if lag.lag),
        noise,
        str(one.pairs) + (f" ~{one.approximate_pairs}" if one.approximate_pairs else ""),
    ]
    words = comparison.words or one.reason or ""
    cells = "".join(f"<td>{escape(text)}</td>" for text in texts)
    return f'<tr>{name}{cells}<td class="words">{escape(words)}</td></tr>'


def _name(value: float) -> str:
    step = shade(value)
    return f"s{'m' if step < 0 else ''}{abs(step)}"


def _shades() -> str:
    """Return the style of every shade, light and dark."""
    light, dark = (
        "\n".join(_rule(step, scale) for step in range(-SHADES, SHADES + 1)) + "\n" for scale in (LIGHT, DARK)
    )
    return f"{light}@media (prefers-color-scheme: dark) {{\n{dark}}}\n"


def _rule(step: int, scale: tuple[Colour, Colour, Colour]) -> str:
    back = colour(step / SHADES, scale)
    ink = "#ffffff" if text_is_white(back) else "#000000"
    return f".{_name(step / SHADES)} {{ background: rgb{back}; color: {ink}; }}"
