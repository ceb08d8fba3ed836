"""`market-assets migrate`: the schema, on every database.

Belongs here: what a person sees of a migration. Does not belong here: the migration.
"""

from __future__ import annotations

from market_assets.cli.console import escape, say
from market_assets.cli.log import load_settings


def migrate(*, quiet: bool) -> None:
    """Migrate the configured database and say what it holds now."""
    settings = load_settings()
    from market_assets.store import Store

    store = Store.connect(settings.sqlalchemy_url)
    try:
        before = store.describe().revision
        store.migrate()
        if not quiet:
            state = store.describe()
            where = escape(state.url)
            if before is None:
                say(f"Created the schema of {where}, revision {state.revision}.")
            elif before == state.revision:
                say(f"The schema of {where} is up to date, revision {state.revision}.")
            else:
                say(f"Migrated {where} from revision {before} to {state.revision}.")
    finally:
        store.close()
