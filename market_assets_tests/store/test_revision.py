"""The revision that the program needs, and databases of newer releases."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from market_assets.errors import SchemaOutdatedError
from market_assets.store import Store, migrations
from market_assets.store.revision import HEAD_REVISION, VERSION_TABLE


def test_the_revision_that_the_program_needs_is_the_newest_of_its_migrations() -> None:
    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head() == HEAD_REVISION


def test_migrating_a_database_of_a_newer_release_is_refused(store: Store) -> None:
    version = sa.table(VERSION_TABLE, sa.column("version_num"))
    newer = sa.update(version).values(version_num="9999")
    store.database.write(lambda connection: connection.execute(newer))
    with pytest.raises(SchemaOutdatedError, match="a newer release has migrated it; upgrade this one"):
        store.migrate()


def test_a_store_that_only_reads_imports_neither_alembic_nor_a_driver_of_another_database() -> None:
    code = (
        "import sys\nfrom market_assets.store import Store\nStore.connect('sqlite:///x.db')\n"
        "print([name for name in ('alembic', 'psycopg', 'pymysql') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
