"""`market-assets collect`, and the progress bar that `quickstart` shares.

Belongs here: what a person sees of a collection. Does not belong here: the collection.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from market_assets.cli.console import errors, output
from market_assets.clock import SystemClock
from market_assets.collection.days import DayRange
from market_assets.errors import SettingsError
from market_assets.settings import Settings

if TYPE_CHECKING:
    from datetime import datetime

    from market_assets.run import RunOutcome
    from market_assets.store import Store


def collect(start: date | None, end: date | None, accept_deletions: bool) -> int:
    """Collect today or a range of days; return the exit status."""
    settings = Settings.load()
    now = SystemClock().now()
    days = _days(settings, now, start, end)
    from market_assets.resources import open_store

    store = open_store(settings)
    try:
        kind = "ad_hoc" if start is None else "backfill"
        outcome = collect_with_progress(settings, store, days, kind, accept_deletions=accept_deletions)
        return report(outcome)
    finally:
        store.close()


def collect_with_progress(
    settings: Settings, store: Store, days: DayRange, kind: str, *, accept_deletions: bool = False
) -> RunOutcome:
    """Run the collect job under a progress bar on standard error."""
    from market_assets.run import run_collection

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=errors, transient=True) as bars:
        task = bars.add_task("Starting Dagster", total=None)

        def moved(done: int, total: int, what: str) -> None:
            bars.update(task, description=f"Collecting {what}", completed=done, total=total)

        return run_collection(settings, store, days=days, kind=kind, accept_deletions=accept_deletions, progress=moved)


def report(outcome: RunOutcome) -> int:
    """Print what became of the run; return 0 if the features were written, 1 otherwise."""
    record = outcome.record
    if record is None or not outcome.succeeded or record.status == "failed":
        errors.print(f"[bold red]Failed.[/] {escape(outcome.failure or 'the run ended before it had stored anything')}")
        errors.print(f"Run {outcome.run_id}; its log: market-assets status, or `make ui` and look under Runs.")
        return 1
    summary = record.summary
    features = summary.get("features", {})
    output.print(
        f"Collected {len(summary['stored'])} of {summary['tickers']} tickers for {summary['first_day']} to {summary['last_day']} "
        f"from {record.source}: {features.get('rows', 0)} feature rows"
        + (f", the latest with {features['feature_count']} features." if "feature_count" in features else ".")
    )
    for name, message in summary["failed"].items():
        errors.print(f"[yellow]{name}[/] was not collected: {escape(message)}")
    return 0


def _days(settings: Settings, now: datetime, start: date | None, end: date | None) -> DayRange:
    today = now.date()
    if start is None:
        return DayRange(today, today)
    last = end or today
    for field, day in (("--start", start), ("--end", last)):
        if not settings.collection_start_date <= day <= today:
            raise SettingsError(
                f"{field}={day}: must lie between COLLECTION_START_DATE={settings.collection_start_date} and today, {today}"
            )
    if start > last:
        raise SettingsError(f"--start={start}: lies after --end={last}; swap them")
    return DayRange(start, last)
