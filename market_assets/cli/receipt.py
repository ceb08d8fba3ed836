"""`market-assets verify receipt`: what a person sees of it.

Belongs here: printing a verdict. Does not belong here: reaching it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from market_assets.cli.console import escape, say, tell
from market_assets.cli.log import load_settings
from market_assets.cli.reader import open_to_read
from market_assets.receipts import verify_receipt

if TYPE_CHECKING:
    from pathlib import Path

_SHOWN = 20


def verify(path: Path) -> int:
    """Verify the receipt of a file against the configured database; return the exit status."""
    settings = load_settings()
    store = open_to_read(settings, f"verify receipt {path}")
    try:
        verdict = verify_receipt(path, store)
    finally:
        store.close()
    for note in verdict.notes:
        tell(f"[dim]{escape(note)}[/]")
    if verdict.identical:
        say(f"[bold green]Identical.[/] {escape(verdict.summary)}")
        return 0
    say(f"[bold red]Different.[/] {escape(verdict.summary)}")
    for finding in verdict.findings[:_SHOWN]:
        say(f"- {escape(str(finding))}")
    if len(verdict.findings) > _SHOWN:
        say(f"... and {len(verdict.findings) - _SHOWN} more")
    return 1
