"""Write docs/features.md from the universe and the indicator registry; a test holds it up to date."""

from __future__ import annotations

from pathlib import Path

from market_assets.columns import core_columns, feature_columns
from market_assets.features import METRIC_DEFINITIONS
from market_assets.indicators import INDICATORS
from market_assets.universe import UNIVERSE

PAGE = Path(__file__).resolve().parents[1] / "docs" / "features.md"

_INTRODUCTION = """\
# Features

Written by `scripts/write_features_page.py` from the universe and the indicators; do not edit.

A feature row stands at an observation time `T` on the UTC grid. An input is the last bar that had ended, feed lag
included, by `T`. NULL always has a reason. `core` counts {core} features, `all` counts {all}.
"""


def page() -> str:
    """Return the page."""
    lines = [_INTRODUCTION.format(core=len(core_columns()), all=len(feature_columns()))]
    lines += [
        "## Metrics",
        "",
        "Columns are `ml_<ticker>_<metric>`.",
        "",
        "| metric | definition | unit |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{name}` | {definition} | {unit or 'as the ticker'} |"
        for name, (definition, unit) in METRIC_DEFINITIONS.items()
    ]
    lines += [
        "",
        "## Tickers",
        "",
        "| ticker | what | source symbol | venue | lag | price unit | core |",
        "|---|---|---|---|---|---|---|",
    ]
    for ticker in UNIVERSE:
        lag = f"{ticker.feed_lag.seconds // 60} min"
        core = "yes" if ticker.is_core else "no" if ticker.is_feature else "reference only"
        symbol = f"1 / `{ticker.yahoo_symbol}`" if ticker.inverted else f"`{ticker.yahoo_symbol}`"
        lines.append(
            f"| {ticker.name} | {ticker.description} | {symbol} | {ticker.venue} | {lag} | {ticker.unit} | {core} |"
        )
    lines += ["", "## Indicators", ""]
    for indicator in INDICATORS:
        low, high = indicator.plausible
        lines += [
            f"### {indicator.title}: `{indicator.column}`",
            "",
            (
                f"`{indicator.formula}` ({indicator.unit}); from {', '.join(indicator.inputs)}. "
                f"Plausible from {low:g} to {high:g}."
            ),
            "",
            *([indicator.caveat, ""] if indicator.caveat else []),
        ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
