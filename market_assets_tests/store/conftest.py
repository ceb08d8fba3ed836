"""Fixtures of the store's unit tests: every test has a migrated SQLite file of its own.

`integration/test_store_on_every_database.py` runs the same tests with another `url`.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.engine import URL

from market_assets.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy: migrating takes a hundred times as long."""
    path = tmp_path_factory.mktemp("migrated") / "market.db"
    store = Store.connect(URL.create("sqlite", database=str(path)))
    store.migrate()
    store.close()
    return path


@pytest.fixture
def url(migrated_file: Path, tmp_path: Path) -> str:
    """URL of a migrated, empty database."""
    path = tmp_path / "market.db"
    shutil.copy(migrated_file, path)
    return f"sqlite:///{path}"


@pytest.fixture
def empty_url(tmp_path: Path) -> str:
    """URL of a database without tables."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


@pytest.fixture
def open_store() -> Iterator[Callable[..., Store]]:
    """Open stores as `Store.connect` does and close them after the test."""
    opened: list[Store] = []

    def connect(*args: object, **options: object) -> Store:
        opened.append(Store.connect(*args, **options))  # type: ignore[arg-type]
        return opened[-1]

    yield connect
    for store in opened:
        store.close()


@pytest.fixture
def store(url: str, open_store: Callable[..., Store]) -> Store:
    """A store on a migrated, empty database, stamped by the database's clock."""
    return open_store(url)
