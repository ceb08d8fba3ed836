"""`market-assets status`: what was collected, what is stored, what is wrong.

Belongs here: the summary for a person or, as JSON, for a program. Does not belong here: judging the data.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from market_assets.cli.console import output
from market_assets.clock import SystemClock
from market_assets.collection.catch_up import uncollected_days
from market_assets.collection.correlated import highly_correlated
from market_assets.columns import feature_columns
from market_assets.reading import latest_row
from market_assets.settings import Settings
from market_assets.store import CollectionLock, CollectionRecord, DayState
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from market_assets.store import Store

_LAST_RUNS = 5
_COVERAGE_DAYS = 14
_MARKS = {
    DayState.OK: "[green]■[/]",
    DayState.CLOSED: "[dim]·[/]",
    DayState.HOLE_AT_SOURCE: "[yellow]□[/]",
    DayState.FETCH_FAILED: "[red]x[/]",
    DayState.REVISED: "[cyan]r[/]",
    DayState.LATE: "[yellow]l[/]",
}


def status(*, as_json: bool) -> int:
    """Print the state; return 1 if the last collection failed, or if a tick that was due has not been collected."""
    settings = Settings.load()
    from market_assets.resources import open_store

    store = open_store(settings)
    try:
        state = gather(store, settings, SystemClock().now())
        if as_json:
            output.file.write(json.dumps(state, indent=2, default=str) + "\n")
        else:
            _print(state, store, settings)
    finally:
        store.close()
    return 0 if state["healthy"] else 1


def gather(store: Store, settings: Settings, now: datetime) -> dict[str, Any]:
    """Return everything that `status` tells, as plain values."""
    runs = store.runs.last_collections(_LAST_RUNS)
    row = latest_row(store, now, UNIVERSE)
    described = store.describe()
    held = CollectionLock(store).describe()
    behind = None if row is None else now - row.observed_at
    allowed = 2 * settings.interval + timedelta(minutes=settings.settle_minutes)
    late = behind is None or behind > allowed
    missed = uncollected_days(store, now, settings)
    last = next((run for run in runs if run.finished_at is not None), None)
    tickers: dict[str, dict[str, Any]] = {ticker.name: {"intervals": {}} for ticker in UNIVERSE}
    for coverage in store.runs.ticker_coverage():
        tickers.setdefault(coverage.ticker, {"intervals": {}})["intervals"][coverage.interval] = {
            "bars": coverage.bars,
            "first": coverage.first_bar_start.isoformat(),
            "last": coverage.last_bar_end.isoformat(),
            "fetched": coverage.last_fetched_at.isoformat() if coverage.last_fetched_at else None,
        }
    for run in reversed(runs):
        for name, message in run.summary.get("failed", {}).items():
            tickers.setdefault(name, {"intervals": {}})["last_error"] = f"{run.started_at:%Y-%m-%d %H:%M} {message}"
        for name in run.summary.get("stored", []):
            tickers.setdefault(name, {"intervals": {}}).pop("last_error", None)
    return {
        "healthy": not late and last is not None and last.status in {"ok", "partial"},
        "source": settings.source_label,
        "rows_are_from": store.source(),
        "database": {
            "url": described.url,
            "kind": f"{described.dialect} {described.server_version}",
            "bytes": described.size_bytes,
            "revision": described.revision,
        },
        "interval_minutes": settings.collection_interval_minutes,
        "collecting_now": held.holder if held else None,
        "latest_row": None
        if row is None
        else {
            "observed_at": row.observed_at.isoformat(),
            "feature_count": row.feature_count,
            "core_count": row.core_count,
            "of": len(feature_columns()),
            "target": settings.ml_feature_count_target,
            "target_met": row.feature_count >= settings.ml_feature_count_target,
            "minutes_old": int(behind.total_seconds() // 60) if behind else 0,
            "tick_missed": late,
        },
        "days_to_catch_up": None if missed is None else [missed.first.isoformat(), missed.last.isoformat()],
        "stale_feature_days": len(store.runs.stale_days()),
        "highly_correlated": highly_correlated(store, now, settings.high_correlation_threshold),
        "collections": [_run(run, held.holder if held else None) for run in runs],
        "tickers": tickers,
    }


def _run(run: CollectionRecord, holder: str | None) -> dict[str, Any]:
    state = run.status if run.finished_at is not None else "running" if holder == run.run_id else "interrupted"
    return {
        "run_id": run.run_id,
        "kind": run.kind,
        "status": state,
        "source": run.source,
        "started_at": run.started_at.isoformat(timespec="seconds"),
        "finished_at": run.finished_at.isoformat(timespec="seconds") if run.finished_at else None,
        **{key: run.summary.get(key) for key in ("first_day", "last_day", "tickers", "failed", "features")},
    }


def _print(state: dict[str, Any], store: Store, settings: Settings) -> None:
    database = state["database"]
    output.print(
        f"[bold]{'Healthy' if state['healthy'] else '[red]Not healthy[/]'}[/]. Source {state['source']}; "
        f"{escape(database['url'])} ({database['kind']}, {database['bytes'] / 1e6:.1f} MB)",
        highlight=False,
    )
    row = state["latest_row"]
    if row is None:
        output.print("[red]No feature row yet.[/] Collect first: market-assets collect")
    else:
        met = "met" if row["target_met"] else "[red]missed[/]"
        output.print(
            f"Latest row {row['observed_at'][:16]} UTC, {row['minutes_old']} min old: {row['feature_count']} of {row['of']} "
            f"features, target {row['target']} {met}.",
            highlight=False,
        )
        if row["tick_missed"]:
            output.print(
                f"[red]No tick for two intervals[/] of {settings.collection_interval_minutes} min: is the scheduler running (make ui)?"
            )
    if state["days_to_catch_up"]:
        first, last = state["days_to_catch_up"]
        output.print(
            f"[yellow]Days {first} to {last} have not been collected since they ended[/]; the next tick does it."
        )
    if state["stale_feature_days"]:
        output.print(f"{state['stale_feature_days']} feature days wait for their nightly rebuild.")
    if state["highly_correlated"]:
        output.print(
            f"Highly correlated (>= {settings.high_correlation_threshold:g}): {', '.join(state['highly_correlated'])}"
        )
    _print_runs(state)
    _print_tickers(state, store)


def _print_runs(state: dict[str, Any]) -> None:
    table = Table(box=None, header_style="bold", title="Collections", title_justify="left")
    for name in ("started (UTC)", "kind", "days", "status", "tickers", "features"):
        table.add_column(name)
    for run in state["collections"]:
        failed = len(run["failed"] or {})
        days = run["first_day"] if run["first_day"] == run["last_day"] else f"{run['first_day']} to {run['last_day']}"
        table.add_row(
            run["started_at"][:16].replace("T", " "),
            run["kind"],
            days or "",
            run["status"],
            "" if run["tickers"] is None else f"{run['tickers'] - failed} of {run['tickers']}",
            str((run["features"] or {}).get("feature_count", "")),
        )
    output.print(table)


def _print_tickers(state: dict[str, Any], store: Store) -> None:
    today = SystemClock().now().date()
    first = today - timedelta(days=_COVERAGE_DAYS - 1)
    marks = _worst_marks(store, first, today)
    table = Table(box=None, header_style="bold", title=f"Tickers, last {_COVERAGE_DAYS} days", title_justify="left")
    for name in ("ticker", "days", "15m", "1h", "1d", "last bar (UTC)", "last error"):
        table.add_column(name)
    for name, ticker in state["tickers"].items():
        intervals = ticker["intervals"]
        last = max((interval["last"] for interval in intervals.values()), default="")
        table.add_row(
            name,
            "".join(marks[name].get(first + timedelta(days=ahead), " ") for ahead in range(_COVERAGE_DAYS)),
            *(str(intervals.get(interval, {}).get("bars", 0)) for interval in ("15m", "1h", "1d")),
            last[:16].replace("T", " "),
            f"[red]{escape(ticker.get('last_error', ''))}[/]",
        )
    output.print(table)
    output.print("■ complete  · closed  □ hole at the source  x fetch failed", highlight=False)


def _worst_marks(store: Store, first: date, last: date) -> dict[str, dict[date, str]]:
    order = [
        DayState.FETCH_FAILED,
        DayState.HOLE_AT_SOURCE,
        DayState.REVISED,
        DayState.LATE,
        DayState.OK,
        DayState.CLOSED,
    ]
    worst: dict[str, dict[date, DayState]] = defaultdict(dict)
    for entry in store.runs.states(first, last + timedelta(days=1)):
        known = worst[entry.ticker].get(entry.day, DayState.CLOSED)
        worst[entry.ticker][entry.day] = min(known, entry.state, key=order.index)
    return defaultdict(
        dict, {name: {day: _MARKS[state] for day, state in days.items()} for name, days in worst.items()}
    )
