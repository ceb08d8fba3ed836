"""The store's unit tests once more, on SQLite, PostgreSQL and MariaDB.

Belongs here: the fixtures that put the same tests on other databases. Does not belong here: tests of their own.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from market_assets.store import Store
from market_assets_tests.databases import ALL_DATABASES, empty_database, permanent_database
from market_assets_tests.store.builders import wipe
from market_assets_tests.store.conftest import open_store, store  # noqa: F401 - fixtures of the imported tests
from market_assets_tests.store.test_alerts import *  # noqa: F403 - collected here a second time on purpose
from market_assets_tests.store.test_connect import (  # noqa: F401 - the others need no database, or only SQLite
    test_a_writer_that_fails_half_way_leaves_nothing_behind,
    test_describe_says_what_the_database_is,
    test_readers_see_the_old_state_while_a_writer_writes,
)
from market_assets_tests.store.test_guard import *  # noqa: F403 - collected here a second time on purpose
from market_assets_tests.store.test_lock import *  # noqa: F403
from market_assets_tests.store.test_migrate import *  # noqa: F403
from market_assets_tests.store.test_properties import *  # noqa: F403
from market_assets_tests.store.test_replace import *  # noqa: F403
from market_assets_tests.store.test_runs import *  # noqa: F403
from market_assets_tests.store.test_snapshots import *  # noqa: F403
from market_assets_tests.store.test_user_tables import *  # noqa: F403

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration


@pytest.fixture(params=ALL_DATABASES)
def kind(request: pytest.FixtureRequest) -> str:
    """Kind of database."""
    return str(request.param)


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return the URL of one migrated database per kind, made when it is first needed."""

    @cache
    def make(kind: str) -> str:
        found = permanent_database(kind, tmp_path_factory.mktemp("migrated"))
        opened = Store.connect(found)
        opened.migrate()
        opened.close()
        return found

    return make


@pytest.fixture
def url(kind: str, migrated: Callable[[str], str]) -> str:
    """URL of a migrated, empty database."""
    opened = Store.connect(migrated(kind))
    wipe(opened)
    opened.close()
    return migrated(kind)


@pytest.fixture
def empty_url(kind: str, tmp_path: Path) -> Iterator[str]:
    """URL of a database without tables."""
    with empty_database(kind, tmp_path) as found:
        yield found
