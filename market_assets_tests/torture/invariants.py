"""What must be true of every state that a reader can see, whatever happened to the collections before.

Belongs here: checks of one picture, and of one store by replaying it. Does not belong here: comparing two runs.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from market_assets.store.tables import KNOWN_FROM, KNOWN_TO, ML_FEATURES, REMOVED, VERSIONED_TABLES
from market_assets.verify.replay import replay
from market_assets_tests.torture.pictures import HISTORY, day_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from market_assets.store import Store
    from market_assets.store.tables import VersionedTable
    from market_assets.verify.served import Definitions
    from market_assets_tests.torture.pictures import Picture, Row, Table

_EVER = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_SCOPE = ("series", "interval", "day")


def broken_invariants(picture: Picture) -> list[str]:
    """Return a line per invariant that does not hold."""
    return [
        *_stamps_beyond_the_counter(picture),
        *(line for table in VERSIONED_TABLES for line in _broken_chains(picture, table)),
        *(line for table in VERSIONED_TABLES for line in _scopes_without_a_fetch(picture, table)),
        *_rows_that_know_the_future(picture),
    ]


def not_replayable(store: Store, definitions: Definitions) -> list[str]:
    """Return a line per feature row, of every version, that its own log does not give again to the bit."""
    if store.read(ML_FEATURES, columns=["feature_count"]).empty:
        return []
    report = replay(store, *_EVER, definitions, every_version=True)
    lines = [str(one) for one in report.divergent]
    if not report.proven:
        lines.append(f"replay: {report.identical} of {report.compared} rows identical")
    return lines


def _stamps_beyond_the_counter(picture: Picture) -> Iterator[str]:
    """The knowledge counter is held until the commit: no version may be stamped after what it says."""
    [(stamp,)] = picture.tables["knowledge_counter"].picked("stamp")
    for table in VERSIONED_TABLES:
        stamps = [row[0] for row in picture.tables[table.name].picked(KNOWN_FROM)]
        stamps += [one for row in picture.tables[table.name + HISTORY].picked(KNOWN_FROM, KNOWN_TO) for one in row]
        if stamps and max(stamps) > stamp:
            yield f"{table.name}: a version is stamped {max(stamps)}, and the counter stands at {stamp}"


def _broken_chains(picture: Picture, table: VersionedTable) -> Iterator[str]:
    """The versions of a row never overlap, and there is no gap between them but where the source withdrew the row."""
    chains: dict[Row, list[tuple[Any, Any, bool]]] = defaultdict(list)
    keys = table.key_names
    for row in picture.tables[table.name + HISTORY].picked(*keys, KNOWN_FROM, KNOWN_TO, REMOVED):
        chains[row[: len(keys)]].append((row[-3], row[-2], bool(row[-1])))
    current = {row[:-1]: row[-1] for row in picture.tables[table.name].picked(*keys, KNOWN_FROM) if row[:-1] in chains}
    for key, versions in chains.items():
        versions.sort()
        if any(known_from >= known_to for known_from, known_to, _ in versions):
            yield f"{table.name} {key}: a version ended before it began: {versions}"
        begins = [known_from for known_from, _, _ in versions[1:]]
        if key in current:
            begins.append(current[key])
        elif not versions[-1][2]:
            yield f"{table.name} {key}: replaced at {versions[-1][1]}, but by nothing"
        for (_, ended, removed), began in zip(versions, begins, strict=False):
            if began < ended or (began > ended and not removed):
                yield f"{table.name} {key}: a version ended at {ended} and the next began at {began}"


def _scopes_without_a_fetch(picture: Picture, table: VersionedTable) -> Iterator[str]:
    """A scope is claimed in the ledger by the very transaction that writes it."""
    known = _fetches(picture.tables["fetch_ledger"])
    missing = _scopes(table, picture.tables[table.name]) - known
    if missing:
        yield f"{table.name}: rows of {len(missing)} scopes without a fetch, such as {min(missing)}"


@cache
def _fetches(table: Table) -> frozenset[Row]:
    return frozenset((series, interval, day_of(day)) for series, interval, day in table.picked(*_SCOPE))


@cache
def _scopes(declared: VersionedTable, table: Table) -> frozenset[Row]:
    names = [name for name in (declared.series_column, declared.interval_column) if name is not None]
    scopes = set()
    for *parts, time in table.picked(*names, declared.time_column):
        series = parts.pop(0) if declared.series_column else declared.fixed_series
        interval = parts.pop(0) if declared.interval_column else declared.fixed_interval
        scopes.add((series, interval, day_of(time)))
    return frozenset(scopes)


def _rows_that_know_the_future(picture: Picture) -> Iterator[str]:
    """A feature row is stored after the knowledge that it was computed from."""
    for observed_at, read_as_of, known_from in picture.tables[ML_FEATURES.name].picked(
        "observed_at", "read_as_of", KNOWN_FROM
    ):
        if read_as_of is None or read_as_of >= known_from:
            yield f"ml_features {observed_at}: read as of {read_as_of}, but stored at {known_from}"
