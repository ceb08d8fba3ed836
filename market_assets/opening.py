"""Opening the market database that the settings name.

Belongs here: from settings to an open store of the right schema, holding rows of the right source. Does not belong
here: SQL, Dagster, printing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from market_assets.columns import feature_columns
from market_assets.errors import NoDatabaseError, SchemaOutdatedError, SourceMismatchError
from market_assets.indicators import INDICATORS
from market_assets.store import Store
from market_assets.universe import UNIVERSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from market_assets.clock import Clock
    from market_assets.indicators import Indicator
    from market_assets.settings import Settings
    from market_assets.universe import Universe


def open_store(
    settings: Settings,
    *,
    universe: Universe = UNIVERSE,
    indicators: Sequence[Indicator] = INDICATORS,
    clock: Clock | None = None,
) -> Store:
    """Open the market database. An embedded one is migrated; any other is checked and must have been migrated.

    Raises:
        SchemaOutdatedError: the schema is not this program's; run `market-assets migrate`.
        StoreError: the database cannot be reached.
    """
    store = Store.connect(settings.sqlalchemy_url, clock=clock, feature_columns=feature_columns(universe, indicators))
    try:
        store.check_schema()
    except SchemaOutdatedError:
        if not settings.is_embedded:
            store.close()
            raise
        store.migrate()
    except BaseException:
        store.close()
        raise
    return store


def open_existing(settings: Settings) -> Store:
    """Open the market database for reading; an embedded one must exist, for looking must not make an empty one.

    Raises:
        NoDatabaseError: there is no such file yet.
        SchemaOutdatedError, StoreError: as for `open_store`.
    """
    path = database_file(settings)
    if path is not None and not path.exists():
        raise NoDatabaseError(f"there is no database {path} yet")
    return open_store(settings)


def open_reader(
    settings: Settings, *, universe: Universe = UNIVERSE, indicators: Sequence[Indicator] = INDICATORS
) -> Store:
    """Open the market database, or the replica that is named for reading, so that nothing can be written or migrated.

    Raises:
        NoDatabaseError: there is no such file yet.
        SchemaOutdatedError, StoreError: as for `open_store`.
    """
    url = settings.read_url
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        raise NoDatabaseError(f"there is no database {Path(url.database).absolute()} yet")
    store = Store.connect(url, feature_columns=feature_columns(universe, indicators), read_only=True)
    try:
        store.check_schema()
    except BaseException:
        store.close()
        raise
    return store


def database_file(settings: Settings) -> Path | None:
    """Return the absolute path of the embedded database, None if the database is on a server."""
    name = settings.sqlalchemy_url.database
    return Path(name).absolute() if settings.is_embedded and name else None


def require_source(store: Store, settings: Settings) -> None:
    """Raise SourceMismatchError if the database holds rows of another source than the one configured."""
    held, wanted = store.source(), settings.source_label
    if held is not None and held != wanted:
        remedy = "unset YAHOO_BASE_URL" if settings.yahoo_base_url else "set YAHOO_BASE_URL to a simulator"
        raise SourceMismatchError(
            f"{store.database.redacted_url} holds rows of the source {held}, and new ones would be of {wanted}; real "
            f"and simulated rows never mix: name another database in DATABASE_URL, or {remedy}"
        )
