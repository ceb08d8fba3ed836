"""What all assets share: keys, owners, column schemas and the preview tables of their metadata.

Belongs here: presentation shared by several assets. Does not belong here: a step's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

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

_SPARKS = "▁▂▃▄▅▆▇█"


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
    return markdown_table([columns, *([_cell(value) for value in row] for row in tail.itertuples(index=False))])


def markdown_table(rows: Sequence[Sequence[str]]) -> dg.MarkdownMetadataValue:
    """Return texts as a Markdown table; the first row is its heading."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return dg.MetadataValue.md("\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]))


def sparkline(values: Sequence[float], width: int = 40) -> str:
    """Return the last `width` finite values as a line of block characters, lowest to highest."""
    finite = [value for value in values if value == value and abs(value) != float("inf")][-width:]  # noqa: PLR0124 - NaN
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    span = (high - low) or 1.0
    return "".join(_SPARKS[min(len(_SPARKS) - 1, int((value - low) / span * len(_SPARKS)))] for value in finite)


def _cell(value: object) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN and NaT
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if hasattr(value, "strftime"):
        return str(value.strftime("%Y-%m-%d %H:%M" if hasattr(value, "hour") else "%Y-%m-%d"))
    return str(value)
