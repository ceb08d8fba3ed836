"""Creating and checking the schema, and tickers that come and go."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from market_assets.columns import feature_columns
from market_assets.errors import SchemaOutdatedError, StoreError
from market_assets.store import Counts, Store
from market_assets.store.revision import HEAD_REVISION, VERSION_TABLE
from market_assets.store.schema import MAX_FEATURE_TICKERS
from market_assets.store.tables import ML_FEATURES
from market_assets_tests.store.builders import FETCHED, HOUR, feature_rows, history, write_bars, write_features

OpenStore = Callable[..., Store]
NEW_TICKER = ("ml_xle_price", "ml_xle_change_1d", "ml_xle_volatility")


def _wide(tickers: int) -> list[str]:
    return [f"ml_t{number}_{metric}" for number in range(tickers) for metric in ("price", "change_1d", "volatility")]


def test_a_new_database_must_be_migrated_first(empty_url: str, open_store: OpenStore) -> None:
    store = open_store(empty_url)
    with pytest.raises(SchemaOutdatedError, match="has no tables yet: run `market-assets migrate`"):
        store.check_schema()
    assert store.describe().revision is None
    store.migrate()
    store.check_schema()
    assert store.describe().revision == HEAD_REVISION


def test_migrating_twice_changes_nothing(store: Store) -> None:
    write_bars(store, [1.0])
    store.migrate()
    store.check_schema()
    assert store.describe().revision == HEAD_REVISION
    assert write_bars(store, [1.0], fetched_at=FETCHED + HOUR).tables == {"market_bars": Counts(unchanged=1)}


def test_the_migrated_tables_are_those_that_the_program_declares(store: Store) -> None:
    with store.database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, store.schema.metadata) == []
        inspector = sa.inspect(connection)
        for table in store.schema.metadata.sorted_tables:
            keys = [column.name for column in table.primary_key.columns]
            assert inspector.get_pk_constraint(table.name)["constrained_columns"] == keys


def test_a_migration_that_was_interrupted_is_finished_by_the_next_one(store: Store) -> None:
    """MariaDB commits every table by itself: a crash leaves some of them, and no revision."""
    kept = write_bars(store, [1.0]).known_from

    def undo_a_part(connection: sa.Connection) -> None:
        connection.execute(sa.delete(sa.table(VERSION_TABLE)))
        for name in ("stale_feature_days", "ml_indicators_history"):
            store.schema.metadata.tables[name].drop(connection)

    store.database.write(undo_a_part)
    store.migrate()
    store.check_schema()
    assert store.watermark() == kept


def test_four_threads_that_migrate_an_empty_database_at_once_all_succeed(empty_url: str, open_store: OpenStore) -> None:
    stores = [open_store(empty_url) for _ in range(4)]
    failures: list[Exception] = []

    def migrate(store: Store) -> None:
        try:
            store.migrate()
            store.check_schema()
        except Exception as error:  # noqa: BLE001 - a thread's error must reach the test
            failures.append(error)

    threads = [threading.Thread(target=migrate, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_new_ticker_adds_columns_and_leaves_the_old_rows_as_they_were(empty_url: str, open_store: OpenStore) -> None:
    old = open_store(empty_url)
    old.migrate()
    write_features(old, feature_rows(1.0))
    columns = [*feature_columns(), *NEW_TICKER]
    new = open_store(empty_url, feature_columns=columns)
    with pytest.raises(SchemaOutdatedError, match=r"lacks the columns ml_xle_price.*run `market-assets migrate`"):
        new.check_schema()
    new.migrate()
    new.check_schema()
    read = new.read(ML_FEATURES)
    assert list(read["ml_qqq_price"]) == [1.0, 1.0]
    assert read["ml_xle_price"].isna().all()
    assert write_features(new, feature_rows(2.0, columns=columns), FETCHED + HOUR).tables["ml_features"].changed == 2
    assert list(new.read(ML_FEATURES)["ml_xle_price"]) == [2.0, 2.0]
    assert list(history(new, ML_FEATURES)["ml_qqq_price"]) == [1.0, 2.0, 1.0, 2.0]


def test_a_ticker_that_leaves_drops_nothing_and_its_old_values_go_to_history(
    empty_url: str, open_store: OpenStore
) -> None:
    columns = [*feature_columns(), *NEW_TICKER]
    wide = open_store(empty_url, feature_columns=columns)
    wide.migrate()
    first = write_features(wide, feature_rows(1.0, count=1, columns=columns)).known_from
    narrow = open_store(empty_url)
    narrow.migrate()
    narrow.check_schema()
    assert "ml_xle_price" not in narrow.read(ML_FEATURES).columns
    assert write_features(narrow, feature_rows(1.0, count=1), FETCHED + HOUR).tables["ml_features"].changed == 1
    # feature_count differs, so the row was rewritten without the ticker
    assert wide.read(ML_FEATURES)["ml_xle_price"].isna().all()
    assert list(wide.read(ML_FEATURES, as_of=first)["ml_xle_price"]) == [1.0]


def test_an_older_release_that_writes_on_keeps_the_values_of_a_column_it_does_not_know(
    empty_url: str, open_store: OpenStore
) -> None:
    old = open_store(empty_url)
    old.migrate()
    write_features(old, feature_rows(1.0, count=1))
    columns = [*feature_columns(), *NEW_TICKER]
    new = open_store(empty_url, feature_columns=columns)
    new.migrate()
    known_from = write_features(new, feature_rows(2.0, count=1, columns=columns), FETCHED + HOUR).known_from
    write_features(old, feature_rows(3.0, count=1), FETCHED + 2 * HOUR)
    assert list(new.read(ML_FEATURES, as_of=known_from)["ml_xle_price"]) == [2.0]


def test_three_hundred_tickers_fit_and_more_are_refused_with_a_way_out(empty_url: str, open_store: OpenStore) -> None:
    with pytest.raises(StoreError, match=r"301 tickers.*one database takes 300.*sharding"):
        open_store(empty_url, feature_columns=_wide(MAX_FEATURE_TICKERS + 1))
    columns = _wide(MAX_FEATURE_TICKERS)
    store = open_store(empty_url, feature_columns=columns)
    store.migrate()
    store.check_schema()
    write_features(store, feature_rows(1.0 / 3.0, columns=columns))
    write_features(store, feature_rows(2.0 / 3.0, columns=columns), FETCHED + HOUR)
    assert set(store.read(ML_FEATURES)["ml_t299_volatility"]) == {2.0 / 3.0}
