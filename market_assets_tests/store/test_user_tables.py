"""Reading the user's own table of crypto prices."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import sqlalchemy as sa

from market_assets.errors import StoreError
from market_assets_tests.store.builders import at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from market_assets.store import Store

TABLE = "my_crypto"


@pytest.fixture
def create(store: Store) -> Iterator[Any]:
    """Create the user's table with a timestamp column of the given type."""
    metadata = sa.MetaData()

    def make(timestamp: sa.types.TypeEngine[Any], rows: list[dict[str, Any]]) -> None:
        doubles = (sa.Column(name, sa.Numeric(20, 4), nullable=True) for name in ("price", "volume", "market_cap"))
        table = sa.Table(
            TABLE, metadata, sa.Column("timestamp", timestamp), sa.Column("symbol", sa.String(10)), *doubles
        )
        metadata.create_all(store.database.engine)
        if rows:
            store.database.write(lambda connection: connection.execute(sa.insert(table), rows))

    yield make
    metadata.drop_all(store.database.engine)


def _row(symbol: str, timestamp: Any, price: float, cap: float | None = None) -> dict[str, Any]:
    return {"symbol": symbol, "timestamp": timestamp, "price": price, "volume": 2.5, "market_cap": cap}


@pytest.mark.filterwarnings("ignore:Dialect sqlite.pysqlite does not support Decimal")
def test_timestamps_without_a_zone_are_utc_and_the_window_is_half_open(store: Store, create: Any) -> None:
    naive = [at(hour).replace(tzinfo=None) for hour in (0, 1, 2)]
    create(
        sa.DateTime(),
        [
            _row("ETH", naive[1], 4.0),
            _row("BTC", naive[1], 2.0, 9.0),
            _row("BTC", naive[0], 1.0),
            _row("BTC", naive[2], 3.0),
        ],
    )
    read = store.read_crypto_prices(TABLE, at(0), at(2))
    assert list(read.columns) == ["symbol", "timestamp", "price", "volume", "market_cap"]
    assert list(read["symbol"]) == ["BTC", "BTC", "ETH"]
    assert list(read["timestamp"]) == [pd.Timestamp(at(0)), pd.Timestamp(at(1)), pd.Timestamp(at(1))]
    assert read["timestamp"].dtype == "datetime64[us, UTC]"
    assert list(read["price"]) == [1.0, 2.0, 4.0]
    assert list(read["market_cap"].isna()) == [True, False, True]


def test_a_table_without_rows_in_the_window_gives_an_empty_frame_of_the_same_types(store: Store, create: Any) -> None:
    create(sa.DateTime(), [])
    read = store.read_crypto_prices(TABLE, at(0), at(0) + timedelta(days=1))
    assert read.empty
    assert read["timestamp"].dtype == "datetime64[us, UTC]"
    assert read["price"].dtype == float


def test_a_table_that_does_not_exist_or_does_not_fit_is_named_with_the_remedy(store: Store, create: Any) -> None:
    with pytest.raises(StoreError, match=r"CRYPTO_PRICES_TABLE=my_crypto does not exist.*unset it"):
        store.read_crypto_prices(TABLE, at(0), at(1))
    with pytest.raises(StoreError, match="CRYPTO_PRICES_TABLE=store_info lacks the columns timestamp"):
        store.read_crypto_prices("store_info", at(0), at(1))
    create(sa.BigInteger(), [])
    with pytest.raises(StoreError, match=r"the column timestamp has the type BIGINT.*needs TIMESTAMP or DATETIME"):
        store.read_crypto_prices(TABLE, at(0), at(1))


def test_columns_that_are_called_otherwise_are_mapped_and_those_that_are_missing_are_null(store: Store) -> None:
    table = sa.Table(
        TABLE,
        sa.MetaData(),
        sa.Column("ts", sa.DateTime()),
        sa.Column("coin", sa.String(10)),
        sa.Column("close_usd", sa.Double()),
    )
    table.create(store.database.engine)
    row = {"ts": at(1).replace(tzinfo=None), "coin": "BTC", "close_usd": 2.0}
    store.database.write(lambda connection: connection.execute(sa.insert(table), [row]))
    names = {"timestamp": "ts", "symbol": "coin", "price": "close_usd"}
    read = store.read_crypto_prices(TABLE, at(0), at(2), names)
    assert read[["symbol", "price"]].to_dict("records") == [{"symbol": "BTC", "price": 2.0}]
    assert read[["volume", "market_cap"]].isna().to_numpy().all()
    with pytest.raises(StoreError, match="lacks the columns timestamp, symbol, price; it needs timestamp"):
        store.read_crypto_prices(TABLE, at(0), at(2))
    # what is named must be there, even if it is only nice to have
    with pytest.raises(StoreError, match="lacks the columns vol"):
        store.read_crypto_prices(TABLE, at(0), at(2), {**names, "volume": "vol"})
    table.drop(store.database.engine)
