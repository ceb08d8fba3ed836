"""The coverage ledger tells the state of every expected bar, the last answer for a day, and since when it has a hole.

Revision 0002, after 0001. Days recorded before have no slots; the next run that asks for them fills them in. MariaDB
commits every DDL statement by itself, so each column may be there already.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from market_assets.store.types import UtcTimestamp

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLE = "collection_ledger"


def upgrade() -> None:
    """Add the columns that are missing."""
    present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns(_TABLE)}
    for column in (
        sa.Column("slots", sa.String(255), nullable=True),
        sa.Column("asked_at", UtcTimestamp(), nullable=True),
        sa.Column("hole_since", UtcTimestamp(), nullable=True),
    ):
        if column.name not in present:
            op.add_column(_TABLE, column)


def downgrade() -> None:
    """Refuse: what was recorded is never thrown away."""
    raise NotImplementedError("the store never goes back: restore a backup instead")
