"""First tables: versioned tables with their histories, and the store's bookkeeping.

Revision 0001, after nothing. Self-contained on purpose: it does not follow later changes of the declarations. MariaDB
commits every DDL statement by itself, so each step can meet what an interrupted run left behind.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from market_assets.store.types import UtcTimestamp

if TYPE_CHECKING:
    from collections.abc import Callable

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "if_not_exists": True,
}


def _text(name: str, length: int, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), nullable=null)


def _name(name: str) -> sa.Column[Any]:
    return _text(name, 64)


def _word(name: str) -> sa.Column[Any]:
    return _text(name, 16)


def _reason(*, null: bool = True) -> sa.Column[Any]:
    return _text("reason", 255, null=null)


def _long(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql"), nullable=True)


def _at(name: str, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, UtcTimestamp(), nullable=null)


def _day(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Date(), nullable=False)


def _int(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)


def _doubles(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Double(), nullable=True) for name in names]


def _versioned(name: str, key: list[str], make: Callable[[], list[sa.Column[Any]]], *, narrow: bool = True) -> None:
    rowid = {"sqlite_with_rowid": not narrow}
    op.create_table(name, *make(), _at("known_from"), sa.PrimaryKeyConstraint(*key), **_OPTIONS, **rowid)
    op.create_table(
        f"{name}_history",
        *make(),
        _at("known_from"),
        _at("known_to"),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint(*key, "known_from"),
        **_OPTIONS,
        **rowid,
    )


def _plain(name: str, key: list[str], *columns: sa.Column[Any]) -> None:
    op.create_table(name, *columns, sa.PrimaryKeyConstraint(*key), **_OPTIONS, sqlite_with_rowid=False)


def _bar(*, end_may_miss: bool) -> list[sa.Column[Any]]:
    return [
        _name("ticker"),
        _word("interval"),
        _at("bar_start"),
        _at("bar_end", null=end_may_miss),
        *_doubles("open", "high", "low", "close", "volume", "basis"),
        _name("source"),
    ]


def upgrade() -> None:
    """Create every table; the feature columns come from the universe (store/migrate.py)."""
    bar_key = ["ticker", "interval", "bar_start"]
    _versioned("market_bars", bar_key, lambda: _bar(end_may_miss=False))
    _versioned("quarantined_bars", bar_key, lambda: [*_bar(end_may_miss=True), _reason()])
    _versioned(
        "corporate_actions",
        ["ticker", "kind", "ex_date"],
        lambda: [_name("ticker"), _word("kind"), _day("ex_date"), *_doubles("value", "basis"), _name("source")],
    )
    _versioned(
        "ml_indicators",
        ["indicator", "observed_at"],
        lambda: [_name("indicator"), _at("observed_at"), *_doubles("value"), _reason()],
    )
    _versioned(
        "ml_features",
        ["observed_at"],
        lambda: [
            _at("observed_at"),
            _int("feature_count"),
            _int("core_count"),
            *(_long(name) for name in ("reasons", "ages", "resolution", "basis")),
            _word("feature_version"),
            _word("origin"),
            _at("read_as_of", null=True),
        ],
        narrow=False,
    )
    _versioned(
        "crypto_correlations",
        ["crypto", "ticker", "sessions", "session"],
        lambda: [
            _name("crypto"),
            _name("ticker"),
            _int("sessions"),
            _day("session"),
            *_doubles("correlation"),
            _int("pairs"),
        ],
    )
    _versioned(
        "crypto_ml_features_materialized",
        ["symbol", "timestamp"],
        lambda: [
            _name("symbol"),
            _at("timestamp"),
            *_doubles("price", "volume", "market_cap"),
            *_doubles("ml_nasdaq_correlation", "ml_arkk_correlation", "ml_gold_correlation", "ml_vix_fear_index"),
        ],
        narrow=False,
    )
    _bookkeeping()
    _first_rows()


def _bookkeeping() -> None:
    scope = ["series", "interval", "day"]
    _plain("fetch_ledger", scope, _name("series"), _word("interval"), _day("day"), _at("fetched_at"), _name("source"))
    _plain(
        "pending_deletions",
        scope,
        _name("series"),
        _word("interval"),
        _day("day"),
        _name("content_hash"),
        _at("first_seen"),
        _at("last_counted"),
        _int("agreeing"),
    )
    _plain("knowledge_counter", ["id"], _int("id"), _at("stamp"))
    _plain(
        "collection_lock",
        ["id"],
        _int("id"),
        _text("holder", 255, null=True),
        _text("token", 64, null=True),
        _at("acquired_at", null=True),
        _at("expires_at", null=True),
    )
    _plain("store_info", ["name"], _name("name"), _text("value", 255))
    _plain(
        "collections",
        ["run_id"],
        _name("run_id"),
        _word("kind"),
        _name("source"),
        _at("started_at"),
        _at("finished_at", null=True),
        _word("status"),
        _long("summary"),
    )
    _plain(
        "collection_ledger",
        ["ticker", "interval", "day"],
        _name("ticker"),
        _word("interval"),
        _day("day"),
        _word("state"),
        _text("detail", 255, null=True),
        _name("run_id"),
        _at("recorded_at"),
    )
    _plain("stale_feature_days", ["day"], _day("day"), _reason(null=False), _at("changed_at"))


def _first_rows() -> None:
    """Put in the two rows that writers lock; an interrupted run may have done so already."""
    connection = op.get_bind()
    counter = sa.table("knowledge_counter", sa.column("id"), sa.column("stamp", UtcTimestamp()))
    lock = sa.table("collection_lock", sa.column("id"))
    if connection.execute(sa.select(sa.func.count()).select_from(counter)).scalar_one() == 0:
        op.bulk_insert(counter, [{"id": 1, "stamp": datetime(1970, 1, 1, tzinfo=UTC)}])
    if connection.execute(sa.select(sa.func.count()).select_from(lock)).scalar_one() == 0:
        op.bulk_insert(lock, [{"id": 1}])


def downgrade() -> None:
    """Refuse: versions of rows are never thrown away."""
    raise NotImplementedError("the store never goes back: restore a backup instead")
