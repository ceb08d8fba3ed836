"""Opening the database for the commands that only look.

Belongs here: what is said when there is nothing to look at. Does not belong here: reading.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from market_assets.cli.console import program
from market_assets.cli.failures import CommandFailedError
from market_assets.errors import NoDatabaseError
from market_assets.opening import open_existing

if TYPE_CHECKING:
    from market_assets.settings import Settings
    from market_assets.store import Store

#: where `quickstart` puts simulated rows
_SIMULATED = "simulated.db"


def open_to_read(settings: Settings, command: str) -> Store:
    """Open the configured database for `command`; raise CommandFailedError with what to do if there is none yet."""
    try:
        return open_existing(settings)
    except NoDatabaseError as error:
        raise CommandFailedError(f"{error}; {what_to_do(settings, command)}") from None


def what_to_do(settings: Settings, command: str) -> str:
    """Return what a person does who finds no row: read the simulated ones if there are any, else collect."""
    named = settings.sqlalchemy_url.database
    if settings.database_url is None and named != _SIMULATED and Path(_SIMULATED).exists():
        return (
            f"{_SIMULATED} beside it holds simulated rows: "
            f"DATABASE_URL=sqlite:///{_SIMULATED} {program()} {command}. For real ones: {program()} collect"
        )
    return f"collect first: {program()} collect"
