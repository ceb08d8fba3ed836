"""What all assets share: keys, owners, column schemas and the preview tables of their metadata.

Belongs here: presentation shared by several assets. Does not belong here: a step's work, and drawing (`pictures.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from market_assets.pictures import markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

OWNERS = ["team:market-data"]
FEATURES_KEY = dg.AssetKey("ml_features")
CORRELATIONS_KEY = dg.AssetKey("crypto_correlations")
CRYPTO_KEY = dg.AssetKey("crypto_ml_features_materialized")
TICK_KEY = dg.AssetKey("tick")

#: what an asset shows beside a materialization
Metadata = dict[str, Any]


def ticker_key(name: str) -> dg.AssetKey:
    """Return the asset key of a ticker."""
    return dg.AssetKey(["ticker", name])


def indicator_key(name: str) -> dg.AssetKey:
    """Return the asset key of an indicator."""
    return dg.AssetKey(["indicator", name])


def column_schema(columns: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """Return the metadata entry that shows (name, type, description) of each column in the catalogue."""
    schema = dg.TableSchema(
        columns=[dg.TableColumn(name=name, type=kind, description=text) for name, kind, text in columns]
    )
    return {"dagster/column_schema": schema}


def preview(frame: pd.DataFrame, columns: Sequence[str], rows: int = 5) -> dg.MarkdownMetadataValue:
    """Return the last `rows` rows of `frame` as a small Markdown table."""
    tail = frame.loc[:, list(columns)].tail(rows)
    return dg.MetadataValue.md(markdown_table(columns, tail.itertuples(index=False)))
