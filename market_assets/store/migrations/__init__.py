"""Alembic's revisions of the schema.

Belongs here: `env.py` and one module per revision under `versions/`. Does not belong here: feature columns, which come
from the universe (`store/migrate.py`).
"""
