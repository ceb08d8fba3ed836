"""What a command raises when it cannot do its work, and how any expected failure is told.

Belongs here: the command line's own errors and the sentence for each kind of error. Does not belong here: errors that
the rest of the package raises (`market_assets.errors`).
"""

from __future__ import annotations

import typer

from market_assets.cli.console import escape, program, tell
from market_assets.errors import (
    MarketAssetsError,
    NoDatabaseError,
    SchemaOutdatedError,
    SettingsError,
    SourceMismatchError,
    StoreError,
)


class CommandFailedError(MarketAssetsError):
    """The command could not do its work; the message names the reason and the remedy."""


def bad_option(option: str, what: str) -> typer.BadParameter:
    """Return the error for a bad value of `option`; Typer prints it with the command's usage, and the status is 2."""
    return typer.BadParameter(what, param_hint=option)


def tell_failure(error: MarketAssetsError) -> int:
    """Print one plain sentence on standard error and return the exit status: 2 for settings, else 1."""
    if isinstance(error, SettingsError):
        tell(f"[bold red]Bad settings.[/] {escape(str(error))}")
        return 2
    # The database's own words may have several lines.
    tell(f"[bold red]Failed.[/] {escape(' '.join(str(error).split()))}")
    if isinstance(error, StoreError) and not isinstance(
        error, (SchemaOutdatedError, SourceMismatchError, NoDatabaseError)
    ):
        tell(
            "Check DATABASE_URL (or MYSQL_*, POSTGRES_*) and the server or directory it names; "
            f"[cyan]{escape(program())} doctor[/] looks at each part."
        )
    return 1
