"""What differs between databases, one small module per database behind one interface.

Belongs here: SQL that is not portable: bulk paths, locking, clocks. Does not belong here: what is written, and why.
"""

from __future__ import annotations

from market_assets.store.dialects.base import Backend
from market_assets.store.dialects.mariadb import MariaDbBackend
from market_assets.store.dialects.postgresql import PostgresqlBackend
from market_assets.store.dialects.sqlite import SqliteBackend

#: by SQLAlchemy's dialect name
BACKENDS: dict[str, type[Backend]] = {
    "sqlite": SqliteBackend,
    "postgresql": PostgresqlBackend,
    "mysql": MariaDbBackend,
}

__all__ = ["BACKENDS", "Backend", "MariaDbBackend", "PostgresqlBackend", "SqliteBackend"]
