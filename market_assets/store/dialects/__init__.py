"""What differs between databases, one small module per database behind one interface.

Belongs here: SQL that is not portable: bulk paths, locking, clocks. Does not belong here: what is written, and why.
"""

from __future__ import annotations

from importlib import import_module

from market_assets.store.dialects.base import Backend

__all__ = ["Backend", "backend_of"]

#: module and class by SQLAlchemy's dialect name; imported when used, for each brings its driver
_BACKENDS = {
    "sqlite": ("sqlite", "SqliteBackend"),
    "postgresql": ("postgresql", "PostgresqlBackend"),
    "mysql": ("mariadb", "MariaDbBackend"),
}


def backend_of(dialect: str) -> Backend:
    """Return a backend for SQLAlchemy's `dialect`: sqlite, postgresql or mysql."""
    module, name = _BACKENDS[dialect]
    backend: Backend = getattr(import_module(f"{__name__}.{module}"), name)()
    return backend
