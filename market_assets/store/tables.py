"""The tables, as declarations.

Belongs here: which tables exist, their keys and columns, and how a row maps to its scope. Does not belong here: SQL
types (types.py), the SQLAlchemy objects made from these declarations (schema.py), reading and writing.

A versioned table has *key*, *compared* columns (a change makes a new version) and *carried* columns (stored with the
version, never by themselves a change). Of each there is a current table and a `_history` table of closed versions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from market_assets.store.scopes import Scope
from market_assets.store.types import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

#: characters of a name (ticker, symbol, indicator, source, run)
NAME_LENGTH = 64
#: characters of an interval or another short word
WORD_LENGTH = 16
#: characters of a reason or detail
REASON_LENGTH = 255

KNOWN_FROM = "known_from"
KNOWN_TO = "known_to"
REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """One column: name, kind, whether it may be NULL, and for TEXT the longest value in characters."""

    name: str
    kind: Kind
    nullable: bool = False
    length: int = 0


#: stands for the feature columns, which come from the universe; `with_features` puts them in its place
_FEATURES = ColumnSpec("*", Kind.DOUBLE, nullable=True)


@dataclass(frozen=True)
class VersionedTable:
    """One versioned table: its columns, and how a row maps to the scope (series, interval, UTC day) it belongs to.

    A table without a series or interval column has a fixed one; fixed intervals keep the scopes of tables that share a
    series apart (`crypto_correlations` and `crypto_ml_features_materialized` are both by crypto symbol).
    """

    name: str
    key: tuple[ColumnSpec, ...]
    compared: tuple[ColumnSpec, ...]
    time_column: str
    carried: tuple[ColumnSpec, ...] = ()
    series_column: str | None = None
    fixed_series: str = ""
    interval_column: str | None = None
    fixed_interval: str = ""
    #: whether withdrawing many rows of a closed day needs confirmation
    guards_deletions: bool = False
    #: whether features are computed from it, so that a change makes them stale
    feeds_features: bool = False

    @property
    def columns(self) -> tuple[ColumnSpec, ...]:
        """Every column of a frame of this table, in order, without `known_from`."""
        return self.key + self.compared + self.carried

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of `columns`."""
        return tuple(spec.name for spec in self.columns)

    @property
    def key_names(self) -> tuple[str, ...]:
        """Names of the key's columns."""
        return tuple(spec.name for spec in self.key)

    @property
    def is_wide(self) -> bool:
        """Whether the table has one column per feature."""
        return _FEATURES in self.compared

    @property
    def time_is_date(self) -> bool:
        """Whether the time column holds dates rather than instants."""
        return next(spec.kind for spec in self.key if spec.name == self.time_column) is Kind.DATE

    def with_features(self, feature_columns: Sequence[str]) -> Self:
        """Return the declaration with the feature columns in their place."""
        features = tuple(ColumnSpec(name, Kind.DOUBLE, nullable=True) for name in feature_columns)
        compared = tuple(spec for one in self.compared for spec in (features if one is _FEATURES else (one,)))
        return replace(self, compared=compared)

    def scope(self, series: str, day: date, interval: str = "") -> Scope:
        """Return the scope of this table's rows of `series` on `day`; fixed parts win over the arguments."""
        return Scope(
            series if self.series_column else self.fixed_series,
            interval if self.interval_column else self.fixed_interval,
            day,
        )

    def holds(self, scope: Scope) -> bool:
        """Whether rows of this table can lie inside `scope`."""
        return (self.series_column is not None or scope.series == self.fixed_series) and (
            self.interval_column is not None or scope.interval == self.fixed_interval
        )


def _name(name: str) -> ColumnSpec:
    return ColumnSpec(name, Kind.TEXT, length=NAME_LENGTH)


def _word(name: str) -> ColumnSpec:
    return ColumnSpec(name, Kind.TEXT, length=WORD_LENGTH)


def _instant(name: str, *, nullable: bool = False) -> ColumnSpec:
    return ColumnSpec(name, Kind.TIMESTAMP, nullable=nullable)


def _doubles(*names: str) -> tuple[ColumnSpec, ...]:
    return tuple(ColumnSpec(name, Kind.DOUBLE, nullable=True) for name in names)


def _reason() -> ColumnSpec:
    return ColumnSpec("reason", Kind.TEXT, nullable=True, length=REASON_LENGTH)


def _json(name: str) -> ColumnSpec:
    return ColumnSpec(name, Kind.LONG_TEXT, nullable=True)


_BAR_KEY = (_name("ticker"), _word("interval"), _instant("bar_start"))
_BAR_VALUES = _doubles("open", "high", "low", "close", "volume", "basis")

MARKET_BARS = VersionedTable(
    "market_bars",
    key=_BAR_KEY,
    compared=(_instant("bar_end"), *_BAR_VALUES, _name("source")),
    time_column="bar_start",
    series_column="ticker",
    interval_column="interval",
    guards_deletions=True,
    feeds_features=True,
)
CORPORATE_ACTIONS = VersionedTable(
    "corporate_actions",
    key=(_name("ticker"), _word("kind"), ColumnSpec("ex_date", Kind.DATE)),
    compared=(*_doubles("value", "basis"), _name("source")),
    time_column="ex_date",
    series_column="ticker",
    fixed_interval="1d",
    feeds_features=True,
)
QUARANTINED_BARS = VersionedTable(
    "quarantined_bars",
    key=_BAR_KEY,
    compared=(_instant("bar_end", nullable=True), *_BAR_VALUES, _name("source"), _reason()),
    time_column="bar_start",
    series_column="ticker",
    interval_column="interval",
)
ML_INDICATORS = VersionedTable(
    "ml_indicators",
    key=(_name("indicator"), _instant("observed_at")),
    compared=(*_doubles("value"), _reason()),
    time_column="observed_at",
    series_column="indicator",
)
ML_FEATURES = VersionedTable(
    "ml_features",
    key=(_instant("observed_at"),),
    compared=(
        _FEATURES,
        ColumnSpec("feature_count", Kind.INTEGER),
        ColumnSpec("core_count", Kind.INTEGER),
        _json("reasons"),
        _json("ages"),
        _json("resolution"),
        _json("basis"),
        _word("feature_version"),
    ),
    carried=(_word("origin"), _instant("read_as_of", nullable=True)),
    time_column="observed_at",
    fixed_series="ml_features",
)
CRYPTO_CORRELATIONS = VersionedTable(
    "crypto_correlations",
    key=(
        _name("crypto"),
        _name("ticker"),
        ColumnSpec("sessions", Kind.INTEGER),
        ColumnSpec("session", Kind.DATE),
    ),
    compared=(*_doubles("correlation"), ColumnSpec("pairs", Kind.INTEGER)),
    time_column="session",
    series_column="crypto",
)
CRYPTO_ML_FEATURES = VersionedTable(
    "crypto_ml_features_materialized",
    key=(_name("symbol"), _instant("timestamp")),
    compared=(
        *_doubles("price", "volume", "market_cap"),
        _FEATURES,
        *_doubles("ml_nasdaq_correlation", "ml_arkk_correlation", "ml_gold_correlation", "ml_vix_fear_index"),
    ),
    time_column="timestamp",
    series_column="symbol",
    fixed_interval="features",
)

VERSIONED_TABLES = (
    MARKET_BARS,
    CORPORATE_ACTIONS,
    QUARANTINED_BARS,
    ML_INDICATORS,
    ML_FEATURES,
    CRYPTO_CORRELATIONS,
    CRYPTO_ML_FEATURES,
)


@dataclass(frozen=True, slots=True)
class PlainTable:
    """A table without versions: bookkeeping of the store itself."""

    name: str
    key: tuple[ColumnSpec, ...]
    values: tuple[ColumnSpec, ...]


_SCOPE_KEY = (_name("series"), _word("interval"), ColumnSpec("day", Kind.DATE))

#: one row per scope that was ever written: the lock that writers take, and the order between them
FETCH_LEDGER = PlainTable("fetch_ledger", _SCOPE_KEY, (_instant("fetched_at"), _name("source")))
#: mass withdrawals that were refused, waiting for further fetches that agree
PENDING_DELETIONS = PlainTable(
    "pending_deletions",
    _SCOPE_KEY,
    (
        _name("content_hash"),
        _instant("first_seen"),
        _instant("last_counted"),
        ColumnSpec("agreeing", Kind.INTEGER),
    ),
)
#: one row: the stamp of the last commit on the knowledge axis
KNOWLEDGE_COUNTER = PlainTable("knowledge_counter", (ColumnSpec("id", Kind.INTEGER),), (_instant("stamp"),))
#: one row: who collects at the moment
COLLECTION_LOCK = PlainTable(
    "collection_lock",
    (ColumnSpec("id", Kind.INTEGER),),
    (
        ColumnSpec("holder", Kind.TEXT, nullable=True, length=REASON_LENGTH),
        ColumnSpec("token", Kind.TEXT, nullable=True, length=NAME_LENGTH),
        _instant("acquired_at", nullable=True),
        _instant("expires_at", nullable=True),
    ),
)
#: facts about the database as a whole, such as the source of its bars
STORE_INFO = PlainTable("store_info", (_name("name"),), (ColumnSpec("value", Kind.TEXT, length=REASON_LENGTH),))
#: log of collections
COLLECTIONS = PlainTable(
    "collections",
    (_name("run_id"),),
    (
        _word("kind"),
        _name("source"),
        _instant("started_at"),
        _instant("finished_at", nullable=True),
        _word("status"),
        _json("summary"),
    ),
)
#: exactly one state per expected slot of each (ticker, interval, day), and one of the day as a whole
COLLECTION_LEDGER = PlainTable(
    "collection_ledger",
    (_name("ticker"), _word("interval"), ColumnSpec("day", Kind.DATE)),
    (
        _word("state"),
        ColumnSpec("detail", Kind.TEXT, nullable=True, length=REASON_LENGTH),
        _name("run_id"),
        _instant("recorded_at"),
        # one letter per expected bar, see collection/coverage.py
        ColumnSpec("slots", Kind.TEXT, nullable=True, length=REASON_LENGTH),
        _instant("asked_at", nullable=True),
        _instant("hole_since", nullable=True),
    ),
)
#: days whose stored features stand on bars that have changed since
STALE_FEATURE_DAYS = PlainTable(
    "stale_feature_days",
    (ColumnSpec("day", Kind.DATE),),
    (ColumnSpec("reason", Kind.TEXT, length=REASON_LENGTH), _instant("changed_at")),
)
#: what is open, and what people were told of it: one row per (check, asset) that is not simply well
ALERT_STATES = PlainTable(
    "alert_states",
    (_name("check_name"), _name("asset")),
    (
        ColumnSpec("failing", Kind.BOOLEAN),
        _word("severity"),
        ColumnSpec("failures", Kind.INTEGER),
        _instant("since"),
        _instant("evaluated_at"),
        _name("run_id"),
        _name("cause"),
        ColumnSpec("observed", Kind.TEXT, length=REASON_LENGTH),
        ColumnSpec("threshold", Kind.TEXT, length=REASON_LENGTH),
        ColumnSpec("detail", Kind.TEXT, length=REASON_LENGTH),
        _word("told"),
        _instant("told_at", nullable=True),
        _instant("told_since", nullable=True),
        _word("loudest"),
        ColumnSpec("flaps", Kind.INTEGER),
        ColumnSpec("level", Kind.INTEGER),
    ),
)
#: messages to people, kept until each target has taken them, and as a log afterwards
ALERT_OUTBOX = PlainTable(
    "alert_outbox",
    (_name("id"),),
    (
        _word("kind"),
        _word("severity"),
        ColumnSpec("title", Kind.TEXT, length=REASON_LENGTH),
        ColumnSpec("body", Kind.LONG_TEXT, nullable=True),
        _instant("created_at"),
        _instant("done_at", nullable=True),
        _json("delivered"),
        ColumnSpec("attempts", Kind.INTEGER),
        ColumnSpec("last_error", Kind.TEXT, nullable=True, length=REASON_LENGTH),
        ColumnSpec("lease", Kind.TEXT, nullable=True, length=NAME_LENGTH),
        _instant("leased_until", nullable=True),
    ),
)

PLAIN_TABLES = (
    FETCH_LEDGER,
    PENDING_DELETIONS,
    KNOWLEDGE_COUNTER,
    COLLECTION_LOCK,
    STORE_INFO,
    COLLECTIONS,
    COLLECTION_LEDGER,
    STALE_FEATURE_DAYS,
    ALERT_STATES,
    ALERT_OUTBOX,
)
