"""`market-assets doctor`: what is wrong, and what to do about it.

Belongs here: the checks of the installation. Does not belong here: checks of the data.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from rich.markup import escape

from market_assets.cli.console import output
from market_assets.clock import SystemClock
from market_assets.errors import SchemaOutdatedError, SettingsError, StoreError
from market_assets.settings import Settings

if TYPE_CHECKING:
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
    """Run every check, print each finding; return 1 if any does not hold."""
    findings = []
    for finding in _findings():
        findings.append(finding)
        mark = "[green]ok[/]  " if finding.good else "[red]FAIL[/]"
        output.print(f"{mark} {finding.name:<9} {escape(finding.seen)}", highlight=False)
        if not finding.good:
            output.print(f"               [yellow]{escape(finding.remedy)}[/]", highlight=False)
    return 0 if all(finding.good for finding in findings) else 1


def _findings() -> Iterator[Finding]:
    try:
        settings = Settings.load()
    except SettingsError as error:
        yield Finding(
            "settings", good=False, seen=str(error), remedy="Correct the environment variable, then run doctor again."
        )
        return
    yield Finding(
        "settings", good=True, seen=f"every {settings.collection_interval_minutes} min, source {settings.source_label}"
    )
    store = yield from _database(settings)
    if store is not None:
        try:
            yield _schema(store)
            yield _clock(store)
        finally:
            store.close()
    yield _cache(settings)
    yield _source(settings)


def _database(settings: Settings) -> Generator[Finding, None, Store | None]:
    from market_assets.store import Store

    try:
        store = Store.connect(settings.sqlalchemy_url)
        state = store.describe()
    except StoreError as error:
        yield Finding(
            "database",
            good=False,
            seen=str(error),
            remedy="Check DATABASE_URL (or MYSQL_*, POSTGRES_*), the server and its firewall.",
        )
        return None
    yield Finding("database", good=True, seen=f"{state.url} ({state.dialect} {state.server_version})")
    return store


def _schema(store: Store) -> Finding:
    try:
        store.check_schema()
    except SchemaOutdatedError as error:
        return Finding("schema", good=False, seen=str(error), remedy="Run: market-assets migrate")
    return Finding("schema", good=True, seen=f"revision {store.describe().revision}")


def _clock(store: Store) -> Finding:
    drift = abs(store.now() - SystemClock().now())
    seen = f"{drift.total_seconds():.1f} s apart from the database's clock"
    remedy = "Let both machines follow a time server (NTP): observation times come from this clock, knowledge times from the other."
    return Finding("clock", good=drift <= _CLOCK_TOLERANCE, seen=seen, remedy=remedy)


def _cache(settings: Settings) -> Finding:
    path = settings.yahoo_cache_dir.expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Finding(
            "cache",
            good=False,
            seen=f"{path}: {error.strerror}",
            remedy="Set YAHOO_CACHE_DIR to a writable directory: without it every fetch makes four times the requests.",
        )
    return Finding("cache", good=True, seen=f"{path} is writable")


def _source(settings: Settings) -> Finding:
    from market_assets.sources.yahoo import YahooSource

    timeout = timedelta(seconds=min(settings.yahoo_timeout_seconds, _PROBE_SECONDS))
    source = YahooSource(clock=SystemClock(), base_url=settings.yahoo_base_url, timeout=timeout)
    answer = source.probe(timeout=timeout)
    return Finding("source", good=answer.ok, seen=f"{answer.detail} ({answer.seconds:.1f} s)", remedy=_SOURCE_REMEDY)


_SOURCE_REMEDY = (
    "Check the network and, behind a proxy, HTTPS_PROXY. After a 429 wait an hour and raise YFINANCE_REQUEST_DELAY. "
    "To work without Yahoo: market-assets simulate, and YAHOO_BASE_URL."
)
