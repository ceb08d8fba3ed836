"""The collector at a glance: what was collected, what is stored, what is wrong.

Belongs here: the summary as plain values, for `market-assets status` and the HTTP API. Does not belong here: its layout
for a person (`cli/status_table.py`, `api/views.py`), judging the data.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from market_assets.alerts.health import alert_health
from market_assets.collection.calendar_map import states_by_day
from market_assets.collection.catch_up import uncollected_days
from market_assets.collection.correlated import highly_correlated
from market_assets.collection.coverage import GAPS
from market_assets.columns import feature_columns
from market_assets.opening import database_file
from market_assets.reading import FeatureRow, latest_row
from market_assets.store import CollectionLock, CollectionRecord
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from market_assets.settings import Settings
    from market_assets.store import Store

_LAST_RUNS = 5
_COVERAGE_DAYS = 14


def gather(store: Store, settings: Settings, now: datetime) -> dict[str, Any]:
    """Return the summary at `now` (UTC) as plain values; instants are ISO 8601 texts, UTC. Nothing in it is secret."""
    described = store.describe()
    runs = store.runs.last_collections(_LAST_RUNS)
    held = CollectionLock(store).describe()
    row = latest_row(store, now, UNIVERSE)
    missed = uncollected_days(store, now, settings)
    last = next((run for run in runs if run.finished_at is not None), None)
    latest = None if row is None else _latest(row, settings, now)
    alerts = alert_health(store, settings, now)
    problems = [*_problems(latest, last, settings), *alerts.problems]
    return {
        "healthy": not problems,
        "problems": problems,
        "at": _text(now),
        "configured_source": settings.source_label,
        "rows_are_from": store.source(),
        "database": {
            "url": described.url,
            "file": str(database_file(settings) or "") or None,
            "kind": f"{described.dialect} {described.server_version}",
            "bytes": described.size_bytes,
            "revision": described.revision,
        },
        "interval_minutes": settings.collection_interval_minutes,
        "collecting_now": held.holder if held else None,
        "latest_row": latest,
        "days_to_catch_up": None if missed is None else [missed.first.isoformat(), missed.last.isoformat()],
        "stale_feature_days": len(store.runs.stale_days()),
        "high_correlation_threshold": settings.high_correlation_threshold,
        "highly_correlated": highly_correlated(store, now, settings.high_correlation_threshold),
        "collections": [run_summary(run, held.holder if held else None) for run in runs],
        "tickers": _tickers(store, runs, now),
        "alerts": alerts.to_json(),
    }


def _latest(row: FeatureRow, settings: Settings, now: datetime) -> dict[str, Any]:
    behind = now - row.observed_at
    return {
        "observed_at": _text(row.observed_at),
        "feature_count": row.feature_count,
        "core_count": row.core_count,
        "of": len(feature_columns()),
        "target": settings.ml_feature_count_target,
        "target_met": row.feature_count >= settings.ml_feature_count_target,
        "minutes_old": int(behind.total_seconds() // 60),
        # The tick after it is due one interval and the settle minutes later; one more interval is patience.
        "tick_missed": behind > 2 * settings.interval + timedelta(minutes=settings.settle_minutes),
    }


def _problems(latest: dict[str, Any] | None, last: CollectionRecord | None, settings: Settings) -> list[str]:
    if latest is None:
        return ["there is no feature row yet"]
    problems = []
    if last is None or last.status not in {"ok", "partial"}:
        problems.append("the last collection did not succeed")
    if latest["tick_missed"]:
        problems.append(
            f"no row for more than two intervals of {settings.collection_interval_minutes} minutes: is the scheduler "
            "running (make ui)?"
        )
    if not latest["target_met"]:
        problems.append(f"{latest['feature_count']} features are below the target of {latest['target']}")
    return problems


def _tickers(store: Store, runs: list[CollectionRecord], now: datetime) -> dict[str, dict[str, Any]]:
    days = [now.date() - timedelta(days=ahead) for ahead in reversed(range(_COVERAGE_DAYS))]
    tickers: dict[str, dict[str, Any]] = {
        ticker.name: {"intervals": {}, "days": {}, "gaps": [], "last_error": None} for ticker in UNIVERSE
    }

    def of(name: str) -> dict[str, Any]:
        # A ticker that has left the universe keeps its rows.
        return tickers.setdefault(name, {"intervals": {}, "days": {}, "gaps": [], "last_error": None})

    for coverage in store.runs.ticker_coverage():
        of(coverage.ticker)["intervals"][coverage.interval] = {
            "bars": coverage.bars,
            "first": _text(coverage.first_bar_start),
            "last": _text(coverage.last_bar_end),
            "fetched": _text(coverage.last_fetched_at) if coverage.last_fetched_at else None,
        }
    entries = sorted(store.runs.states(days[0], days[-1] + timedelta(days=1)), key=lambda entry: entry.ticker)
    for name, own in groupby(entries, key=lambda entry: entry.ticker):
        mine = list(own)
        of(name)["days"] = {day.isoformat(): state.value for day, state in states_by_day(mine).items()}
        of(name)["gaps"] = [
            {"day": entry.day.isoformat(), "interval": entry.interval, "state": entry.state.value, "what": entry.detail}
            for entry in mine
            if entry.state in GAPS
        ]
    for run in reversed(runs):
        for name, message in run.summary.get("failed", {}).items():
            of(name)["last_error"] = {"at": _text(run.started_at), "message": message}
        for name in run.summary.get("stored", []):
            of(name)["last_error"] = None
    return tickers


def run_summary(run: CollectionRecord, holder: str | None) -> dict[str, Any]:
    """Return one collection as plain values; `holder` is the run that holds the lock."""
    # A collection that was killed never wrote its end.
    state = run.status if run.finished_at is not None else "running" if holder == run.run_id else "interrupted"
    seconds = (run.finished_at - run.started_at).total_seconds() if run.finished_at else None
    return {
        "run_id": run.run_id,
        "kind": run.kind,
        "status": state,
        "source": run.source,
        "started_at": _text(run.started_at),
        "seconds": None if seconds is None else round(seconds, 1),
        "stored": len(run.summary.get("stored", [])),
        **{
            key: run.summary.get(key)
            for key in ("first_day", "last_day", "tickers", "failed", "features", "failed_checks")
        },
    }


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="seconds").replace("+00:00", "Z")
