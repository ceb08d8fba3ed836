"""The IO manager: what assets produce enters the database here, and what they read of each other leaves it here.

Belongs here: the translation between a Dagster step and the store. Does not belong here: SQL, and what the rows mean.

Dagster's own DbIOManager is not used: its delete and insert are not atomic, it inserts by position, drops the zone of
window bounds and wipes a partition on an empty frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from market_assets.collection.build import read_ticker_log
from market_assets.collection.write import ScopedWrite
from market_assets.universe import UNIVERSE, Universe

if TYPE_CHECKING:
    from market_assets.metrics import TickerLog
    from market_assets.store import Store, WriteReport

#: first element of the key of every ticker asset
TICKER_PREFIX = "ticker"


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
            obj.replacements, scopes=obj.scopes, fetched_at=obj.fetched_at, accept_deletions=accept
        )
        metadata = _report_metadata(report, obj)
        if obj.after is not None:
            metadata |= obj.after()
        context.add_output_metadata(metadata)
        for refused in report.refused:
            context.log.warning("kept the stored rows of %s: %s", refused.scope, refused.reason)

    def load_input(self, context: dg.InputContext) -> TickerLog:
        """Return the bars and corporate actions of the upstream ticker in the mapped window."""
        key = context.asset_key.path
        if len(key) != 2 or key[0] != TICKER_PREFIX:  # noqa: PLR2004 - prefix and name
            raise TypeError(
                f"{context.asset_key.to_user_string()} is not loaded as an input; read the store in one query"
            )
        window = context.asset_partitions_time_window
        with self._store.snapshot() as snapshot:
            return read_ticker_log(snapshot, self._universe[key[1]], window.start, window.end)


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
