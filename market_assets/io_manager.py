"""The IO manager: what assets produce enters the database here, and what they read of each other leaves it here.

Belongs here: the translation between a Dagster step and the store. Does not belong here: SQL, and what the rows mean.

Dagster's own DbIOManager is not used: its delete and insert are not atomic, it inserts by position, drops the zone of
window bounds and wipes a partition on an empty frame.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from market_assets.clock import ensure_utc
from market_assets.collection.build import read_ticker_log
from market_assets.collection.write import ScopedWrite
from market_assets.store.tables import CRYPTO_CORRELATIONS, CRYPTO_ML_FEATURES, ML_FEATURES, ML_INDICATORS
from market_assets.universe import UNIVERSE, Universe

if TYPE_CHECKING:
    import pandas as pd

    from market_assets.metrics import TickerLog
    from market_assets.store import Store, WriteReport

#: first element of the key of every ticker asset, and of every indicator
TICKER_PREFIX, INDICATOR_PREFIX = "ticker", "indicator"
#: tables of the other assets, by key
_TABLES = {table.name: table for table in (ML_FEATURES, CRYPTO_CORRELATIONS, CRYPTO_ML_FEATURES)}
#: input metadata that says as of when an input is read
AS_OF = "market_assets/as_of"


class VersionedIOManager(dg.IOManager):
    """Writes a ScopedWrite through the store's one mechanism; loads a ticker's bars as a TickerLog.

    Safe for range runs: the window of a load is the whole contiguous range that the partition mapping gives.
    """

    def __init__(self, store: Store, universe: Universe = UNIVERSE) -> None:
        """Stand on an open `store`."""
        self._store = store
        self._universe = universe

    def handle_output(self, context: dg.OutputContext, obj: ScopedWrite | None) -> None:
        """Write `obj` in one transaction and say what changed; None writes nothing."""
        if obj is None:
            return
        if not isinstance(obj, ScopedWrite):
            raise TypeError(f"{context.asset_key.to_user_string()} returned {type(obj).__name__}; return a ScopedWrite")
        accept = (
            (context.step_context.run_tags.get("market_assets/accept_deletions") == "true")
            if context.has_asset_key
            else False
        )
        report = self._store.replace(
            obj.replacements,
            scopes=obj.scopes,
            fetched_at=obj.fetched_at,
            accept_deletions=accept,
            states=obj.states,
        )
        metadata = _report_metadata(report, obj)
        if obj.after is not None:
            metadata |= obj.after()
        context.add_output_metadata(metadata)
        for refused in report.refused:
            context.log.warning("kept the stored rows of %s: %s", refused.scope, refused.reason)

    def load_input(self, context: dg.InputContext) -> TickerLog | pd.DataFrame:
        """Return what is stored of the upstream asset in the mapped window: of a ticker a TickerLog, else its rows.

        As of now, or as of the instant in the input's definition metadata (`AS_OF`, ISO 8601 with a zone), which
        `defs.get_asset_value_loader().load_asset_value(...)` takes as `input_definition_metadata`.

        Raises:
            ValueError: the instant is none.
            NaiveTimestampError: it has no time zone.
        """
        as_of = _as_of(context)
        key = context.asset_key.path
        window = context.asset_partitions_time_window
        with self._store.snapshot(as_of) as snapshot:
            if len(key) == 2 and key[0] == TICKER_PREFIX:  # noqa: PLR2004 - prefix and name
                return read_ticker_log(snapshot, self._universe[key[1]], window.start, window.end)
            if len(key) == 2 and key[0] == INDICATOR_PREFIX:  # noqa: PLR2004 - likewise
                return snapshot.read(ML_INDICATORS, start=window.start, end=window.end, series=[key[1]])
            table = _TABLES.get("/".join(key))
            if table is None:
                raise TypeError(f"{context.asset_key.to_user_string()} has no rows to load")
            bounds = (window.start.date(), window.end.date()) if table.time_is_date else (window.start, window.end)
            return snapshot.read(table, start=bounds[0], end=bounds[1])


def _as_of(context: dg.InputContext) -> datetime | None:
    stated = (context.definition_metadata or {}).get(AS_OF)
    if stated is None:
        return None
    value = getattr(stated, "value", stated)
    try:
        instant = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{AS_OF}={value}: is no instant; write e.g. 2026-01-02T15:00Z") from None
    return ensure_utc(instant, AS_OF)


def _report_metadata(report: WriteReport, written: ScopedWrite) -> dict[str, Any]:
    metadata: dict[str, Any] = dict(written.summary)
    for table, counts in report.tables.items():
        if counts.inserted or counts.changed or counts.removed or counts.unchanged:
            metadata[f"write/{table}"] = (
                f"{counts.inserted} new, {counts.changed} revised, {counts.removed} withdrawn, "
                f"{counts.unchanged} unchanged"
            )
    if report.skipped:
        metadata["write/skipped_scopes"] = dg.MetadataValue.text(
            f"{len(report.skipped)} days hold a newer fetch: {', '.join(str(scope) for scope in report.skipped[:5])}"
        )
    if report.refused:
        metadata["write/refused_scopes"] = dg.MetadataValue.text(
            "; ".join(f"{refused.scope}: {refused.reason}" for refused in report.refused[:5])
        )
    if report.known_from is not None:
        metadata["known_from"] = report.known_from.isoformat()
    return metadata
