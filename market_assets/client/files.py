"""Data sets as files: Parquet, CSV and Arrow, with a receipt beside each file.

Belongs here: formats. Does not belong here: what a receipt says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def to_arrow(frame: pd.DataFrame) -> pa.Table:
    """Return a frame as an Arrow table, without its index."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise MissingExtraError("Arrow needs the package pyarrow: pip install 'market-assets[parquet]'") from None
    return pa.Table.from_pandas(frame, preserve_index=False)
