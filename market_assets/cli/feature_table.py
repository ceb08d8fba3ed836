"""Feature rows as tables for a person.

Belongs here: the layout of one row (a line per feature) and of a range (a line per observation time). Does not belong
here: reading rows, and formats for programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from market_assets.cli.console import output, program, say, tell
from market_assets.columns import METRICS, core_columns, feature_columns, metric_column
from market_assets.features import METRIC_DEFINITIONS
from market_assets.indicators import INDICATORS
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import pandas as pd

    from market_assets.reading import FeatureRow
    from market_assets.settings import Settings

_MINUTES_PER_HOUR = 60
_MINUTES_PER_DAY = 1440
#: observation times that a table shows; a longer range is for a file
_MOST_ROWS = 48
_TIME_FORM = "2026-01-31 14:30"
_VALUE_WIDTH = 11
#: between two columns
_GAP = 2


def print_latest(row: FeatureRow, settings: Settings, only: Sequence[str], source: str | None, now: datetime) -> None:
    """Print one row: value, unit, age and what to know, feature by feature, and the count against the target."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("feature", "left"), ("value", "right"), ("unit", "left"), ("age", "right")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("remark", justify="left")
    facts = _facts()
    for name in only or feature_columns():
        unit, tickers = facts[name]
        value = row.values[name]  # noqa: PD011 - no frame
        ages = [row.ages[ticker] for ticker in tickers if ticker in row.ages]
        table.add_row(
            name,
            Text("NULL", "yellow") if value is None else f"{value:.6g}",
            unit,
            human_age(max(age for age, _, _ in ages)) if ages else "",
            _remark(row, name, tickers),
        )
    output.print(table)
    healthy = row.feature_count >= settings.ml_feature_count_target
    say(
        f"\n[bold]{row.feature_count} of {len(feature_columns())} features[/] are known and fresh "
        f"({row.core_count} of {len(core_columns())} core) at {row.observed_at:%Y-%m-%d %H:%M} UTC, "
        f"{human_age((now - row.observed_at).total_seconds() / 60)} ago; "
        f"target {settings.ml_feature_count_target}: {'[green]met[/]' if healthy else '[red]missed[/]'}."
    )
    say(f"Stored {row.known_from:%Y-%m-%d %H:%M:%S} UTC ({row.origin}); source: {source or 'none yet'}.")


def print_range(frame: pd.DataFrame, only: Sequence[str]) -> None:
    """Print the last observation times of a range, with as many of the features as the width takes.

    Without `only` the indicators stand for the features. What is left out is said, on standard error.
    """
    wanted = list(only) or [indicator.column for indicator in INDICATORS]
    shown: list[str] = []
    width = sum(len(title) + _GAP for title in (_TIME_FORM, "features", "backfill"))
    for name in wanted:
        width += max(len(name), _VALUE_WIDTH) + _GAP
        if width > output.width and shown:
            break
        shown.append(name)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("observed at", "features", "origin", *shown):
        table.add_column(name, justify="left" if name in {"observed at", "origin"} else "right", no_wrap=True)
    last = frame.tail(_MOST_ROWS)
    for values in last[["observed_at", "feature_count", "origin", *shown]].itertuples(index=False, name=None):
        observed_at, count, origin, *features = values
        table.add_row(f"{observed_at:%Y-%m-%d %H:%M}", str(count), origin, *(_cell(value) for value in features))
    output.print(table)
    left_out = []
    if len(frame) > len(last):
        left_out.append(f"{len(frame) - len(last):,} earlier observation times")
    if len(shown) < len(wanted) or not only:
        left_out.append(f"{len(only or feature_columns()) - len(shown)} features")
    if left_out:
        tell(
            f"[dim]Not shown: {' and '.join(left_out)}. Name features with --only, or write all to a file: "
            f"{program()} features --start ... --out features.csv[/]"
        )


def human_age(minutes: float) -> str:
    """Return minutes as `12 min`, `5 h 10 min` or `2 d 3 h`."""
    whole = int(minutes)
    if whole < _MINUTES_PER_HOUR:
        return f"{whole} min"
    if whole < _MINUTES_PER_DAY:
        return f"{whole // _MINUTES_PER_HOUR} h {whole % _MINUTES_PER_HOUR} min"
    return f"{whole // _MINUTES_PER_DAY} d {whole % _MINUTES_PER_DAY // _MINUTES_PER_HOUR} h"


def _remark(row: FeatureRow, name: str, tickers: Sequence[str]) -> Text:
    if row.values[name] is None:  # noqa: PD011 - no frame
        return Text(_words(row.reasons.get(name, "no reason stored")), "yellow")
    words = sorted({_words(note) for ticker in tickers for note in row.notes.get(ticker, [])})
    states = [row.ages[ticker][2] for ticker in tickers if ticker in row.ages]
    if states and all(state == "closed" for state in states):
        words.insert(0, "market closed")
    return Text(", ".join(words), "dim")


def _words(code: str) -> str:
    return code.replace("_", " ")


def _cell(value: Any) -> Text:  # noqa: ANN401 - a cell of a frame
    return Text("NULL", "yellow") if value != value else Text(f"{value:.6g}")  # noqa: PLR0124 - NaN


def _facts() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return (unit, tickers that go in) of every feature column."""
    facts: dict[str, tuple[str, tuple[str, ...]]] = {}
    for ticker in UNIVERSE.features:
        for metric in METRICS:
            unit = METRIC_DEFINITIONS[metric][1] or ticker.unit
            facts[metric_column(ticker, metric)] = (unit, (ticker.name,))
    for indicator in INDICATORS:
        facts[indicator.column] = (indicator.unit, indicator.inputs)
    return facts
