"""The table in the old system's shape, and its history.

Revision 0004, after 0003. MariaDB commits every DDL statement by itself, so each table may be there already.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from market_assets.store.types import UtcTimestamp

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "if_not_exists": True,
}


def _columns() -> list[sa.Column[Any]]:
    return [
        sa.Column("indicator_name", sa.String(64), primary_key=True),
        sa.Column("timestamp", UtcTimestamp(), primary_key=True),
        sa.Column("session", sa.Date(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
    ]


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "ml_macro_indicators", *_columns(), sa.Column("known_from", UtcTimestamp(), nullable=False), **_OPTIONS
    )
    op.create_table(
        "ml_macro_indicators_history",
        *_columns(),
        sa.Column("known_from", UtcTimestamp(), primary_key=True),
        sa.Column("known_to", UtcTimestamp(), nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        **_OPTIONS,
    )


def downgrade() -> None:
    """Refuse: what was recorded is never thrown away."""
    raise NotImplementedError("the store never goes back: restore a backup instead")
