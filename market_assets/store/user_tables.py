"""Reading the user's own crypto prices, a table that this package neither creates nor changes.

Belongs here: `CRYPTO_PRICES_TABLE` and `CRYPTO_PRICES_COLUMNS`. Does not belong here: the join with the features.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.exc import NoSuchTableError

from market_assets.errors import StoreError
from market_assets.store.types import to_micros

if TYPE_CHECKING:
    from collections.abc import Mapping

    from market_assets.store.connect import Database

_VALUES = ("price", "volume", "market_cap")
_COLUMNS = ("timestamp", "symbol", *_VALUES)
#: without one of these a row is none
_NEEDED = ("timestamp", "symbol", "price")


def read_crypto_prices(
    database: Database, table: str, start: datetime, end: datetime, names: Mapping[str, str]
) -> pd.DataFrame:
    """Return the rows of `table` (`name` or `schema.name`) with timestamp in [start, end), sorted by symbol and time.

    Columns symbol (str), timestamp (datetime64[us, UTC]), price, volume, market_cap (float64). `names` says what they
    are called there, by our name; a table without volume or market_cap has NaN. Timestamps without zone are UTC. Raises
    StoreError if the table or a column does not exist, or if the timestamp column holds no timestamps.
    """
    schema, _, name = table.rpartition(".")
    called = {column: names.get(column, column) for column in _COLUMNS}
    with database.reading() as connection:
        try:
            reflected = sa.Table(name, sa.MetaData(), schema=schema or None, autoload_with=connection)
        except NoSuchTableError:
            raise StoreError(
                f"CRYPTO_PRICES_TABLE={table} does not exist in {database.redacted_url}; "
                "name an existing table or unset it to use the collected BTC and ETH bars"
            ) from None
        # What is named must be there; what is not, and is only nice to have, need not.
        wanted = {*_NEEDED, *names}
        missing = [
            called[column] for column in _COLUMNS if column in wanted and called[column] not in reflected.columns
        ]
        if missing:
            raise StoreError(
                f"CRYPTO_PRICES_TABLE={table} lacks the columns {', '.join(missing)}; it needs {', '.join(_NEEDED)}. "
                "Name those that are called otherwise, e.g. CRYPTO_PRICES_COLUMNS=timestamp=ts,price=close_usd"
            )
        at = reflected.columns[called["timestamp"]]
        if not isinstance(at.type, sa.DateTime):
            raise StoreError(
                f"CRYPTO_PRICES_TABLE={table}: the column {called['timestamp']} has the type {at.type}; "
                "it needs TIMESTAMP or DATETIME (make a view that converts it)"
            )
        zoned = bool(getattr(at.type, "timezone", False))
        bounds = [
            bound.astimezone(UTC) if zoned else bound.astimezone(UTC).replace(tzinfo=None) for bound in (start, end)
        ]
        picked = [reflected.columns.get(called[column], sa.null()).label(column) for column in _COLUMNS]
        query = sa.select(*picked).where(at >= bounds[0], at < bounds[1])
        rows: list[Any] = list(connection.execute(query))
    by_column = dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(_COLUMNS, ())
    instants = [to_micros(value if value.tzinfo else value.replace(tzinfo=UTC)) for value in by_column["timestamp"]]
    frame = pd.DataFrame(
        {
            "symbol": pd.Series([str(value) for value in by_column["symbol"]], dtype=object),
            "timestamp": pd.Series(np.array(instants, dtype="datetime64[us]")).dt.tz_localize("UTC"),
            **{name: np.array(by_column[name], dtype=np.float64) for name in _VALUES},
        }
    )
    return frame.sort_values(["symbol", "timestamp"], ignore_index=True)
