"""Bringing a database to this program's schema, and saying so when it is not.

Belongs here: running Alembic's revisions under a lock, and adding the feature columns of new tickers beside them. Does
not belong here: the revisions (migrations/), the tables' declarations.

Feature columns are data (the universe), not program, so no revision knows them: `migrate` adds what is missing and
never drops what is no longer wanted.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from market_assets.errors import SchemaOutdatedError
from market_assets.store.tables import VERSIONED_TABLES

if TYPE_CHECKING:
    from market_assets.store.connect import Database
    from market_assets.store.schema import Schema

#: Dagster keeps its own revision in `alembic_version` and may share the database
VERSION_TABLE = "market_assets_version"
_MIGRATIONS = Path(__file__).parent / "migrations"
_LOG = logging.getLogger(__name__)
#: Alembic keeps its context in a module-level variable: two threads may not even migrate two different databases at once
_ONE_AT_A_TIME = threading.Lock()


def migrate(database: Database, schema: Schema) -> None:
    """Create or upgrade the tables, and add missing feature columns. Safe to run many times and concurrently."""
    with _ONE_AT_A_TIME, database.schema_change() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        # history first: a writer that finds a column in the current table takes it along to history
        for table in (one for each in VERSIONED_TABLES for one in (schema.history(each), schema.current(each))):
            missing = _missing_columns(connection, table)
            if missing:
                _LOG.info("adding %d columns to %s", len(missing), table.name)
                database.backend.add_columns(connection, table, missing)


def check_schema(database: Database, schema: Schema) -> None:
    """Raise SchemaOutdatedError unless the database has this program's revision and every column."""
    with database.reading() as connection:
        revision, head = _revision(connection), head_revision()
        if revision is None:
            raise SchemaOutdatedError(f"{database.redacted_url} has no tables yet: run `market-assets migrate`")
        if revision != head:
            if revision not in {script.revision for script in _scripts().walk_revisions()}:
                raise SchemaOutdatedError(
                    f"{database.redacted_url} has revision {revision}, which this program (revision {head}) does not "
                    "know: a newer release has migrated it; upgrade this one"
                )
            raise SchemaOutdatedError(
                f"{database.redacted_url} has revision {revision} and this program needs {head}: "
                "run `market-assets migrate`"
            )
        for table in schema.metadata.sorted_tables:
            missing = _missing_columns(connection, table)
            if missing:
                raise SchemaOutdatedError(
                    f"{table.name} in {database.redacted_url} lacks the columns {', '.join(missing[:6])}"
                    f"{' and more' if len(missing) > 6 else ''}: run `market-assets migrate`"  # noqa: PLR2004 - a short list
                )


def revision_of(database: Database) -> str | None:
    """Return the database's revision, None if it was never migrated."""
    with database.reading() as connection:
        return _revision(connection)


def head_revision() -> str:
    """Return the revision that this program needs."""
    head = _scripts().get_current_head()
    if head is None:
        raise SchemaOutdatedError("the package carries no migrations: reinstall market-assets")
    return head


def _revision(connection: sa.Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


def _missing_columns(connection: sa.Connection, table: sa.Table) -> list[str]:
    present = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
    return [column.name for column in table.columns if column.name not in present]


def _config() -> Config:
    config = Config()
    # `%` starts an interpolation in Alembic's configuration
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())
