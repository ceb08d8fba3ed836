"""`market-assets purge`: Dagster's old runs go, by hand.

Belongs here: what a person sees of a purge. Does not belong here: which runs go (`automation/retention.py`).
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from market_assets.cli.console import say, tell
from market_assets.cli.failures import bad_option
from market_assets.cli.log import load_settings
from market_assets.cli.words import counted

if TYPE_CHECKING:
    from market_assets.automation.retention import Purged


def purge(older_than: int | None, location: str, *, dry_run: bool) -> None:
    """Purge, or tell what would go.

    Raises:
        RetentionError: Dagster's storage is of an unknown kind.
        SettingsError: DAGSTER_HOME cannot be used.
    """
    settings = load_settings()
    days = settings.run_retention_days if older_than is None else older_than
    if days == 0:
        raise bad_option("--older-than", "RUN_RETENTION_DAYS=0 keeps runs for ever; say how many days to keep them")
    from market_assets.run import purge_runs

    tell(f"Looking for runs that ended more than {counted(days, 'day')} ago.")
    say(_told(purge_runs(timedelta(days=days), location, dry_run=dry_run), dry_run=dry_run))


def _told(purged: Purged, *, dry_run: bool) -> str:
    files = f", and {purged.file_bytes / 1e6:,.1f} MB of files" if purged.file_bytes else ""
    what = (
        f"{counted(purged.runs, 'run')}, {counted(purged.events, 'event')} "
        f"and {counted(purged.evaluations, 'check evaluation')}{files}"
    )
    if dry_run:
        return f"Would go: {what}. {counted(purged.thinned, 'old run')} would stay, thinned out to what is the newest."
    return f"Purged {what}. {counted(purged.thinned, 'run')} stayed and lost what was not the newest."
