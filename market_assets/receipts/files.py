"""Files that a receipt can be about: how each format is read back with every bit.

Belongs here: reading. Does not belong here: hashes, receipts.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING

import pandas as pd

from market_assets.errors import MissingExtraError, ReceiptError
from market_assets.receipts.hashes import Kind, restored

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class FileFormat(StrEnum):
    """Format of a file."""

    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"


def read_frame(path: Path, form: FileFormat, kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """Read a file whose columns are of `kinds`; raise ReceiptError if it is not there or cannot be read."""
    try:
        if form is FileFormat.PARQUET:
            frame = pd.read_parquet(path)
        elif form is FileFormat.CSV:
            # As text: every parser of numbers has its own idea of the last bit.
            frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        else:
            frame = pd.DataFrame(json.loads(path.read_text(encoding="utf-8")), columns=list(kinds))
        return pd.DataFrame(
            {name: restored(frame[name], kind) if name in kinds else frame[name] for name, kind in _kinds(frame, kinds)}
        )
    except FileNotFoundError:
        raise ReceiptError(f"there is no file {path}; a receipt is verified beside its file") from None
    except ImportError:
        raise MissingExtraError("parquet needs the package pyarrow: pip install 'market-assets[parquet]'") from None
    except (OSError, ValueError, TypeError) as error:
        raise ReceiptError(f"{path} is no {form} file of this receipt: {error}") from error


def _kinds(frame: pd.DataFrame, kinds: Mapping[str, Kind]) -> list[tuple[str, Kind]]:
    return [(name, kinds.get(name, Kind.TEXT)) for name in map(str, frame.columns)]
