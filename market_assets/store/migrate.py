"""Bringing a database to this program's schema.

Belongs here: running Alembic's revisions under a lock, and adding the feature columns of new tickers beside them. Does
not belong here: the revisions (migrations/), the tables' declarations, telling whether a migration is due
(revision.py).

Feature columns are data (the universe), not program, so no revision knows them: `migrate` adds what is missing and
never drops what is no longer wanted.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config

from market_assets.store.revision import missing_columns, refuse_newer
from market_assets.store.tables import VERSIONED_TABLES

if TYPE_CHECKING:
    from market_assets.store.connect import Database
    from market_assets.store.schema import Schema

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOG = logging.getLogger(__name__)
#: Alembic keeps its context in a module-level variable: not even two different databases can be migrated at once
_ONE_AT_A_TIME = threading.Lock()


def migrate(database: Database, schema: Schema) -> None:
    """Create or upgrade the tables, and add missing feature columns. Safe to run many times and concurrently.

    Raises SchemaOutdatedError if a newer release has migrated the database.
    """
    before = refuse_newer(database)
    with _ONE_AT_A_TIME, database.schema_change() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        # history first: a writer that finds a column in the current table takes it along to history
        for table in (one for each in VERSIONED_TABLES for one in (schema.history(each), schema.current(each))):
            missing = missing_columns(connection, table)
            if missing:
                # Of a new database it is no news.
                _LOG.log(
                    logging.DEBUG if before is None else logging.INFO,
                    "adding %d columns to %s",
                    len(missing),
                    table.name,
                )
                database.backend.add_columns(connection, table, missing)


def _config() -> Config:
    config = Config()
    # `%` starts an interpolation in Alembic's configuration
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
