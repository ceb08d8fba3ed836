"""What a command raises when it cannot do its work, and how any expected failure is told.

Belongs here: the command line's own errors and the sentence for each kind of error. Does not belong here: errors that
the rest of the package raises (`market_assets.errors`).
"""

from __future__ import annotations

from market_assets.cli.console import escape, program, tell
from market_assets.errors import (
    MarketAssetsError,
    NoDatabaseError,
    SchemaOutdatedError,
    SettingsError,
    SourceMismatchError,
    StoreError,
)


class BadOptionError(MarketAssetsError):
    """An option has a bad value; the message names option, value and remedy."""


class CommandFailedError(MarketAssetsError):
    """The command could not do its work; the message names the reason and the remedy."""


def tell_failure(error: MarketAssetsError) -> int:
    """Print one plain sentence on standard error and return the exit status: 2 for options and settings, else 1."""
    if isinstance(error, BadOptionError):
        tell(f"[bold red]Bad option.[/] {escape(str(error))}")
        return 2
    if isinstance(error, SettingsError):
        tell(f"[bold red]Bad settings.[/] {escape(str(error))}")
        return 2
    # The database's own words may have several lines.
    tell(f"[bold red]Failed.[/] {escape(' '.join(str(error).split()))}")
    if isinstance(error, StoreError) and not isinstance(
        error, (SchemaOutdatedError, SourceMismatchError, NoDatabaseError)
    ):
        tell(
            "Check DATABASE_URL (or MYSQL_*, POSTGRES_*) and the server; "
            f"[cyan]{escape(program())} doctor[/] looks at each part."
        )
    return 1
