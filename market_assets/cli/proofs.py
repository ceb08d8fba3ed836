"""`market-assets verify lookahead` and `verify replay`: what a person sees of them.

Belongs here: the range of days, progress, and printing a report. Does not belong here: the proofs (`verify/`).
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from market_assets.cli.console import errors, escape, output, say, tell
from market_assets.cli.log import load_settings
from market_assets.cli.reader import open_to_read
from market_assets.cli.words import counted
from market_assets.clock import SystemClock
from market_assets.collection.days import DayRange
from market_assets.errors import SettingsError
from market_assets.indicators import INDICATORS
from market_assets.universe import UNIVERSE
from market_assets.verify.lookahead import verify_lookahead
from market_assets.verify.replay import replay
from market_assets.verify.served import Definitions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import date

    from market_assets.verify.replay import ReplayReport

_SHOWN = 20
DEFINITIONS = Definitions(UNIVERSE, INDICATORS)


def days_asked(start: date | None, end: date | None) -> DayRange:
    """Return the days from `start` to `end`, both included; without an end until today, without a start today alone."""
    today = SystemClock().now().date()
    first = start or end or today
    last = end or today
    if first > last:
        raise SettingsError(f"--start={first}: lies after --end={last}; swap them")
    return DayRange(first, last)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error while the block runs; yield what moves it: (done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def print_json(document: dict[str, Any], days: DayRange) -> None:
    """Print a report for a program."""
    head = {"first_day": days.first.isoformat(), "last_day": days.last.isoformat()}
    output.file.write(json.dumps(head | document, indent=2) + "\n")


def run_lookahead(days: DayRange, *, sample: int | None, seed: int, as_json: bool) -> int:
    """Run the look-ahead gate on the served rows of `days`; return the exit status."""
    settings = load_settings()
    store = open_to_read(settings, "verify lookahead")
    try:
        with progress("Poisoning the future") as moved:
            report = verify_lookahead(
                store, days.start, days.end, DEFINITIONS, sample=sample, seed=seed, progress=moved
            )
    finally:
        store.close()
    if as_json:
        print_json(report.to_json(), days)
        return 0 if report.proven else 1
    for version, count in report.not_judged.items():
        tell(f"[yellow]Not judged:[/] {counted(count, 'row')}: {escape(_why_not(version))}.")
    if not report.judged:
        say(f"[bold red]Not proven.[/] There is no row to judge from {days.first} to {days.last}.")
        return 1
    rows = f"{counted(report.judged, 'row')} served from {days.first} to {days.last}"
    if report.proven:
        say(f"[bold green]No look-ahead.[/] {rows}: the same to the bit with the future scrambled (seed {seed}).")
        return 0
    say(f"[bold red]Look-ahead.[/] {len(report.moved)} of {rows} are not what the log without its future gives:")
    for one in report.moved[:_SHOWN]:
        say(f"- {escape(str(one))}")
    if len(report.moved) > _SHOWN:
        say(f"... and {len(report.moved) - _SHOWN} more; --json has them all")
    return 1


def run_replay(days: DayRange, *, every_version: bool, as_json: bool) -> int:
    """Replay the rows of `days`; return the exit status."""
    settings = load_settings()
    store = open_to_read(settings, "verify replay")
    try:
        with progress("Replaying") as moved:
            report = replay(store, days.start, days.end, DEFINITIONS, every_version=every_version, progress=moved)
    finally:
        store.close()
    if as_json:
        print_json(report.to_json(), days)
    else:
        _print_replay(report, days)
    return 0 if report.proven else 1


def _print_replay(report: ReplayReport, days: DayRange) -> None:
    for version, count in sorted(report.other_definitions.items()):
        tell(f"[yellow]Not compared:[/] {counted(count, 'row')}: {escape(_why_not(version))}.")
    if report.without_knowledge:
        tell(f"[red]Not comparable:[/] {counted(report.without_knowledge, 'row')} without read_as_of.")
    if not report.compared:
        say(f"[bold red]Not proven.[/] There is no row to compare from {days.first} to {days.last}.")
        return
    origins = ", ".join(f"{count} {origin}" for origin, count in sorted(report.origins.items()))
    rows = f"{counted(report.compared, 'row')} of {days.first} to {days.last} ({origins})"
    if report.identical == report.compared:
        say(f"[bold green]Identical.[/] {rows}: served again from the log, every bit the same.")
        return
    say(f"[bold red]Different.[/] {report.identical:,} of {rows} are identical: {100 * report.share:.3f} %.")
    for one in report.divergent[:_SHOWN]:
        say(f"- {escape(str(one))} ({one.origin}, computed as of {one.read_as_of.isoformat()})")
    if report.first is None or not report.first.bars:
        return
    first = report.first
    say(f"\nWhat {first.differences[0].column} at {first.observed_at:%Y-%m-%dT%H:%MZ} stands on, as the log has it:")
    table = Table(box=None, header_style="bold")
    for name in ("bar", "ends", "close", "basis", "gives"):
        table.add_column(name)
    for bar in first.bars:
        table.add_row(str(bar.key), f"{bar.bar_end:%Y-%m-%dT%H:%MZ}", repr(bar.close), repr(bar.basis), bar.why)
    output.print(table)


def _why_not(version: str) -> str:
    if version == "without read_as_of":
        return "they do not say what they were computed from"
    return f"of the definitions {version}, which this program does not compute"
