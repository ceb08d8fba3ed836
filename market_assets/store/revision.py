"""Whether a database has this program's schema, told without importing Alembic.

Belongs here: reading the revision and comparing columns. Does not belong here: changing either (`migrate.py`). Alembic
costs a quarter of a CPU second, which a command that only reads would spend on every start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from market_assets.errors import SchemaOutdatedError

if TYPE_CHECKING:
    from market_assets.store.connect import Database
    from market_assets.store.schema import Schema

#: Dagster keeps its own revision in `alembic_version` and may share the database
VERSION_TABLE = "market_assets_version"
#: the newest revision of migrations/versions, which this program needs; a test compares it with Alembic's answer
HEAD_REVISION = "0003"


def check_schema(database: Database, schema: Schema) -> None:
    """Raise SchemaOutdatedError unless the database has this program's revision and every column."""
    with database.reading() as connection:
        revision = _revision(connection)
        if revision is None:
            raise SchemaOutdatedError(f"{database.redacted_url} has no tables yet: run `market-assets migrate`")
        if revision != HEAD_REVISION:
            raise SchemaOutdatedError(_mismatch(database, revision))
        for table in schema.metadata.sorted_tables:
            missing = missing_columns(connection, table)
            if missing:
                raise SchemaOutdatedError(
                    f"{table.name} in {database.redacted_url} lacks the columns {', '.join(missing[:6])}"
                    f"{' and more' if len(missing) > 6 else ''}: run `market-assets migrate`"  # noqa: PLR2004 - a short list
                )


def refuse_newer(database: Database) -> str | None:
    """Return the database's revision; raise SchemaOutdatedError if a newer release has migrated it.

    No migration of this release can help then.
    """
    revision = revision_of(database)
    if revision is not None and not is_known(revision):
        raise SchemaOutdatedError(_mismatch(database, revision))
    return revision


def revision_of(database: Database) -> str | None:
    """Return the database's revision, None if it was never migrated."""
    with database.reading() as connection:
        return _revision(connection)


def is_known(revision: str) -> bool:
    """Whether this program has `revision`: they are numbered in order."""
    return revision.isdigit() and int(revision) <= int(HEAD_REVISION)


def missing_columns(connection: sa.Connection, table: sa.Table) -> list[str]:
    """Return the columns of `table` that the database lacks."""
    present = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
    return [column.name for column in table.columns if column.name not in present]


def _mismatch(database: Database, revision: str) -> str:
    if not is_known(revision):
        return (
            f"{database.redacted_url} has revision {revision}, which this program (revision {HEAD_REVISION}) does not "
            "know: a newer release has migrated it; upgrade this one"
        )
    return (
        f"{database.redacted_url} has revision {revision} and this program needs {HEAD_REVISION}: "
        "run `market-assets migrate`"
    )


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version = sa.table(VERSION_TABLE, sa.column("version_num", sa.String))
    found: str | None = connection.execute(sa.select(version.columns.version_num)).scalar_one_or_none()
    return found
