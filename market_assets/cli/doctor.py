"""`market-assets doctor`: what is wrong with the installation, and what to do about it.

Belongs here: the checks of the installation; none changes anything. Does not belong here: checks of the data.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from market_assets.cli.console import escape, output, program, say
from market_assets.cli.log import load_settings
from market_assets.cli.words import without_request
from market_assets.clock import SystemClock
from market_assets.errors import SchemaOutdatedError, SettingsError, SourceMismatchError, StoreError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from market_assets.settings import Settings
    from market_assets.store import Store

_PROBE_SECONDS = 10.0
_CLOCK_TOLERANCE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: whether it holds, what was seen, and the remedy if it does not hold."""

    name: str
    good: bool
    seen: str
    remedy: str = ""


def doctor() -> int:
    """Run every check, print each finding as it comes; return 1 if any does not hold."""
    failed = 0
    for finding in _findings():
        failed += not finding.good
        mark = "[green]ok[/]  " if finding.good else "[red]FAIL[/]"
        _say_aside(mark, finding.name, escape(" ".join(finding.seen.split())))
        if not finding.good:
            _say_aside("", "", f"[yellow]{escape(finding.remedy)}[/]")
    say()
    say("[green]Everything holds.[/]" if not failed else f"[red]{failed} of the checks failed.[/]")
    return 1 if failed else 0


def _say_aside(mark: str, name: str, text: str) -> None:
    """Print `text` beside its heading; on a terminal it is wrapped in its own column."""
    if not output.is_terminal:
        say(f"{mark} {name:<9} {text}" if name else f"{'':<15}{text}")
        return
    grid = Table.grid(padding=(0, 1, 0, 0))
    for width in (4, 9, None):
        grid.add_column(width=width)
    grid.add_row(mark, name, text)
    output.print(grid)


def _findings() -> Iterator[Finding]:
    try:
        settings = load_settings()
    except SettingsError as error:
        remedy = "Correct the environment variable, then run doctor again."
        yield Finding("settings", good=False, seen=str(error), remedy=remedy)
        return
    yield Finding("settings", good=True, seen=f"a row every {settings.collection_interval_minutes} minutes")
    store = yield from _database(settings)
    if store is not None:
        try:
            schema = _schema(store)
            yield schema
            if schema.good:
                yield _rows(store, settings)
            yield _clock(store)
        finally:
            store.close()
    yield _alerts(settings)
    yield _dagster_home()
    yield _cache()
    yield _source(settings)


def _database(settings: Settings) -> Generator[Finding, None, Store | None]:
    from market_assets.opening import database_file
    from market_assets.store import Store

    path = database_file(settings)
    if path is not None and not path.exists():
        # Connecting would make an empty one.
        yield _writable("database", path.parent, f"{path} is not there yet; the first collection makes it")
        return None
    store = Store.connect(settings.sqlalchemy_url)
    try:
        state = store.describe()
    except StoreError as error:
        store.close()
        remedy = "Check DATABASE_URL (or MYSQL_*, POSTGRES_*), the server, its firewall, user and password."
        yield Finding("database", good=False, seen=str(error), remedy=remedy)
        return None
    where = path or state.url
    yield Finding("database", good=True, seen=f"{where} ({state.dialect} {state.server_version})")
    return store


def _schema(store: Store) -> Finding:
    try:
        store.check_schema()
    except SchemaOutdatedError as error:
        return Finding("schema", good=False, seen=str(error), remedy=f"Run: {program()} migrate")
    return Finding("schema", good=True, seen=f"revision {store.describe().revision}")


def _rows(store: Store, settings: Settings) -> Finding:
    from market_assets.opening import require_source

    try:
        require_source(store, settings)
    except SourceMismatchError as error:
        return Finding(
            "rows", good=False, seen=str(error), remedy="Reading works; a collection into it would be refused."
        )
    return Finding("rows", good=True, seen=f"from {store.source() or 'nowhere yet'}")


def _clock(store: Store) -> Finding:
    drift = abs(store.now() - SystemClock().now())
    seen = f"{drift.total_seconds():.1f} s apart from the database's clock"
    remedy = (
        "Let both machines follow a time server (NTP): observation times come from this clock, knowledge times from "
        "the other."
    )
    return Finding("clock", good=drift <= _CLOCK_TOLERANCE, seen=seen, remedy=remedy)


def _alerts(settings: Settings) -> Finding:
    from market_assets.alerts.posting import unusable
    from market_assets.alerts.targets import targets_of

    targets = targets_of(settings)
    if not targets:
        return Finding("alerts", good=True, seen="nobody is told (ALERT_URLS is not set)")
    bad = [target.name for target in targets if unusable(target)]
    if bad:
        return Finding(
            "alerts",
            good=False,
            seen=f"of ALERT_URLS Apprise cannot use {', '.join(bad)} (the values are not shown)",
            remedy="Correct the entry: https://appriseit.com/services/ shows how each service is written.",
        )
    names = ", ".join(target.name for target in targets)
    return Finding("alerts", good=True, seen=f"to {names}; {program()} alerts test tries them")


def _dagster_home() -> Finding:
    named = os.environ.get("DAGSTER_HOME")
    if named and not Path(named).expanduser().is_absolute():
        remedy = f"Make it absolute: export DAGSTER_HOME={Path(named).absolute()}"
        return Finding("dagster", good=False, seen=f"DAGSTER_HOME={named} is a relative path", remedy=remedy)
    home = Path(named).expanduser() if named else Path.cwd() / ".dagster"
    seen = str(home) if named else f"{home} (DAGSTER_HOME is not set)"
    existing = next(parent for parent in (home, *home.parents) if parent.exists())
    return _writable("dagster", existing, seen)


def _cache() -> Finding:
    # yfinance's caches of cookies and time zones are not used: sources/yahoo.py
    return Finding("cache", good=True, seen="none is kept: cookies live in the process, no directory is needed")


def _writable(name: str, directory: Path, seen: str) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=directory):
            return Finding(name, good=True, seen=seen)
    except OSError as error:
        return Finding(
            name,
            good=False,
            seen=f"cannot write to {directory}: {error.strerror or error}",
            remedy="Make the directory, or give this user the right to write to it.",
        )


def _source(settings: Settings) -> Finding:
    from market_assets.sources.yahoo import YahooSource

    where = settings.yahoo_base_url or "Yahoo"
    timeout = timedelta(seconds=min(settings.yahoo_timeout_seconds, _PROBE_SECONDS))
    source = YahooSource(clock=SystemClock(), base_url=settings.yahoo_base_url, timeout=timeout)
    answer = source.probe(timeout=timeout)
    remedy = (
        f"Is it running ({program()} simulate)? Unset YAHOO_BASE_URL to use Yahoo itself."
        if settings.yahoo_base_url
        else "Check the network and, behind a proxy, HTTPS_PROXY. After a 429 wait an hour and raise "
        f"YFINANCE_REQUEST_DELAY. To work without Yahoo: {program()} simulate, and YAHOO_BASE_URL."
    )
    seen = f"{where} answers" if answer.ok else f"{where} cannot be used: {answer.code}"
    return Finding(
        "source",
        good=answer.ok,
        seen=f"{seen} in {answer.seconds:.1f} s: {without_request(answer.detail)}",
        remedy=remedy,
    )
