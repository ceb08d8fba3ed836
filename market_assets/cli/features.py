"""`market-assets features`: the latest row for a person, or rows for a program.

Belongs here: how feature rows are printed and written. Does not belong here: reading them.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from market_assets.cli.app import Format
from market_assets.cli.console import errors, output
from market_assets.clock import SystemClock
from market_assets.columns import METRICS, core_columns, feature_columns, metric_column
from market_assets.errors import MarketAssetsError, SettingsError
from market_assets.features import METRIC_DEFINITIONS
from market_assets.indicators import INDICATORS
from market_assets.reading import FeatureRow, feature_range, latest_row
from market_assets.settings import Settings
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    import pandas as pd

    from market_assets.store import Store

_MINUTES_PER_HOUR = 60
_MINUTES_PER_DAY = 1440


def features(
    *,
    start: datetime | None,
    end: datetime | None,
    only: list[str],
    as_of: datetime | None,
    format_: Format,
    out: Path | None,
) -> None:
    """Print or write the latest row, or the rows of a range."""
    settings = Settings.load()
    from market_assets.resources import open_store

    store = open_store(settings)
    try:
        now = SystemClock().now()
        if start is None and end is None and format_ is Format.TABLE:
            print_latest(_latest(store, now, as_of), settings, only)
            return
        if end is not None and start is None:
            raise SettingsError(f"--end={end.isoformat()}: needs --start; give both, or neither for the latest row")
        if start is None:
            observed_at = _latest(store, now, as_of).observed_at
            frame = _rows(store, observed_at, now, only, as_of).head(1)
        else:
            frame = _rows(store, start, end or now, only, as_of)
        _write(frame, format_, out)
    finally:
        store.close()


def print_latest(row: FeatureRow, settings: Settings, only: list[str]) -> None:
    """Print one row as a table: value, unit, age and what to know, feature by feature."""
    known = feature_columns()
    chosen = [name for name in known if not only or name in only]
    if unknown := [name for name in only if name not in known]:
        raise SettingsError(f"--only={unknown[0]}: is no feature; known: {', '.join(known)}")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in (("feature", "left"), ("value", "right"), ("unit", "left"), ("age", "right"), ("", "left")):
        table.add_column(title, justify=justify, no_wrap=title in {"feature", "value"})
    facts = _facts()
    for name in chosen:
        unit, tickers = facts[name]
        value = row.values[name]
        ages = [row.ages[ticker] for ticker in tickers if ticker in row.ages]
        oldest = max((age for age, _, _ in ages), default=None)
        remark = row.reasons.get(name, "")
        if value is not None:
            words = sorted({note for ticker in tickers for note in row.notes.get(ticker, [])})
            if ages and all(state == "closed" for _, _, state in ages):
                words.insert(0, "closed, carried")
            remark = ", ".join(words)
        table.add_row(
            name,
            "NULL" if value is None else f"{value:.6g}",
            unit,
            "" if oldest is None else human_age(oldest),
            f"[yellow]{remark}[/]" if value is None else f"[dim]{remark}[/]",
        )
    output.print(table)
    target = settings.ml_feature_count_target
    healthy = row.feature_count >= target
    output.print(
        f"\n[bold]{row.feature_count} of {len(known)} features[/] are known and fresh "
        f"({row.core_count} of {len(core_columns())} core) at {row.observed_at:%Y-%m-%d %H:%M} UTC; "
        f"target {target}: [{'green' if healthy else 'red'}]{'met' if healthy else 'missed'}[/]. "
        f"Known since {row.known_from:%Y-%m-%d %H:%M:%S} UTC, {row.origin}.",
        highlight=False,
    )


def human_age(minutes: float) -> str:
    """Return minutes as `12 min`, `5 h 10 min` or `2 d 3 h`."""
    whole = int(minutes)
    if whole < _MINUTES_PER_HOUR:
        return f"{whole} min"
    if whole < _MINUTES_PER_DAY:
        return f"{whole // _MINUTES_PER_HOUR} h {whole % _MINUTES_PER_HOUR} min"
    return f"{whole // _MINUTES_PER_DAY} d {whole % _MINUTES_PER_DAY // _MINUTES_PER_HOUR} h"


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


def _latest(store: Store, now: datetime, as_of: datetime | None) -> FeatureRow:
    row = latest_row(store, now, UNIVERSE, as_of=as_of)
    if row is None:
        when = f" that was known at {as_of.isoformat()}" if as_of else ""
        raise MarketAssetsError(f"the database holds no feature row{when}; collect first: market-assets collect")
    return row


def _rows(store: Store, start: datetime, end: datetime, only: list[str], as_of: datetime | None) -> pd.DataFrame:
    if start >= end:
        raise SettingsError(f"--start={start.isoformat()}: is not before the end, {end.isoformat()}")
    try:
        return feature_range(store, start, end, UNIVERSE, columns=only or None, as_of=as_of)
    except KeyError as error:
        raise SettingsError(f"--only={','.join(only)}: {error.args[0]}") from None


def _write(frame: pd.DataFrame, format_: Format, out: Path | None) -> None:
    if frame.empty:
        errors.print("[yellow]No feature row lies in that range.[/]")
    if format_ is Format.PARQUET and out is not None:
        try:
            frame.to_parquet(out, index=False)
        except ImportError:
            raise MarketAssetsError("parquet needs the extra: pip install 'market-assets[parquet]'") from None
    elif format_ is Format.CSV:
        # 17 digits: every float64 comes back with its own bits
        _emit(frame.to_csv(index=False, float_format="%.17g"), out)
    elif format_ is Format.JSON:
        records = json.loads(frame.to_json(orient="records", date_format="iso", double_precision=15))
        _emit(json.dumps(records, indent=2) + "\n", out)
    else:
        table = Table(box=None, header_style="bold")
        for name in frame.columns:
            table.add_column(name)
        for values in frame.itertuples(index=False):
            table.add_row(*(f"{value:.6g}" if isinstance(value, float) else str(value) for value in values))
        output.print(table)
    if out is not None and format_ is not Format.TABLE:
        errors.print(f"{len(frame)} rows written to {out}")


def _emit(text: str, out: Path | None) -> None:
    if out is None:
        output.file.write(text)
    else:
        out.write_text(text, encoding="utf-8")
