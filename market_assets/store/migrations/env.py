"""What Alembic runs for every command: hands it the connection that `store/migrate.py` opened under the schema lock.

Belongs here: the migration context. Does not belong here: URLs and locks. For `alembic revision`, call it through
`store/migrate.py` too: a bare Alembic has no connection here.
"""

from __future__ import annotations

from alembic import context

from market_assets.store.revision import VERSION_TABLE

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, version_table=VERSION_TABLE, transactional_ddl=connection.dialect.name != "mysql"
)
with context.begin_transaction():
    context.run_migrations()
