"""Data sets as files: Parquet, CSV and Arrow, with a receipt beside each file.

Belongs here: writing formats. Does not belong here: what a receipt says, reading files back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.errors import MissingExtraError
from market_assets.receipts import FileFormat, write_with_receipt

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

    from market_assets.client.columns import Catalogue
    from market_assets.store import Store


def to_arrow(frame: pd.DataFrame) -> pa.Table:
    """Return a frame as an Arrow table, without its index."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise MissingExtraError("Arrow needs the package pyarrow: pip install 'market-assets[parquet]'") from None
    return pa.Table.from_pandas(frame, preserve_index=False)


def export(frame: pd.DataFrame, path: Path | str, form: FileFormat, store: Store, catalogue: Catalogue) -> Path:
    """Write a frame to `path` and its receipt beside it; return the receipt's path. The index is not written."""

    def write(part: Path) -> None:
        if form is FileFormat.PARQUET:
            _write_parquet(frame, part)
        else:
            frame.to_csv(part, index=False)  # repr of a float64: it comes back with its own bits

    return write_with_receipt(frame, path, form, store, catalogue, write=write)


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    try:
        frame.to_parquet(path, index=False)
    except ImportError:
        raise MissingExtraError("Parquet needs the package pyarrow: pip install 'market-assets[parquet]'") from None
