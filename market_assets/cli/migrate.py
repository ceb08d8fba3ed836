"""`market-assets migrate`: the schema, on every database.

Belongs here: what a person sees of a migration. Does not belong here: the migration.
"""

from __future__ import annotations

from market_assets.cli.console import output
from market_assets.settings import Settings


def migrate(*, quiet: bool) -> None:
    """Migrate the configured database and say what it holds now."""
    settings = Settings.load()
    from market_assets.store import Store

    store = Store.connect(settings.sqlalchemy_url)
    try:
        store.migrate()
        if not quiet:
            state = store.describe()
            output.print(f"The schema of {state.url} is at revision {state.revision}.", highlight=False)
    finally:
        store.close()
