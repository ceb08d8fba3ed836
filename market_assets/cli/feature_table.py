"""Feature rows as tables for a person.

Belongs here: the layout of one row (a line per feature) and of a range (a line per observation time). Does not belong
here: reading rows, and formats for programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from market_assets.cli.console import output, say, tell
from market_assets.cli.words import counted, human_age
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
        f"({row.core_count} of {len(core_columns())} core); "
        f"target {settings.ml_feature_count_target}: {'[green]met[/]' if healthy else '[red]missed[/]'}."
    )
    age = human_age((now - row.observed_at).total_seconds() / 60)
    say(
        f"Observed {row.observed_at:%Y-%m-%d %H:%M} UTC, {age} ago; stored {row.known_from:%Y-%m-%d %H:%M:%S} UTC "
        f"({row.origin}); source: {source or 'none yet'}."
    )


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
        left_out.append(counted(len(frame) - len(last), "earlier observation time"))
    missing = len(only or feature_columns()) - len(shown)
    if missing:
        left_out.append(counted(missing, "feature"))
    if left_out:
        tell(f"[dim]Not shown: {' and '.join(left_out)}. A file holds all of them: add --out features.csv[/]")


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
