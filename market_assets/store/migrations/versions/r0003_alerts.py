"""Alerts: what is open and what people were told of it, and the messages on their way.

Revision 0003, after 0002. Self-contained on purpose: it does not follow later changes of the declarations. MariaDB
commits every DDL statement by itself, so each step can meet what an interrupted run left behind.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from market_assets.store.types import UtcTimestamp

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "if_not_exists": True,
    "sqlite_with_rowid": False,
}
_LONG = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql")


def _text(name: str, length: int, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), nullable=null)


def _at(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, UtcTimestamp(), nullable=null)


def _int(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def upgrade() -> None:
    """Create the two tables."""
    op.create_table(
        "alert_states",
        _text("check_name", 64),
        _text("asset", 64),
        sa.Column("failing", sa.Boolean(), nullable=False),
        _text("severity", 16),
        _int("failures"),
        _at("since"),
        _at("evaluated_at"),
        _text("run_id", 64),
        _text("cause", 64),
        _text("observed", 255),
        _text("threshold", 255),
        _text("detail", 255),
        _text("told", 16),
        _at("told_at", null=True),
        _at("told_since", null=True),
        _text("loudest", 16),
        _int("flaps"),
        _int("level"),
        sa.PrimaryKeyConstraint("check_name", "asset"),
        **_OPTIONS,
    )
    op.create_table(
        "alert_outbox",
        _text("id", 64),
        _text("kind", 16),
        _text("severity", 16),
        _text("title", 255),
        sa.Column("body", _LONG, nullable=True),
        _at("created_at"),
        _at("done_at", null=True),
        sa.Column("delivered", _LONG, nullable=True),
        _int("attempts"),
        _text("last_error", 255, null=True),
        _text("lease", 64, null=True),
        _at("leased_until", null=True),
        sa.PrimaryKeyConstraint("id"),
        **_OPTIONS,
    )


def downgrade() -> None:
    """Refuse: versions of rows are never thrown away."""
    raise NotImplementedError("the store never goes back: restore a backup instead")
