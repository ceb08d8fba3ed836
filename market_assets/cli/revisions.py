"""`market-assets revisions`: what changed after it had first been served.

Belongs here: printing the report, as tables or JSON. Does not belong here: finding out (`verify/revisions.py`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.table import Table

from market_assets.cli.console import output, say
from market_assets.cli.log import load_settings
from market_assets.cli.proofs import DEFINITIONS, print_json, progress
from market_assets.cli.reader import open_to_read
from market_assets.cli.words import counted
from market_assets.collection.coverage import late_after
from market_assets.verify.revisions import revisions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from market_assets.collection.days import DayRange
    from market_assets.verify.revisions import BarRevision, Change, Revisions, RowRevision

#: columns of one changed row that are shown
_CHANGES_SHOWN = 3


def run_revisions(days: DayRange, *, limit: int, as_json: bool) -> int:
    """Print which bars and features of `days` changed; return the exit status."""
    settings = load_settings()
    store = open_to_read(settings, "revisions")
    try:
        with progress("Comparing versions"):
            found = revisions(store, days.start, days.end, DEFINITIONS, late_after=late_after(settings))
    finally:
        store.close()
    if as_json:
        print_json(found.to_json(), days)
        return 0
    _print_bars(found, days, limit)
    _print_rows(found, days, limit)
    return 0


def _print_bars(found: Revisions, days: DayRange, limit: int) -> None:
    kinds = Counter(one.kind for one in found.bars)
    told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items())) or "none changed or late"
    say(f"[bold]Bars[/] of {days.first} to {days.last}: {told}, of {counted(found.bars_seen, 'bar')}.")
    shown = sorted(found.bars, key=lambda one: -_size(one.changes))[:limit]
    if not shown:
        return
    table = Table(box=None, header_style="bold")
    for name in ("ticker", "interval", "bar (UTC)", "kind", "first stored", "changed", "versions", "what"):
        table.add_column(name)
    for one in shown:
        table.add_row(
            one.ticker,
            one.interval,
            f"{one.bar_start:%Y-%m-%d %H:%M}",
            one.kind,
            f"{one.served_at:%Y-%m-%d %H:%M}",
            "" if one.kind == "late" else f"{one.changed_at:%Y-%m-%d %H:%M}",
            str(one.versions),
            _what(one),
        )
    output.print(table)
    if len(found.bars) > len(shown):
        say(f"... and {len(found.bars) - len(shown):,} more; --limit shows more, --json all")


def _print_rows(found: Revisions, days: DayRange, limit: int) -> None:
    say(
        f"\n[bold]Feature rows[/] of {days.first} to {days.last}: {len(found.rows):,} changed after they had first "
        f"been served, of {counted(found.rows_seen, 'row')}."
    )
    shown = sorted(found.rows, key=lambda one: -_size(one.changes))[:limit]
    if not shown:
        return
    table = Table(box=None, header_style="bold")
    for name in ("observed at (UTC)", "origin", "changed", "versions", "what", "because of"):
        table.add_column(name, overflow="fold")
    for one in shown:
        table.add_row(
            f"{one.observed_at:%Y-%m-%d %H:%M}",
            one.origin,
            f"{one.changed_at:%Y-%m-%d %H:%M}",
            str(one.versions),
            _changes(one.changes) or "nothing in the end",
            _because(one),
        )
    output.print(table)
    if len(found.rows) > len(shown):
        say(f"... and {len(found.rows) - len(shown):,} more; --limit shows more, --json all")


def _what(one: BarRevision) -> str:
    if one.kind == "late":
        return f"{int(one.delay.total_seconds() // 60)} min after it was available"
    if one.kind == "withdrawn":
        return "the source no longer has it"
    return _changes(one.changes) or "what it first was, again"


def _because(one: RowRevision) -> str:
    if one.kind != "bars":
        return "other definitions" if one.kind == "definition" else "the row is gone"
    told = [f"{cause.what} {cause.kind}" for cause in one.causes[:_CHANGES_SHOWN]]
    more = len(one.causes) - len(told)
    return ", ".join(told) + (f" and {more} more" if more > 0 else "")


def _changes(changes: Sequence[Change]) -> str:
    ordered = sorted(changes, key=lambda one: -abs(one.relative or 0.0))
    told = [_change(change) for change in ordered[:_CHANGES_SHOWN]]
    more = len(ordered) - len(told)
    return ", ".join(told) + (f" and {more} more" if more > 0 else "")


def _change(change: Change) -> str:
    served, latest = ("NULL" if value is None else f"{value:.6g}" for value in (change.served, change.latest))
    relative = "" if change.relative is None else f" ({100 * change.relative:+.3g} %)"
    return f"{change.column} {served} to {latest}{relative}"


def _size(changes: Sequence[Change]) -> float:
    """Return how much changed, to sort by: the largest relative change; what is missing on one side counts most."""
    sizes = [float("inf") if change.relative is None else abs(change.relative) for change in changes]
    return max(sizes, default=0.0)
